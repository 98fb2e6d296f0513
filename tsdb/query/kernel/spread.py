"""Windows described by more than a sum: variance, quantiles, median distance, regression."""

from __future__ import annotations

import numpy as np

from tsdb.query.kernel.order import interpolated
from tsdb.query.kernel.sums import add_pairs
from tsdb.query.kernel.windows import Expanded, Windows
from tsdb.sample import Float64s, Int64s


def window_variances(windows: Windows) -> Float64s:
    """The population variance of every window, around its own mean."""
    variance = np.zeros(windows.first.size)
    for part in windows.parts():
        value = windows.value[part.index]
        distance = value - _means(part, value)[part.owner]
        variance[part.cell] = np.add.reduceat(distance * distance, part.starts) / part.count
    return variance.reshape(windows.first.shape)


def _means(part: Expanded, value: Float64s) -> Float64s:
    """Means whose rounding error does not show: a second pass adds the mean of what the first left over."""
    rough = np.add.reduceat(value, part.starts) / part.count
    rest = np.add.reduceat(value - rough[part.owner], part.starts) / part.count
    return add_pairs((rough, np.zeros_like(rough)), (np.where(np.isfinite(rest), rest, 0.0), np.zeros_like(rough)))[0]


def window_quantiles(windows: Windows, phi: Float64s) -> Float64s:
    """The phi[step]-quantile of every window; NaN sorts before every number."""
    quantile = np.zeros(windows.first.size)
    phi_of_cell = np.broadcast_to(phi, windows.first.shape).reshape(-1)
    for part in windows.parts():
        quantile[part.cell] = _quantiles(part, windows.value[part.index], phi_of_cell[part.cell])
    return quantile.reshape(windows.first.shape)


def _quantiles(part: Expanded, value: Float64s, phi: Float64s) -> Float64s:
    ordered = value[np.lexsort((value, ~np.isnan(value), part.owner))]

    def value_at(rank: Int64s) -> Float64s:
        return ordered[part.starts + np.clip(rank, 0, part.count - 1)]

    return interpolated(value_at, part.count.astype(np.float64), phi)


def window_median_distances(windows: Windows) -> Float64s:
    """The median of the distances from the median of every window (mad_over_time)."""
    found = np.zeros(windows.first.size)
    for part in windows.parts():
        value, half = windows.value[part.index], np.full(part.cell.size, 0.5)
        median = _quantiles(part, value, half)
        found[part.cell] = _quantiles(part, np.abs(value - median[part.owner]), half)
    return found.reshape(windows.first.shape)


def window_regressions(windows: Windows, intercept_ms: Int64s | None) -> tuple[Float64s, Float64s]:
    """Slope (per second) and value at intercept_ms[step] of the least-squares line through every window.

    Without intercept_ms the line is taken at each window's first sample, as deriv does.
    Source: Prometheus promql/functions.go, linearRegression.
    """
    slope, intercept = np.zeros(windows.first.size), np.zeros(windows.first.size)
    steps = windows.end_ms.size
    for part in windows.parts():
        value, times_ms = windows.value[part.index], windows.timestamp_ms[part.index]
        origin_ms = times_ms[part.starts] if intercept_ms is None else intercept_ms[part.cell % steps]
        x = (times_ms - origin_ms[part.owner]) / 1000.0
        x_mean, y_mean = _means(part, x), _means(part, value)
        x_away, y_away = x - x_mean[part.owner], value - y_mean[part.owner]
        covariance = np.add.reduceat(x_away * y_away, part.starts)
        slope[part.cell] = covariance / np.add.reduceat(x_away * x_away, part.starts)
        intercept[part.cell] = y_mean - slope[part.cell] * x_mean
        _flatten_constant(part, value, slope, intercept)
    return slope.reshape(windows.first.shape), intercept.reshape(windows.first.shape)


def window_smoothed(windows: Windows, smoothing: Float64s, trend: Float64s) -> Float64s:
    """Double exponential smoothing with the factors of each step; any value for a window of less than two samples.

    One round for each position within the longest window, for all windows together.
    Source: Prometheus promql/functions.go, funcDoubleExponentialSmoothing.
    """
    count = windows.count
    before, smoothed = np.zeros(count.shape), windows.at(windows.value, windows.first)
    slope = windows.at(windows.value, windows.first + 1) - smoothed
    for place in range(1, int(count.max(initial=0))):
        if place > 1:
            slope = trend * (smoothed - before) + (1 - trend) * slope
        here = windows.at(windows.value, windows.first + place)
        after = smoothing * here + (1 - smoothing) * (smoothed + slope)
        inside = place < count
        before, smoothed = np.where(inside, smoothed, before), np.where(inside, after, smoothed)
    return smoothed


def _flatten_constant(part: Expanded, value: Float64s, slope: Float64s, intercept: Float64s) -> None:
    """A window of one repeated value has the slope 0 exactly; infinities have none."""
    first = value[part.starts]
    constant = np.logical_and.reduceat(value == first[part.owner], part.starts)
    slope[part.cell[constant]] = np.where(np.isinf(first[constant]), np.nan, 0.0)
    intercept[part.cell[constant]] = np.where(np.isinf(first[constant]), np.nan, first[constant])
