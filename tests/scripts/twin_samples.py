"""The samples that both programs are given: every shape that expressions treat differently, made from a seed.

Metrics named `even_…` lie on whole seconds, so that edges of windows meet samples. All others lie beside them: no edge
ever meets a sample, and windows that include their start have the samples of those that do not (twin_peer.py).
Values are whole numbers, exact in any order of adding; those of different series of a metric differ, so that nothing
depends on the order of equals. Counters start high and fall only where their samples are regular: releases of
Prometheus extrapolate otherwise near zero.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tsdb.sample import STALE_NAN

BASE_S = 1_700_006_400  # A multiple of two hours, so that the samples lie in two windows of blocks.
LENGTH_S = 3 * 3_600
SERIES_COUNT = 64  # Of one metric at most; a value is a number of it and the place of its series.
BUCKETS = ("0.1", "0.5", "1", "2.5", "10", "+Inf")

Labels = tuple[tuple[str, str], ...]
Series = tuple[Labels, list[tuple[int, float]]]


def made(seed: int) -> list[Series]:
    chance = random.Random(seed)
    found = [*_counters(chance), *_gauges(chance), *_histograms(chance), *_special(chance), *_versions(chance)]
    assert len({labels for labels, _ in found}) == len(found)
    return found


def _labels(metric: str, **labels: str) -> Labels:
    return tuple(sorted({"__name__": metric, **labels}.items()))


def _regular(every_s: int, phase_ms: int) -> Iterator[int]:
    return iter(range(BASE_S * 1_000 + phase_ms, (BASE_S + LENGTH_S) * 1_000, every_s * 1_000))


def _places() -> Iterator[tuple[str, str, int]]:
    for job_place, job in enumerate(("api", "db", "höhe/ü")):
        for instance_place, instance in enumerate("abc"):
            yield job, instance, job_place * 3 + instance_place


def _counters(chance: random.Random) -> Iterator[Series]:
    for job, instance, place in _places():
        phase_ms = chance.randrange(1, 1_000) + 1_000 * chance.randrange(15)
        labels = _labels("requests_total", job=job, instance=instance)
        yield labels, _counted(chance, list(_regular(15, phase_ms)), start=1_000_000 * (place + 1), falls_to=0.0)
        jittered = [time + chance.randrange(-3, 3) * 1_000 for time in _regular(15, 4_000 + phase_ms % 997 + 1)]
        labels = _labels("bytes_total", job=job, instance=instance)
        yield labels, _counted(chance, jittered, start=10_000_000 + place, falls_to=0.4)
        labels = _labels("visits_total", job=job, instance=instance)
        yield labels, _holed(chance, _counted(chance, list(_regular(30, phase_ms)), start=5_000_000, falls_to=1.0))


def _counted(chance: random.Random, times: list[int], *, start: int, falls_to: float) -> list[tuple[int, float]]:
    """falls_to: what of its value is left when it is reset; 1: it never is."""
    value, samples = start, []
    for time in times:
        value += chance.choice((0, 0, 1, 5, 40))
        if falls_to < 1 and chance.random() < 0.004:
            value = int(value * falls_to)
        samples.append((time, float(value)))
    return samples


def _gauges(chance: random.Random) -> Iterator[Series]:
    for job, instance, place in _places():
        times = list(_regular(10, 0))
        yield (
            _labels("even_gauge", job=job, instance=instance),
            [(time, _distinct(chance, place)) for time in times],
        )
        zone = chance.choice(("x", "y"))
        odd = [(time, _distinct(chance, place)) for time in _regular(30, chance.randrange(1, 1_000))]
        yield _labels("load", job=job, instance=instance, zone=zone), _holed(chance, odd)
        even = [(time, _distinct(chance, place)) for time in _regular(60, 0)]
        yield _labels("even_holes", job=job, instance=instance), _holed(chance, even)
    for cpu in range(4):
        samples = [(time, _distinct(chance, cpu)) for time in _regular(60, 0)]
        yield _labels("even:temperature:max", cpu=str(cpu), job="api"), samples


def _distinct(chance: random.Random, place: int) -> float:
    return float(chance.randrange(-50, 200) * SERIES_COUNT + place)


def _holed(chance: random.Random, samples: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Some samples missing, some longer holes, of which some begin with a stale marker; late begin and early end."""
    kept: list[tuple[int, float]] = []
    left_out = 0
    begin, end = chance.choice((0, 0, len(samples) // 5)), chance.choice((1.0, 1.0, 0.7)) * len(samples)
    for place, (time, value) in enumerate(samples):
        if not begin <= place < end:
            continue
        if left_out:
            left_out -= 1
        elif chance.random() < 0.02:
            left_out = chance.choice((1, 4, 25))
            if kept and chance.random() < 0.6:
                kept.append((time, float(STALE_NAN)))
        else:
            kept.append((time, value))
    return kept


def _histograms(chance: random.Random) -> Iterator[Series]:
    for job in ("api", "db"):
        times = list(_regular(30, chance.randrange(1, 1_000)))
        total = [1_000_000] * len(times)
        for number, bound in enumerate(BUCKETS):
            grown = 0
            for place in range(len(times)):
                grown += chance.choice((0, 0, 1, 3))
                total[place] += grown + number * 100
            samples = [(time, float(count)) for time, count in zip(times, total, strict=True)]
            yield _labels("latency_bucket", job=job, le=bound), samples


def _special(chance: random.Random) -> Iterator[Series]:
    odd = (float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1e300, -7.0, 0.125)
    for place in range(2):
        samples = [(time, chance.choice(odd)) for time in _regular(60, 0)]
        yield _labels("even_special", instance="ab"[place]), samples


def _versions(chance: random.Random) -> Iterator[Series]:
    """One series for each instance at a time, which ends where the next begins, as at a new release."""
    times = list(_regular(60, 0))
    for job, instance, _ in _places():
        cuts = sorted(chance.sample(range(10, len(times) - 10), 2))
        for version, (begin, end) in enumerate(zip((0, *cuts), (*cuts, len(times)), strict=True)):
            samples = [(time, 1.0) for time in times[begin:end]]
            if end < len(times) and chance.random() < 0.5:
                samples.append((times[end], float(STALE_NAN)))
            yield _labels("even_build", job=job, instance=instance, version=f"v{version}"), samples
