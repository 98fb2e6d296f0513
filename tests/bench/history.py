"""Series with a longer past than the devops workload has, as remote-write requests in the order of their times.

Counters of a day, histograms of six hours, and lines of many steps; all end when the devops workload ends. A peer that
takes samples only near its newest one gets everything in time order, whatever the workload it belongs to.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from tests.bench.cycle import Chunk
from tsdb.sample import Float64s

SERIES_PER_REQUEST = 2_000
BUCKETS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
JOB = "history"  # Another than the devops workload's, whose queries must not meet these series.

Labels = dict[str, str]
Timed = tuple[int, Chunk]


@dataclass(frozen=True, kw_only=True)
class Family:
    """The series of one metric; moves(random) gives what each changes by from one sample to its next."""

    metric: str
    labels: list[Labels]
    interval_s: int
    span_s: int
    moves: Callable[[np.random.Generator], Float64s]

    @property
    def steps(self) -> int:
        return self.span_s // self.interval_s

    @property
    def samples_count(self) -> int:
        return self.steps * len(self.labels)

    def chunks(self, bench: Any, end_s: int) -> Iterator[Timed]:
        """Its requests, each with its time in seconds."""
        random = np.random.default_rng(len(self.labels))
        cuts = [slice(at, at + SERIES_PER_REQUEST) for at in range(0, len(self.labels), SERIES_PER_REQUEST)]
        encoder = bench.RemoteWrite()
        templates = [_template(bench, self.metric, self.labels[cut]) for cut in cuts]
        value = np.zeros(len(self.labels))
        for step in range(self.steps):
            value += self.moves(random)
            at_s = end_s - (self.steps - 1 - step) * self.interval_s
            for template, cut in zip(templates, cuts, strict=True):
                yield at_s, (encoder.encode(template, value[cut], at_s), value[cut].size)


def _template(bench: Any, metric: str, labels: list[Labels]) -> tuple[Any, Any, Any]:
    """As `RemoteWrite.template` makes it: the bytes of a request, where its values stand in it, where its times."""
    written, value_at = bytearray(), []
    for one in labels:
        pairs = sorted({"__name__": metric, "job": JOB, **one}.items())
        names = b"".join(
            bench.pb_str(0x0A, bench.pb_str(0x0A, name.encode()) + bench.pb_str(0x12, text.encode()))
            for name, text in pairs
        )
        message = names + b"\x12\x10\x09"
        written += b"\x0a" + bench.uvarint(len(message) + 15) + message
        value_at.append(len(written))
        written += bytes(8) + b"\x10" + bytes(6)
    at = np.array(value_at)[:, None]
    return np.frombuffer(bytes(written), np.uint8).copy(), at + np.arange(8), at + np.arange(9, 15)


def counters(*, series_count: int, span_s: int) -> Family:
    labels = [{"dc": f"dc{n % 10}", "host": f"host{n:05d}", "path": f"/p{n % 7}"} for n in range(series_count)]
    rate = np.random.default_rng(7).uniform(1, 5_000, series_count)

    def moves(random: np.random.Generator) -> Float64s:
        return np.floor(rate * random.uniform(0.8, 1.2, series_count))

    return Family(metric="history_requests_total", labels=labels, interval_s=60, span_s=span_s, moves=moves)


def histograms(*, histogram_count: int, span_s: int) -> Family:
    labels = [
        {"dc": f"dc{n % 10}", "host": f"host{n:05d}", "le": bound} for n in range(histogram_count) for bound in BUCKETS
    ]

    def moves(random: np.random.Generator) -> Float64s:
        counts: Float64s = random.poisson(5.0, (histogram_count, len(BUCKETS))).cumsum(axis=1).astype(np.float64)
        return counts.ravel()

    return Family(metric="history_latency_seconds_bucket", labels=labels, interval_s=60, span_s=span_s, moves=moves)


def lines(*, series_count: int, steps: int) -> Family:
    labels = [{"dc": f"dc{n % 10}", "host": f"host{n:05d}"} for n in range(series_count)]

    def moves(random: np.random.Generator) -> Float64s:
        moved: Float64s = np.round(random.standard_normal(series_count), 2)
        return moved

    return Family(metric="history_load", labels=labels, interval_s=15, span_s=15 * steps, moves=moves)


def in_time_order(bench: Any, work: Any, families: list[Family]) -> Iterator[Chunk]:
    """All samples of the devops workload and of the families, as the requests of one connection; made when sent."""
    sources = [_devops(bench, work), *(family.chunks(bench, work.t_end) for family in families)]
    return (chunk for _, chunk in heapq.merge(*sources, key=itemgetter(0)))


def _devops(bench: Any, work: Any) -> Iterator[Timed]:
    encoder = bench.RemoteWrite()
    cuts = [
        range(at, min(at + encoder.default_batch, work.hosts)) for at in range(0, work.hosts, encoder.default_batch)
    ]
    templates = [encoder.template(cut) for cut in cuts]
    for step in range(work.steps):
        values, at_s = work.step(), work.t0 + step * work.step_s
        for template, cut in zip(templates, cuts, strict=True):
            yield at_s, (encoder.encode(template, values[cut[0] : cut[-1] + 1], at_s), len(cut) * bench.NM)
