"""Aggregations over windows of points, or of time, that end with each point."""

from __future__ import annotations

import numpy as np

from tsdb.query.graphite.attime import seconds_of
from tsdb.query.graphite.consolidation import AGGREGATION_NAMES, aggregation
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series, by_row
from tsdb.query.graphite.windows import moving, over_windows
from tsdb.sample import Float64s

GROUP = "Calculate"
WINDOW = required(
    "windowSize",
    Kind.INTEGER_OR_INTERVAL,
    suggestions=(5, 7, 10, "1min", "5min", "10min", "30min", "1hour"),
)
X_FILES_FACTOR = optional("xFilesFactor", Kind.FLOAT)
WINDOW_S_MAX = 10 * 365 * 86_400


def with_preview(call: Invocation, group: list[Series], window: int | str) -> tuple[list[Series], int]:
    """The first argument again from so long before the range, and how long that is, in seconds."""
    if isinstance(window, str):
        preview_s = abs(seconds_of(window))
    else:
        preview_s = abs(window) * max((one.step_s for one in group), default=0)
    if preview_s > WINDOW_S_MAX:
        raise BadTarget(f"{call.name}(): the window {window!r} is longer than ten years")
    context = call.context
    return call.again(0, context.between(context.start_s - preview_s, context.end_s)), preview_s


def _window_text(window: int | str) -> str:
    return f'"{window}"' if isinstance(window, str) else str(window)


def _moved(
    call: Invocation, group: list[Series], window: int | str, name: str, x_files_factor: float | None
) -> list[Series]:
    aggregation(name)
    if not group:
        return []
    factor = call.context.x_files_factor if x_files_factor is None else x_files_factor
    title = "moving" + name.removesuffix("Series").capitalize()
    earlier, preview_s = with_preview(call, group, window)
    found: dict[int, Series] = {}  # By the place of the series.
    for size, places in _by_size(earlier, window, preview_s).items():
        some = [earlier[place] for place in places]
        rows = by_row(some, lambda values, size=size: moving(values, size, name, factor)[..., 1:])  # type: ignore[misc]
        for place, one, values in zip(places, some, rows, strict=True):
            made = one.but(
                name=(full := f"{title}({one.name},{_window_text(window)})"),
                path=full,
                start_s=one.start_s + preview_s,
                values=values,
                x_files_factor=0.0,
            )
            made.tags[title] = str(window)
            found[place] = made
    return [found[place] for place in sorted(found)]


def _by_size(group: list[Series], window: int | str, preview_s: int) -> dict[int, list[int]]:
    """The places of the series by how many points the window has, which depends on the step."""
    found: dict[int, list[int]] = {}
    for place, one in enumerate(group):
        size = preview_s // one.step_s if isinstance(window, str) else abs(window)
        found.setdefault(size, []).append(place)
    return found


@function(
    "movingWindow",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        WINDOW,
        optional("func", Kind.AGGREGATION, "average", options=AGGREGATION_NAMES),
        X_FILES_FACTOR,
    ],
)
def moving_window(
    call: Invocation, group: list[Series], window: int | str, name: str, factor: float | None
) -> list[Series]:
    """An aggregation of your choice over so many points, or a time, up to each point."""
    return _moved(call, group, window, name, factor)


@function("movingAverage", group=GROUP, parameters=[SERIES_LIST, WINDOW, X_FILES_FACTOR])
def moving_average(call: Invocation, group: list[Series], window: int | str, factor: float | None) -> list[Series]:
    """The mean of so many points, or of a time, up to each point."""
    return _moved(call, group, window, "average", factor)


@function("movingMedian", group=GROUP, parameters=[SERIES_LIST, WINDOW, X_FILES_FACTOR])
def moving_median(call: Invocation, group: list[Series], window: int | str, factor: float | None) -> list[Series]:
    """The median of so many points, or of a time, up to each point."""
    return _moved(call, group, window, "median", factor)


@function("movingMin", group=GROUP, parameters=[SERIES_LIST, WINDOW, X_FILES_FACTOR])
def moving_min(call: Invocation, group: list[Series], window: int | str, factor: float | None) -> list[Series]:
    """The smallest of so many points, or of a time, up to each point."""
    return _moved(call, group, window, "min", factor)


@function("movingMax", group=GROUP, parameters=[SERIES_LIST, WINDOW, X_FILES_FACTOR])
def moving_max(call: Invocation, group: list[Series], window: int | str, factor: float | None) -> list[Series]:
    """The largest of so many points, or of a time, up to each point."""
    return _moved(call, group, window, "max", factor)


@function("movingSum", group=GROUP, parameters=[SERIES_LIST, WINDOW, X_FILES_FACTOR])
def moving_sum(call: Invocation, group: list[Series], window: int | str, factor: float | None) -> list[Series]:
    """The sum of so many points, or of a time, up to each point."""
    return _moved(call, group, window, "sum", factor)


@function("exponentialMovingAverage", group=GROUP, parameters=[SERIES_LIST, WINDOW])
def exponential_moving_average(call: Invocation, group: list[Series], window: int | str) -> list[Series]:
    """A mean in which each point counts less the older it is; to the millionth."""
    if not group:
        return []
    earlier, preview_s = with_preview(call, group, window)
    weight = 2 / ((preview_s if isinstance(window, str) else abs(window)) + 1)
    found = []
    for one in earlier:
        size = preview_s // one.step_s if isinstance(window, str) else abs(window)
        name = f"exponentialMovingAverage({one.name},{_window_text(window)})"
        made = one.but(
            name=name, path=name, start_s=one.start_s + size * one.step_s, values=_smoothed(one.values, size, weight)
        )
        made.tags["exponentialMovingAverage"] = str(window)
        found.append(made)
    return found


def _smoothed(values: Float64s, size: int, weight: float) -> Float64s:
    """The mean of the first points, and each later one weighed into it."""
    first = values[:size]
    there = first[~np.isnan(first)]
    mean = float(there.mean()) if there.size else 0.0
    later = values[size:]
    found = np.full(later.size + 1, np.nan)
    found[0] = mean
    places = np.flatnonzero(~np.isnan(later))
    for place, value in zip(places.tolist(), later[places].tolist(), strict=True):
        mean += weight * (value - mean)
        found[place + 1] = mean
    return np.round(found, 6)


@function(
    "stdev",
    group=GROUP,
    parameters=[SERIES_LIST, required("points", Kind.INTEGER), optional("windowTolerance", Kind.FLOAT, 0.1)],
)
def moving_deviation(call: Invocation, group: list[Series], points: int, tolerance: float) -> list[Series]:
    """The standard deviation of the points up to each one, where enough of them are there."""
    if points < 1:
        raise BadTarget(f"stdev(): the number of points is {points}; it must be 1 at least")

    mean_of = aggregation("average")

    def deviations(values: Float64s) -> Float64s:
        padded = np.concatenate([np.full((*values.shape[:-1], points - 1), np.nan), values], axis=-1)
        counts = over_windows(np.where(np.isnan(padded), 0.0, 1.0), points, np.add)
        centre = np.nan_to_num(mean_of(padded))[..., None]  # Squares of what is left are small, and so exact enough.
        centred = np.where(np.isnan(padded), 0.0, padded - centre)
        sums = over_windows(centred, points, np.add)
        squares = over_windows(centred * centred, points, np.add)
        variance = np.maximum(squares / counts - (sums / counts) ** 2, 0)
        return np.where((counts > 0) & (counts / points >= tolerance), np.sqrt(variance), np.nan)

    with np.errstate(all="ignore"):
        rows = by_row(group, deviations)
    found = []
    for one, values in zip(group, rows, strict=True):
        name = f"stdev({one.name},{points})"
        found.append(one.but(name=name, path=name, values=values))
        found[-1].tags["stdev"] = str(points)
    return found
