"""Forecasts by seasons, after Holt and Winters, and how far a series strays from them.

Source of the method: P. J. Brutlag, Aberrant Behavior Detection in Time Series for Network Monitoring, 2000.
"""

from __future__ import annotations

import numpy as np

from tsdb.query.graphite.attime import seconds_of
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.functions.moving import with_preview
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional
from tsdb.query.graphite.series import Series
from tsdb.sample import Float64s

GROUP = "Calculate"
ALPHA = GAMMA = 0.1  # How much the newest value counts for the height and for the season.
BETA = 0.0035  # And for the slope.
DELTA = optional("delta", Kind.INTEGER, 3)
BOOTSTRAP = optional("bootstrapInterval", Kind.INTERVAL, "7d", suggestions=("7d", "30d"))
SEASON = optional("seasonality", Kind.INTERVAL, "1d", suggestions=("1d", "7d"))
FORECAST_TAGS = {"holtWintersForecast": "1", "holtWintersDeviation": "1"}
BAND_TAGS = {**FORECAST_TAGS, "holtWintersConfidenceUpper": "1", "holtWintersConfidenceLower": "1"}


def _analysis(rows: Float64s, season: int) -> tuple[Float64s, Float64s]:
    """(forecast, deviation) of each row at each step, from all steps before it. A step at a time over all rows."""
    count, size = rows.shape
    forecast, deviations = np.full((size, count), np.nan), np.zeros((size + 1, count))
    seasonals = np.zeros((size + 1, count))
    height, slope, expected = np.full(count, np.nan), np.zeros(count), np.full(count, np.nan)
    columns = np.ascontiguousarray(rows.T)
    nothing = np.zeros(count)
    for at in range(size):
        actual = columns[at]
        there = ~np.isnan(actual)
        forecast[at] = np.where(there, actual, np.nan) if at == 0 else expected
        last_season = seasonals[at - season] if at >= season >= 1 else nothing
        next_season = seasonals[at + 1 - season] if at + 1 >= season >= 2 else nothing  # Not what this step only makes.
        last_deviation = deviations[at - season] if at >= season >= 1 else nothing
        last_height = np.where(np.isnan(height), actual, height)
        new_height = ALPHA * (actual - last_season) + (1 - ALPHA) * (last_height + slope)
        new_slope = BETA * (new_height - last_height) + (1 - BETA) * slope
        seasonals[at] = np.where(there, GAMMA * (actual - new_height) + (1 - GAMMA) * last_season, 0)
        away = np.abs(actual - np.nan_to_num(forecast[at]))
        deviations[at] = np.where(there, GAMMA * away + (1 - GAMMA) * last_deviation, 0)
        expected = np.where(there, new_height + new_slope + next_season, np.nan)
        height, slope = np.where(there, new_height, np.nan), np.where(there, new_slope, 0)
    return forecast.T, deviations[:size].T


def _forecasts(
    call: Invocation, group: list[Series], bootstrap: str, seasonality: str
) -> list[tuple[Series, Float64s, Float64s]]:
    """(series of the range, forecast, deviation) for each series; the time before the range teaches the forecast."""
    if not group:
        return []
    season_s = abs(seconds_of(seasonality))
    if not season_s:
        raise BadTarget(f"{call.name}(): the season {seasonality!r} is empty")
    earlier, preview_s = with_preview(call, group, bootstrap)
    found = []
    for one in earlier:
        forecast, deviation = _analysis(one.values[None], season_s // one.step_s)
        skipped = preview_s // one.step_s
        inside = one.but(start_s=one.start_s + preview_s, values=one.values[skipped:])
        found.append((inside, forecast[0, skipped:], deviation[0, skipped:]))
    return found


@function("holtWintersForecast", group=GROUP, parameters=[SERIES_LIST, BOOTSTRAP, SEASON])
def forecast(call: Invocation, group: list[Series], bootstrap: str, seasonality: str) -> list[Series]:
    """What each series should be, by its height, its slope and its season so far."""
    return [
        one.but(
            name=(name := f"holtWintersForecast({one.name})"), path=name, values=values, tags=one.tags | FORECAST_TAGS
        )
        for one, values, _ in _forecasts(call, group, bootstrap, seasonality)
    ]


def _bands(
    call: Invocation, group: list[Series], delta: int, bootstrap: str, seasonality: str
) -> list[tuple[Series, Float64s, Float64s]]:
    """(series, lower, upper) for each series."""
    return [
        (one, values - delta * deviation, values + delta * deviation)
        for one, values, deviation in _forecasts(call, group, bootstrap, seasonality)
    ]


@function("holtWintersConfidenceBands", group=GROUP, parameters=[SERIES_LIST, DELTA, BOOTSTRAP, SEASON])
def confidence_bands(
    call: Invocation, group: list[Series], delta: int, bootstrap: str, seasonality: str
) -> list[Series]:
    """Two lines between which each series should be."""
    return [
        one.but(name=f"holtWintersConfidence{side}({one.name})", values=values, tags=one.tags | BAND_TAGS)
        for one, lower, upper in _bands(call, group, delta, bootstrap, seasonality)
        for side, values in (("Lower", lower), ("Upper", upper))
    ]


@function("holtWintersConfidenceArea", group=GROUP, parameters=[SERIES_LIST, DELTA, BOOTSTRAP, SEASON])
def confidence_area(
    call: Invocation, group: list[Series], delta: int, bootstrap: str, seasonality: str
) -> list[Series]:
    """The area in which each series should be, filled."""
    found = []
    for one, lower, upper in _bands(call, group, delta, bootstrap, seasonality):
        name = f"holtWintersConfidenceArea({one.name})"
        tags = one.tags | BAND_TAGS | {"holtWintersConfidenceArea": "1"}
        for values, options in ((lower, {"stacked": True, "invisible": True}), (upper, {"stacked": True})):
            found.append(one.but(name=name, path=name, values=values, tags=dict(tags), options=options))
    return found


@function("holtWintersAberration", group=GROUP, parameters=[SERIES_LIST, DELTA, BOOTSTRAP, SEASON])
def aberration(call: Invocation, group: list[Series], delta: int, bootstrap: str, seasonality: str) -> list[Series]:
    """How far each series lies outside of the area in which it should be; 0 within."""
    found = []
    for one, lower, upper in _bands(call, group, delta, bootstrap, seasonality):
        with np.errstate(invalid="ignore"):
            away = np.where(one.values < lower, one.values - lower, np.where(one.values > upper, one.values - upper, 0))
        name = f"holtWintersAberration({one.name})"
        found.append(one.but(name=name, path=name, values=away, tags=one.tags | {"holtWintersAberration": "1"}))
    return found
