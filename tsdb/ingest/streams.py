"""The protocols of the listening sockets: how each is cut into whole pieces, counted and decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tsdb.ingest.cutter import Cutter, LineCutter
from tsdb.ingest.decoded import Decoded
from tsdb.ingest.graphite import lines, pickles
from tsdb.ingest.graphite.exact import LINE_BYTES_MAX, MESSAGES
from tsdb.ingest.graphite.frames import FRAME_BYTES_MAX, FrameCutter, frames_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One protocol whose pieces come over sockets without being acknowledged: what its listener has to know."""

    protocol: str  # As counters name it.
    sockets: tuple[str, ...]  # Names of appliance.listeners.LISTENERS.
    unit: str  # What a piece is called.
    cutter: Callable[[Callable[[bytes], None]], Cutter]  # Given whom to tell of a piece that is too long.
    count: Callable[[bytes], int]  # The pieces in a batch.
    too_long: str  # The reason for which such a piece is refused.
    messages: Mapping[str, str]  # What is said of that reason.


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleStream(Stream):
    """One whose pieces are samples by themselves."""

    decode: Callable[[bytes, int], Decoded]  # A batch, and now in ms.


GRAPHITE = SampleStream(
    protocol="graphite",
    sockets=("graphite", "graphite_udp"),
    unit="line",
    cutter=lambda on_too_long: LineCutter(LINE_BYTES_MAX, on_too_long),
    count=lambda data: data.count(b"\n"),
    decode=lines.decode,
    too_long="line_too_long",
    messages=MESSAGES,
)
GRAPHITE_PICKLE = SampleStream(
    protocol="graphite_pickle",
    sockets=("graphite_pickle",),
    unit="frame",
    cutter=FrameCutter,
    count=lambda data: sum(1 for _ in frames_of(data)),
    decode=pickles.decode,
    too_long="frame_too_long",
    messages={
        "frame_too_long": f"the frame would be longer than {FRAME_BYTES_MAX:,} bytes: not the pickle protocol, or too "
        "many metrics at once; the connection is closed"
    },
)
STREAMS = (GRAPHITE, GRAPHITE_PICKLE)
