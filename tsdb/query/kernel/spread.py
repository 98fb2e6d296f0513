"""Windows described by more than a sum: variance, quantiles, median distance, regression, smoothing."""

from __future__ import annotations

import numpy as np

from tsdb.query.kernel.order import interpolated
from tsdb.query.kernel.windows import Windows
from tsdb.sample import Float64s, Int64s

# Rounds of smoothing between two looks at the clock: a few µs each, more for many windows.
ROUNDS = 1_024


def window_variances(windows: Windows) -> Float64s:
    """The population variance of every window, around its own mean."""
    variance = np.zeros(windows.first.size)
    for cell, index in windows.parts():
        distance = _centred(windows.value[index])
        variance[cell] = (distance * distance).mean(axis=1)
    return variance.reshape(windows.first.shape)


def _centred(value: Float64s) -> Float64s:
    """The distances from the mean of each row; in two passes, so that equal values are at distance 0 exactly."""
    rough = value - value.mean(axis=1, keepdims=True)
    centred: Float64s = rough - rough.mean(axis=1, keepdims=True)
    return centred


def window_quantiles(windows: Windows, phi: Float64s) -> Float64s:
    """The phi[step]-quantile of every window; NaN sorts before every number."""
    quantile = np.zeros(windows.first.size)
    for cell, index in windows.parts():
        quantile[cell] = _quantiles(windows.value[index], phi[cell % windows.end_ms.size])
    return quantile.reshape(windows.first.shape)


def _quantiles(value: Float64s, phi: Float64s) -> Float64s:
    """The phi[row]-quantile of each row."""
    length = value.shape[1]
    ordered = np.sort(value, axis=1)
    # numpy sorts NaN to the end, Prometheus to the front: the ranks are turned by as many.
    nan_count = np.isnan(ordered).sum(axis=1)
    rows = np.arange(value.shape[0])

    def value_at(rank: Int64s) -> Float64s:
        found: Float64s = ordered[rows, (np.clip(rank, 0, length - 1) - nan_count) % length]
        return found

    return interpolated(value_at, np.full(rows.size, float(length)), phi)


def window_median_distances(windows: Windows) -> Float64s:
    """The median of the distances from the median of every window (mad_over_time)."""
    found = np.zeros(windows.first.size)
    for cell, index in windows.parts():
        value, half = windows.value[index], np.full(cell.size, 0.5)
        found[cell] = _quantiles(np.abs(value - _quantiles(value, half)[:, None]), half)
    return found.reshape(windows.first.shape)


def window_regressions(windows: Windows, intercept_ms: Int64s | None) -> tuple[Float64s, Float64s]:
    """Slope (per second) and value at intercept_ms[step] of the least-squares line through every window.

    Without intercept_ms the line is taken at each window's first sample, as deriv does. A window of one repeated value
    has the slope 0 exactly; infinities have none.
    Source: Prometheus promql/functions.go, linearRegression.
    """
    slope, intercept = np.zeros(windows.first.size), np.zeros(windows.first.size)
    for cell, index in windows.parts():
        value, times_ms = windows.value[index], windows.time_ms_at(index)
        origin_ms = times_ms[:, 0] if intercept_ms is None else intercept_ms[cell % windows.end_ms.size]
        x = (times_ms - origin_ms[:, None]) / 1000.0
        x_away = _centred(x)
        inclined = (x_away * _centred(value)).sum(axis=1) / (x_away * x_away).sum(axis=1)
        crossing = value.mean(axis=1) - inclined * x.mean(axis=1)
        first = value[:, 0]
        constant = (value == first[:, None]).all(axis=1)
        slope[cell] = np.where(constant, np.where(np.isinf(first), np.nan, 0.0), inclined)
        intercept[cell] = np.where(constant, np.where(np.isinf(first), np.nan, first), crossing)
    return slope.reshape(windows.first.shape), intercept.reshape(windows.first.shape)


def window_smoothed(windows: Windows, smoothing: Float64s, trend: Float64s) -> Float64s:
    """Double exponential smoothing with the factors of each step; any value for a window of less than two samples.

    One round for each position within the windows of a length, for all of them together.
    Source: Prometheus promql/functions.go, funcDoubleExponentialSmoothing.
    """
    found = np.zeros(windows.first.size)
    for cell, index in windows.parts():
        value = windows.value[index]
        level_share, trend_share = smoothing[cell % windows.end_ms.size], trend[cell % windows.end_ms.size]
        before, level = np.zeros(cell.size), value[:, 0]
        slope = value[:, 1] - level if value.shape[1] > 1 else level
        for place in range(1, value.shape[1]):
            if place % ROUNDS == 0:
                windows.check()
            if place > 1:
                slope = trend_share * (level - before) + (1 - trend_share) * slope
            before, level = level, level_share * value[:, place] + (1 - level_share) * (level + slope)
        found[cell] = level
    return found.reshape(windows.first.shape)
