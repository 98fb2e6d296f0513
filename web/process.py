"""The web process: waitress on the inherited socket, and a service on the bus for what the supervisor asks."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import msgspec
from flask import Flask, has_request_context, request
from waitress import wasyncore
from waitress.server import create_server

from appliance.bus import RESYNC, Client, Reply, Server, Subscriber
from appliance.child import ChildContext
from appliance.config import Address
from appliance.memory import keep_large_blocks
from appliance.readyfile import web_url
from appliance.secrets import SecretBox
from appliance.state import Change, StateClient, state_path
from appliance.state.errors import StateError
from appliance.state.model import SERVICE as STATE_SERVICE
from tsdb.client import TsdbClient
from web.app import create_app
from web.auth.first_run import FirstRun
from web.auth.kit import Auth
from web.board import Board, Changes
from web.door import Channel
from web.services import Services
from web.workers import Workers

THREADS = 16
READ_BYTES = 256 * 1024  # One read of the socket; the default of 8 KiB makes a large body cost 32 times the calls.
BODY_BYTES_MAX = 65 * 1024 * 1024  # A little above the largest that any view allows, so that the view says why.
ARENA_COUNT_MAX = 4
KEPT_BYTES_MAX = 16 * 2**20  # Of each: the bodies of a few senders, received where the ones before them lay.
CONNECTION_COUNT_MAX = 1_000
LOOP_S = 0.5  # How soon a stop is noticed.
DRAIN_S = 3.0  # For answers that are being written at a stop.
DRAIN_LOOK_S = 0.02
FIRST_REQUEST_S = (
    1.0  # So long a connection that has asked nothing yet keeps a stop waiting; browsers open some to spare.
)


FOLLOW_S = 0.5  # How soon the follower notices a stop.


class Asking:
    """Clients by service, made when first needed; each serves any number of threads."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()

    def __call__(self, service: str, op: str, body: Any = None, *, columns: Any = (), timeout_s: float = 5.0) -> Reply:
        with self._lock:
            client = self._clients.get(service)
            if client is None:
                client = self._clients[service] = Client(self._context.config.run_dir, service)
        return client.call(op, body, columns, timeout_s=timeout_s)

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def _origin() -> str:
    """Where the change comes from that is being made, for the audit; empty for one of the appliance's own."""
    return (request.remote_addr or "")[:64] if has_request_context() else ""


def services_of(context: ChildContext, port: int) -> Services:
    config = context.config
    return Services(
        config=config,
        clock=context.clock,
        metrics=context.metrics,
        state=StateClient(config.run_dir, state_path(config.data_dir), origin=_origin),
        tsdb=TsdbClient(config.run_dir),
        secrets=SecretBox(config.data_dir),
        ask=Asking(context),
        port=port,
        changes=Changes(),
        log=context.log,
    )


def run_web(context: ChildContext) -> None:
    """Serve until context.stopping."""
    keep_large_blocks(ARENA_COUNT_MAX, KEPT_BYTES_MAX)
    listening = context.sockets["web"]
    host, port = listening.getsockname()[:2]
    services = services_of(context, port)
    app = create_app(services)
    bus = Server(context.config.run_dir, "web", metrics=context.metrics)
    bus.handle("login_link", lambda _: login_link(app.extensions["henge_auth"], services, Address(host, port)))
    served = bus.start_thread(context.stopping)
    follower = threading.Thread(target=follow, args=(app, context), name="follow-state", daemon=True)
    follower.start()
    context.ready()
    serve(app, listening, context.stopping)
    follower.join()
    served.join()
    services.close()


def follow(app: Flask, context: ChildContext) -> None:
    """Tell the board what changes, so that it need not read ten thousand checks again for one result."""
    board: Board = app.extensions["henge_board"]
    changes = board.changes
    assert changes is not None
    hints = Subscriber(context.config.run_dir, STATE_SERVICE)
    with contextlib.suppress(StateError):
        board.view()  # The first page does not have to wait for the first reading.
    while not context.stopping.is_set():
        found = hints.poll(FOLLOW_S)
        if found is RESYNC:
            changes.lost()
            app.extensions["henge_known_tokens"].forget()
            continue
        for hint in found:
            change = msgspec.convert(hint.body, Change)
            changes.add(change)
            if any(kind == "token" for kind, _ in change.documents):
                app.extensions["henge_known_tokens"].forget()
    hints.close()


def login_link(auth: Auth, services: Services, address: Address) -> dict[str, str] | None:
    """{"url"} of a link that makes its holder the administrator; None as soon as there is one."""
    if auth.administrator_exists():
        return None
    secret = FirstRun(services.state).new_secret(now_ms=services.clock.now_ms())
    return {"url": f"{web_url(address)}/setup/{secret}"}


def serve(app: Any, listening: socket.socket, stopping: threading.Event) -> None:
    """waitress' own loop, one turn at a time, so that it ends when told and lets answers go out first."""
    connections: dict[int, Any] = {}
    server = create_server(
        app,
        map=connections,
        sockets=[listening],
        _dispatcher=Workers(THREADS),
        recv_bytes=READ_BYTES,
        max_request_body_size=BODY_BYTES_MAX,
        connection_limit=CONNECTION_COUNT_MAX,
        channel_timeout=120,
        clear_untrusted_proxy_headers=False,  # Their presence says that a request is not from this machine.
        ident=None,
        expose_tracebacks=False,
    )
    server.channel_class = Channel
    server.drains = False
    while not stopping.is_set():
        wasyncore.loop(timeout=LOOP_S, use_poll=True, map=connections, count=1)
    drain(server, connections)
    server.task_dispatcher.shutdown(timeout=DRAIN_S)
    wasyncore.loop(timeout=0, use_poll=True, map=connections, count=20)
    wasyncore.close_all(connections)


def drain(server: Any, connections: dict[int, Any]) -> None:
    """Take no new connection, answer what is under way, and close each connection between two requests.

    Who is answered meanwhile is told that the connection closes. One that has not asked anything yet was opened a
    moment ago, and is waited for: its first request must not meet a closed door.
    """
    server.drains, server.accepting = True, False
    began_s = time.monotonic()
    while server.active_channels and (passed_s := time.monotonic() - began_s) < DRAIN_S:
        wasyncore.loop(timeout=DRAIN_LOOK_S, use_poll=True, map=connections, count=1)
        for channel in list(server.active_channels.values()):
            if channel.rests(waits_for_first=passed_s < FIRST_REQUEST_S):
                channel.will_close = True  # The next turn of the loop closes it.
