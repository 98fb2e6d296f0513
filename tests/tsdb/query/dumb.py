"""PromQL's window functions and aggregations, one sample at a time in plain Python: the twin to compare with."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Sequence

from tsdb.sample import STALE_NAN_BITS

Sample = tuple[int, float]


def is_stale(value: float) -> bool:
    return struct.unpack("<Q", struct.pack("<d", value))[0] == STALE_NAN_BITS


def instant(samples: Sequence[Sample], at_ms: int, lookback_ms: int) -> float | None:
    """The latest sample in (at - lookback, at], if it is no stale marker."""
    seen = [(time, value) for time, value in samples if at_ms - lookback_ms < time <= at_ms]
    return None if not seen or is_stale(seen[-1][1]) else seen[-1][1]


def window(samples: Sequence[Sample], at_ms: int, range_ms: int) -> list[Sample]:
    return [(time, value) for time, value in samples if at_ms - range_ms < time <= at_ms and not is_stale(value)]


def extrapolated(
    samples: Sequence[Sample], at_ms: int, range_ms: int, *, is_counter: bool, is_rate: bool
) -> float | None:
    if len(samples) < 2:
        return None
    values = [value for _, value in samples]
    change = values[-1] - values[0]
    if is_counter:
        for before, after in itertools.pairwise(values):
            if after < before:
                change += before
    first_ms, last_ms = samples[0][0], samples[-1][0]
    to_start, to_end = (first_ms - (at_ms - range_ms)) / 1000, (at_ms - last_ms) / 1000
    sampled = (last_ms - first_ms) / 1000
    mean_gap = sampled / (len(samples) - 1)
    if to_start >= mean_gap * 1.1:
        to_start = mean_gap / 2
    if is_counter and change > 0 and values[0] >= 0:
        to_start = min(to_start, sampled * (values[0] / change) if not math.isinf(change) else math.inf)
    if to_end >= mean_gap * 1.1:
        to_end = mean_gap / 2
    factor = (sampled + to_start + to_end) / sampled
    return change * (factor / (range_ms / 1000) if is_rate else factor)


def irate(samples: Sequence[Sample]) -> float | None:
    if len(samples) < 2:
        return None
    (before_ms, before), (last_ms, last) = samples[-2:]
    return (last if last < before else last - before) / ((last_ms - before_ms) / 1000)


def total(values: Sequence[float]) -> float:
    """The sum, exact where it is finite."""
    special = sum(value for value in values if not math.isfinite(value))
    return special or math.fsum(value for value in values if math.isfinite(value))


def mean(values: Sequence[float]) -> float:
    return total(values) / len(values)


def extreme(choose: Callable[..., float], values: Sequence[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return choose(numbers) if numbers else math.nan


def variance(values: Sequence[float]) -> float:
    if not all(map(math.isfinite, values)):
        return math.nan
    center = mean(values)
    return total([(value - center) ** 2 for value in values]) / len(values)


def quantile(phi: float, values: Sequence[float]) -> float:
    if math.isnan(phi):
        return math.nan
    if not 0 <= phi <= 1:
        return -math.inf if phi < 0 else math.inf
    ordered = sorted(values, key=lambda value: (not math.isnan(value), value if not math.isnan(value) else 0.0))
    rank = phi * (len(ordered) - 1)
    low = max(0, math.floor(rank))
    high = min(len(ordered) - 1, low + 1)
    weight = rank - math.floor(rank)
    return ordered[low] * (1 - weight) + ordered[high] * weight


def changes(values: Sequence[float]) -> float:
    pairs = itertools.pairwise(values)
    return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairs))


def resets(values: Sequence[float]) -> float:
    return float(sum(b < a for a, b in itertools.pairwise(values)))


OVER_TIME: dict[str, Callable[[Sequence[float]], float]] = {
    "sum_over_time": total,
    "avg_over_time": mean,
    "min_over_time": lambda values: extreme(min, values),
    "max_over_time": lambda values: extreme(max, values),
    "count_over_time": lambda values: float(len(values)),
    "present_over_time": lambda values: 1.0,
    "last_over_time": lambda values: values[-1],
    "first_over_time": lambda values: values[0],
    "stdvar_over_time": variance,
    "stddev_over_time": lambda values: math.sqrt(variance(values)),
    "changes": changes,
    "resets": resets,
}

AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": total,
    "avg": mean,
    "min": OVER_TIME["min_over_time"],
    "max": OVER_TIME["max_over_time"],
    "count": OVER_TIME["count_over_time"],
    "group": lambda values: 1.0,
    "stdvar": variance,
    "stddev": OVER_TIME["stddev_over_time"],
}
