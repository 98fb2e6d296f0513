"""A payload longer than memory: some steps of the workload, sent again and again with their times moved on.

The sender then holds a few hundred MiB however many samples it sends. Values repeat with the cycle, so a counter falls
once in a cycle, which costs the receiver a little more than the real workload would.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

STEPS_OF = {"graphite": 50, "arrow": 40}  # × 100,000 series × 45 B = 225 MB; × 20 B = 80 MB.

Chunk = tuple[bytes | bytearray, int]


class Cycle:
    """The devops workload of so many samples at least; `work` says what it comes to.

    chunks(): for each connection its pieces in order, as `bench.send_conn` takes them. To be used once.
    """

    def __init__(self, bench: Any, protocol: str, *, hosts: int, samples_count: int, connections: int = 2) -> None:
        if protocol not in STEPS_OF:
            raise SystemExit(f"--samples is for {' and '.join(STEPS_OF)}: {protocol} cannot be moved in time cheaply")
        self.steps = min(STEPS_OF[protocol], max(1, samples_count // (hosts * bench.NM)))
        self.cycle_count = max(1, math.ceil(samples_count / (hosts * bench.NM * self.steps)))
        self.work = bench.Devops(hosts, self.steps * self.cycle_count)
        self._protocol = protocol
        base = copy.copy(self.work)
        base.steps = self.steps
        self._payload, self.last, _, self.bytes_count = bench.build(base, protocol, conns=connections)
        self._requests_per_step_group = [
            len(range(connection, math.ceil(hosts / bench.PROTOS[protocol].default_batch), connections))
            for connection in range(connections)
        ]
        self.reached_s = self.work.t0  # The newest time that was handed to a sender.

    @property
    def wire_bytes_per_sample(self) -> float:
        return self.bytes_count / (self.work.series * self.steps)

    def chunks(self) -> list[Iterator[Chunk]]:
        payload, self._payload = self._payload, []
        of_protocol = self._text if self._protocol == "graphite" else self._arrow
        return [of_protocol(pieces, connection) for connection, pieces in enumerate(payload)]

    def _text(self, pieces: list[tuple[bytes, int]], _: int) -> Iterator[Chunk]:
        times = [int(piece[-11:-1]) for piece, _ in pieces]
        for cycle in range(self.cycle_count):
            shift_s = cycle * self.steps * self.work.step_s
            for (piece, count), time_s in zip(pieces, times, strict=True):
                self.reached_s = max(self.reached_s, time_s + shift_s)
                yield piece.replace(b" %d\n" % time_s, b" %d\n" % (time_s + shift_s)), count

    def _arrow(self, pieces: list[tuple[bytes, int]], connection: int) -> Iterator[Chunk]:
        """The column of times lies uncompressed in the stream: it is moved where it stands."""
        buffers, columns = [], []
        for number, (piece, count) in enumerate(pieces):
            group = number // self._requests_per_step_group[connection]
            first_ms = (self.work.t0 + group * 20 * self.work.step_s) * 1_000
            at = piece.find(first_ms.to_bytes(8, "little") * 2)
            assert at > 0, "the stream of the generator holds its times as one plain column"
            buffers.append(bytearray(piece))
            columns.append(np.frombuffer(buffers[-1], "<i8", count, at))
            assert columns[-1][0] == first_ms
            assert int(columns[-1][-1]) <= (self.work.t0 + self.steps * self.work.step_s) * 1_000, "not one column"
        pieces_count = [count for _, count in pieces]
        pieces.clear()
        for cycle in range(self.cycle_count):
            for buffer, column, count in zip(buffers, columns, pieces_count, strict=True):
                if cycle:
                    column += self.steps * self.work.step_s * 1_000
                self.reached_s = max(self.reached_s, int(column[-1]) // 1_000)
                yield buffer, count


def paced(chunks: Iterator[Chunk], samples_per_s: float, took_s: list[float], until_s: float) -> Iterator[Chunk]:
    """The pieces no faster than said, until a monotonic time; the seconds until each is acknowledged go into took_s.

    The sender asks for the next piece when it has the answer to the one before.
    """
    started_s, sent_count = time.monotonic(), 0
    for chunk in chunks:
        due_s = started_s + sent_count / samples_per_s
        now_s = time.monotonic()
        if max(due_s, now_s) >= until_s:
            return
        if due_s > now_s:
            time.sleep(due_s - now_s)
        began_s = time.monotonic()
        yield chunk
        took_s.append(time.monotonic() - began_s)
        sent_count += chunk[1]
