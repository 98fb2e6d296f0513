"""Functions of a range vector that do not extrapolate: one value from the samples of each window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tsdb.errors import QueryFailed
from tsdb.query.kernel.changes import window_changes, window_resets
from tsdb.query.kernel.extremes import window_extreme_times_ms, window_extremes
from tsdb.query.kernel.spread import (
    window_median_distances,
    window_quantiles,
    window_regressions,
    window_smoothed,
    window_variances,
)
from tsdb.query.kernel.steps import Cells
from tsdb.query.kernel.sums import window_means, window_sums
from tsdb.query.kernel.windows import Windows, filled
from tsdb.query.promql.functions.family import Function, OverWindows
from tsdb.query.promql.nodes import Call
from tsdb.query.promql.rollups import READINGS
from tsdb.query.promql.values import Value
from tsdb.sample import Float64s

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

Reduction = Callable[[Windows], Float64s]


def _count(windows: Windows) -> Float64s:
    if windows.weight is None:
        return windows.count.astype(np.float64)
    return window_sums(windows.weight, windows.first, windows.end)


def _mean(windows: Windows) -> Float64s:
    if windows.weight is None:
        return window_means(windows.value, windows.first, windows.end)
    # The value of a bucket is the sum of its samples.
    return window_sums(windows.value, windows.first, windows.end) / _count(windows)


def _first(windows: Windows) -> Float64s:
    return windows.at(windows.value, windows.first)


def _last(windows: Windows) -> Float64s:
    return windows.at(windows.value, windows.end - 1)


def _ones(windows: Windows) -> Float64s:
    return np.ones(windows.first.shape)


def _reduced(reduction: Reduction, *, samples_min: int = 1, keeps_name: bool = False) -> Function:
    def reduce(windows: Windows) -> Cells:
        return Cells(reduction(windows), filled(windows) if samples_min == 1 else windows.count >= samples_min)

    return OverWindows(reduce, keeps_name=keeps_name)


def _quantile(evaluator: Evaluator, node: Call) -> Value:
    phi = evaluator.scalar(node.arguments[0])

    def reduce(windows: Windows, columns: slice) -> Cells:
        return Cells(window_quantiles(windows, phi[columns]), filled(windows))

    vector = evaluator.over_windows(node.arguments[1], READINGS[node.name], reduce)
    evaluator.annotations.check_quantiles(phi[vector.cells.present.any(axis=0)], node.place(0))
    return evaluator.unnamed(vector)


def _predict_linear(evaluator: Evaluator, node: Call) -> Value:
    """The line through the window, read some seconds after the evaluation time."""
    ahead_s = evaluator.scalar(node.arguments[1])
    times_ms = evaluator.steps.times_ms()

    def reduce(windows: Windows, columns: slice) -> Cells:
        slope, intercept = window_regressions(windows, times_ms[columns])
        return Cells(slope * ahead_s[columns] + intercept, windows.count >= 2)

    return evaluator.unnamed(evaluator.over_windows(node.arguments[0], READINGS[node.name], reduce))


def _smoothed(evaluator: Evaluator, node: Call) -> Value:
    smoothing, trend = evaluator.scalar(node.arguments[1]), evaluator.scalar(node.arguments[2])
    for factor, name in ((smoothing, "smoothing"), (trend, "trend")):
        wrong = factor[~((factor > 0) & (factor < 1))]
        if wrong.size:
            raise QueryFailed(f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {wrong[0]:f}")

    def reduce(windows: Windows, columns: slice) -> Cells:
        return Cells(window_smoothed(windows, smoothing[columns], trend[columns]), windows.count >= 2)

    return evaluator.unnamed(evaluator.over_windows(node.arguments[0], READINGS[node.name], reduce))


REDUCTIONS: dict[str, Reduction] = {
    "sum_over_time": lambda windows: window_sums(windows.value, windows.first, windows.end),
    "avg_over_time": _mean,
    "min_over_time": partial(window_extremes, np.fmin),
    "max_over_time": partial(window_extremes, np.fmax),
    "count_over_time": _count,
    "present_over_time": _ones,
    "stdvar_over_time": window_variances,
    "stddev_over_time": lambda windows: np.sqrt(window_variances(windows)),
    "mad_over_time": window_median_distances,
    "changes": window_changes,
    "resets": window_resets,
    "ts_of_first_over_time": lambda windows: windows.time_ms_at(windows.first) / 1000.0,
    "ts_of_last_over_time": lambda windows: windows.time_ms_at(windows.end - 1) / 1000.0,
    "ts_of_min_over_time": lambda windows: window_extreme_times_ms(np.fmin, windows) / 1000.0,
    "ts_of_max_over_time": lambda windows: window_extreme_times_ms(np.fmax, windows) / 1000.0,
}

FUNCTIONS: dict[str, Function] = {
    **{name: _reduced(reduction) for name, reduction in REDUCTIONS.items()},
    "last_over_time": _reduced(_last, keeps_name=True),
    "first_over_time": _reduced(_first, keeps_name=True),
    "deriv": _reduced(lambda windows: window_regressions(windows, None)[0], samples_min=2),
    "quantile_over_time": _quantile,
    "double_exponential_smoothing": _smoothed,
    "predict_linear": _predict_linear,
}
