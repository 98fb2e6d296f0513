"""The operations of a process for traces: begin, take, end. Local, as the bus is: its folder is its user's alone."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.bus import Request, Server
from appliance.tracing.tracer import Tracer

LANE = "tracing"  # A worker of its own, so that a process can be watched while all others are busy.
LANES = {LANE: 1}


class Begin(msgspec.Struct, frozen=True):
    kind: str
    subject: str
    for_s: float


class Named(msgspec.Struct, frozen=True):
    id: str


class Begun(msgspec.Struct, frozen=True):
    id: str


class Taken(msgspec.Struct, frozen=True):
    """What has happened since the last look."""

    events: list[dict[str, Any]]
    not_shown_count: int
    is_over: bool


def answer_traces(server: Server, tracer: Tracer) -> None:
    """Let a server that has the lane answer what `henge trace` asks."""

    def begin(request: Request) -> Begun:
        asked: Begin = request.body
        return Begun(tracer.begin(asked.kind, asked.subject, asked.for_s))

    def take(request: Request) -> Taken:
        return Taken(*tracer.take(request.body.id))

    def end(request: Request) -> None:
        tracer.end(request.body.id)

    server.handle("trace_begin", begin, Begin, lane=LANE)
    server.handle("trace_take", take, Named, lane=LANE)
    server.handle("trace_end", end, Named, lane=LANE)
