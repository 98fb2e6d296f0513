"""Facts about the devops workload of `shared/bench`: the entropy of its increments, and a form of it with jitter."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.bench.cycle import Chunk
from tests.bench.generator import load

_PROBED_STEPS = 20
_DECIMALS = np.array([1, 1, 2, 2, 0, 0, 0, 0, 0, 0])
_COUNTERS = slice(4, 7)
_JITTER_SEED = 2


def entropy_bytes(work: Any) -> float:
    """Of the increments from one value of a series to its next, bytes a sample: no coder of increments gets below.

    Gauges, slow counters and small integers: over all series of a field together. Counters: each has a rate of its own,
    and its increments are spread evenly over 0.4 of it.
    """
    probe = copy.deepcopy(work)
    values = np.stack([probe.step().copy() for _ in range(_PROBED_STEPS)])
    whole = np.rint(values * 10.0**_DECIMALS).astype(np.int64)
    steps = np.diff(whole, axis=0)
    bits = [_entropy_bits(steps[..., field]) for field in range(steps.shape[-1]) if field not in range(4, 7)]
    of_counters = np.log2(np.maximum(1.0, 0.4 * work.rate)).mean(axis=(0, 1)).tolist()
    return (sum(bits) + sum(of_counters)) / (8 * steps.shape[-1])


def jitter_entropy_bytes(jitter_ms: int) -> float:
    """Of a time that lies anywhere within ± so many milliseconds of a grid."""
    return float(np.log2(2 * jitter_ms + 1)) / 8


def _entropy_bits(numbers: npt.NDArray[np.int64]) -> float:
    _, counts = np.unique(numbers, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def jittered(work: Any, jitter_ms: int) -> list[Iterator[Chunk]]:
    """The workload as remote-write requests of one connection, made as they are sent; times moved by ± jitter_ms."""
    bench = load("bench")
    encoder = bench.RemoteWrite()
    cuts = [
        range(at, min(at + encoder.default_batch, work.hosts)) for at in range(0, work.hosts, encoder.default_batch)
    ]
    templates = [encoder.template(cut) for cut in cuts]
    moved = np.random.default_rng(_JITTER_SEED)

    def chunks() -> Iterator[Chunk]:
        from cramjam import snappy

        for step in range(work.steps):
            values = work.step()
            for (buffer, value_at, time_at), cut in zip(templates, cuts, strict=True):
                here = np.ascontiguousarray(values[cut[0] : cut[-1] + 1]).reshape(-1, 1)
                buffer[value_at] = here.view(np.uint8)
                times = (work.t0 + step * work.step_s) * 1_000 + moved.integers(-jitter_ms, jitter_ms + 1, here.size)
                buffer[time_at] = _varints(times)
                yield bytes(snappy.compress_raw(buffer.tobytes())), here.size

    return [chunks()]


def _varints(times_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Six bytes for each time, as protobuf writes a number from 2^35 up to 2^42."""
    sevens = (times_ms[:, None] >> np.arange(0, 42, 7)) & 0x7F
    sevens[:, :-1] |= 0x80
    return sevens.astype(np.uint8)
