"""Clients that ask an appliance all the time, and what each of them met: for tests of what they notice of a change.

A client may find that its kept connection was closed between two requests: then it asks again by a new one, as every
HTTP client does. Anything else that is no answer is a failure: a refused connection, one that ends in a request.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from tests.running import Appliance

METRIC = "reload_acknowledged"
TIMEOUT_S = 30


@dataclass
class Caller:
    """One client. It counts what was answered, and keeps the words of what was not."""

    name: str
    answered_count: int = 0
    again_count: int = 0  # A kept connection was closed between two requests.
    longest_s: float = 0.0  # From the request to its answer, the new connection included.
    failures: list[str] = field(default_factory=list)

    def run(self, ask: Callable[[int], None], stopping: threading.Event, pause_s: float) -> None:
        number = 0
        while not stopping.wait(pause_s):
            began_s = time.monotonic()
            try:
                ask(number)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"request {number}: {type(error).__name__}: {error}")
            else:
                self.answered_count += 1
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
            number += 1

    def __str__(self) -> str:
        return (
            f"{self.name:<22} {self.answered_count:>6} answered, longest {1000 * self.longest_s:>7.0f} ms, "
            f"{self.again_count} asked again, {len(self.failures)} failed {self.failures[:3]}"
        )


class Http:
    """One HTTP client, with a connection that it keeps or with one for each request; headers: further ones."""

    def __init__(
        self, caller: Caller, appliance: Appliance, *, keeps: bool, headers: Mapping[str, str] | None = None
    ) -> None:
        where = urlsplit(appliance.url)
        self._caller, self._keeps = caller, keeps
        self._headers = {"Authorization": f"Bearer {appliance.token}", "Content-Type": "application/json"}
        self._headers |= headers or {}
        self._where = (str(where.hostname), where.port)
        self._kept: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()

    def __call__(self, method: str, path: str, body: bytes | None = None) -> None:
        """Raises: OSError, HTTPException; also for an answer that is no success."""
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                return self._ask(kept, method, path, body)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                kept.close()
                self._caller.again_count += 1  # Before a byte of an answer: it was closed between the two.
        return self._ask(http.client.HTTPConnection(*self._where, timeout=TIMEOUT_S), method, path, body)

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None) -> None:
        connection.request(method, path, body, self._headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 204):
            connection.close()
            raise http.client.HTTPException(f"{answer.status} {content[:200]!r}")
        if self._keeps and not answer.will_close:
            self._kept = connection
        else:
            connection.close()


@dataclass
class Crowd:
    """All callers, and how many samples each writer was told are in the log."""

    callers: list[Caller]
    writers: list[Caller]

    def failures(self) -> list[str]:
        return [f"{caller.name}: {failure}" for caller in self.callers for failure in caller.failures]

    def lost(self, appliance: Appliance) -> dict[str, int]:
        """Acknowledged samples that no query finds, by writer."""
        found = {
            each["metric"]["writer"]: int(float(each["value"][1]))
            for each in appliance.query(f"sum by (writer) (count_over_time({METRIC}[1h]))")
        }
        short = {each.name: each.answered_count - found.get(each.name, 0) for each in self.writers}
        return {name: count for name, count in short.items() if count > 0}

    def __str__(self) -> str:
        return "\n".join(map(str, self.callers))


@contextlib.contextmanager
def calling(appliance: Appliance, *, pause_s: float = 0.01) -> Iterator[Crowd]:
    """Ask by every door, until the block ends."""
    stopping = threading.Event()
    clients: list[Http] = []
    base_ms = time.time_ns() // 1_000_000 - 1_800_000
    crowd = Crowd([], [])
    threads = []

    def start(caller: Caller, ask: Callable[[int], None]) -> None:
        crowd.callers.append(caller)
        threads.append(threading.Thread(target=caller.run, args=(ask, stopping, pause_s), name=caller.name))

    def writes(http_: Http, writer: str) -> Callable[[int], None]:
        def write(number: int) -> None:
            sample = {"labels": {"__name__": METRIC, "writer": writer}, "samples": [[base_ms + number, number]]}
            http_("POST", "/api/v1/series", json.dumps([sample]).encode())

        return write

    for path in ("/health/live", "/", f"/prometheus/api/v1/query?query={quote(METRIC)}"):
        for keeps in (True, False):
            caller = Caller(f"{path[:20]} {'kept' if keeps else 'new'}")
            clients.append(http_ := Http(caller, appliance, keeps=keeps))
            start(caller, lambda _number, http_=http_, path=path: http_("GET", path))
    for keeps in (True, False):
        caller = Caller(f"json {'kept' if keeps else 'new'}")
        crowd.writers.append(caller)
        clients.append(Http(caller, appliance, keeps=keeps))
        start(caller, writes(clients[-1], caller.name))
    start(Caller("graphite connects"), lambda number: _send_line(appliance, number))
    for thread in threads:
        thread.start()
    try:
        yield crowd
    finally:
        stopping.set()
        for thread in threads:
            thread.join(2 * TIMEOUT_S)
        for client in clients:
            client.close()


def _send_line(appliance: Appliance, number: int) -> None:
    host, port = appliance.ready["graphite"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.sendall(f"reload.lines {number} {time.time():.0f}\n".encode())
