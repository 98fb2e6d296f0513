"""Load as haggar makes it: hundreds of open connections, one Graphite line on each, then a new one in its place.

No sender is told whether its line was taken, so each line is a sample of its own and all are counted by query. Of every
ten connections one sends its line in two halves, the second when the connection is about to go.
"""

from __future__ import annotations

import multiprocessing
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import peer
from tests.bench.figure import Figure, machine
from tests.bench.tree import usage
from tests.running import Appliance
from tests.waiting import wait_until

AGENTS_COUNT = 500
OPEN_COUNT = 400
HALVED_EVERY = 10
SLOW_S = 0.5  # A first SYN that found the backlog full is sent again after a second.
AGE_S = 86_400  # Times begin so long ago, a second a line of each agent.


@dataclass(slots=True)
class Sent:
    lines_count: int = 0
    slow_count: int = 0  # Connections that took SLOW_S or longer.
    slowest_s: float = 0.0
    seconds: float = 0.0


def run(*, seconds: float, rate_per_s: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder)) as appliance:
        host, port = appliance.ready["graphite"].rsplit(":", 1)
        pid, names = appliance.ready["pid"], appliance.ready["processes"]
        before = usage(pid, names).cpu_s
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        sender = context.Process(target=_send_in_process, args=((host, int(port)), rate_per_s, seconds, queue))
        sender.start()
        sent: Sent = queue.get(timeout=seconds + 60)
        sender.join()
        peer.told(f"{sent.lines_count:,} lines sent; counting")
        stored_count = settled(appliance, sent.lines_count)
        after = usage(pid, names).cpu_s
        conditions = machine() | {
            "lines": sent.lines_count,
            "open_connections": OPEN_COUNT,
            "agents": AGENTS_COUNT,
            "refused": _refused(appliance),
        }
    for metric, value, unit in (
        ("lines lost", sent.lines_count - stored_count, "lines"),
        ("connections, one line each", sent.lines_count / sent.seconds, "1/s"),
        ("connections slower than 0.5 s", sent.slow_count, "connections"),
        ("slowest connection", 1_000 * sent.slowest_s, "ms"),
        ("CPU of intake a connection", 1e6 * (after["intake"] - before["intake"]) / sent.lines_count, "us"),
    ):
        yield Figure(bench="haggar", metric=metric, value=round(value, 3), unit=unit, conditions=conditions)


def _send_in_process(address: tuple[str, int], rate_per_s: int, seconds: float, told: Any) -> None:
    told.put(send(address, rate_per_s, lambda sent: sent.seconds < seconds))


def send(address: tuple[str, int], rate_per_s: float, goes_on: Callable[[Sent], bool]) -> Sent:
    """Open, send, and close the oldest of OPEN_COUNT connections, at this rate at most."""
    first_s = int(time.time()) - AGE_S
    sent, open_ = Sent(), deque[tuple[socket.socket, bytes]]()
    since_s = time.monotonic()
    while goes_on(sent):
        if sent.lines_count >= rate_per_s * sent.seconds and sent.lines_count:
            time.sleep(0.001)
        else:
            agent, turn = sent.lines_count % AGENTS_COUNT, sent.lines_count // AGENTS_COUNT
            open_.append(_opened(address, b"haggar;agent=%d 1 %d\n" % (agent, first_s + turn), sent))
            sent.lines_count += 1
            if len(open_) > OPEN_COUNT:
                _end(*open_.popleft())
        sent.seconds = time.monotonic() - since_s
    while open_:
        _end(*open_.popleft())
    return sent


def _opened(address: tuple[str, int], line: bytes, sent: Sent) -> tuple[socket.socket, bytes]:
    """A connection that has sent its line, and what of it is still to come."""
    began_s = time.monotonic()
    connection = socket.create_connection(address, timeout=30)
    took_s = time.monotonic() - began_s
    sent.slowest_s = max(sent.slowest_s, took_s)
    sent.slow_count += took_s >= SLOW_S
    cut = len(line) // 2 if sent.lines_count % HALVED_EVERY == 0 else len(line)
    connection.sendall(line[:cut])
    return connection, line[cut:]


def _end(connection: socket.socket, rest: bytes) -> None:
    with connection:
        connection.sendall(rest)


def settled(appliance: Appliance, wanted_count: int) -> int:
    """How many lines are stored, once all are or no more come."""
    counts = deque([-1], maxlen=5)

    def is_settled() -> bool:
        counts.append(stored(appliance))
        return counts[-1] >= wanted_count or (len(counts) == counts.maxlen and len(set(counts)) == 1)

    wait_until(is_settled, timeout_s=60, every_s=0.2, what="the last line")
    return counts[-1]


def stored(appliance: Appliance) -> int:
    found = appliance.query(f"sum(count_over_time(haggar[{AGE_S + 3_600}s]))")
    return int(found[0]["value"][1]) if found else 0


def _refused(appliance: Appliance) -> dict[str, Any]:
    found: dict[str, Any] = appliance.call("GET", "/api/v1/system")[1]["refused"].get("graphite", {})
    return found
