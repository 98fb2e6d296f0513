"""Several points made one, by the functions of graphite-web's consolidateBy and aggregate."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tsdb.query.graphite.errors import BadTarget
from tsdb.sample import Float64s

_CACHED_BYTES_MAX = 256 << 10
Reduce = Callable[[Float64s], Float64s]
"""Reduces the last axis of an array with NaN for what is missing; NaN where nothing is there."""


# What an aggregation is of values that are all there, which mostly they are: the same without a look at each.
_PLAIN: dict[str, Reduce] = {
    "average": lambda values: np.asarray(values.mean(axis=-1)),
    "avg_zero": lambda values: np.asarray(values.mean(axis=-1)),
    "sum": lambda values: np.asarray(values.sum(axis=-1)),
    "min": lambda values: np.asarray(values.min(axis=-1)),
    "max": lambda values: np.asarray(values.max(axis=-1)),
    "count": lambda values: np.full(values.shape[:-1], float(values.shape[-1])),
    "last": lambda values: values[..., -1],
    "first": lambda values: values[..., 0],
}


def _of_present(reduce: Reduce, plain: Reduce | None) -> Reduce:
    """Without numpy's warning about slices that are all NaN, which is an answer here."""

    def quiet(values: Float64s) -> Float64s:
        if values.shape[-1] == 0:
            return np.full(values.shape[:-1], np.nan)
        if plain is not None and not np.isnan(values).any():
            return plain(values)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            return reduce(values)

    return quiet


def _counts(values: Float64s) -> Float64s:
    return np.asarray(np.count_nonzero(~np.isnan(values), axis=-1), np.float64)


def _none_where_empty(reduce: Reduce) -> Reduce:
    def emptied(values: Float64s) -> Float64s:
        return np.where(_counts(values) > 0, reduce(values), np.nan)

    return emptied


def _average_zero(values: Float64s) -> Float64s:
    return np.asarray(np.nansum(values, axis=-1) / values.shape[-1])


def _median(values: Float64s) -> Float64s:
    """The middle value; of an even number the mean of the two. NaN is sorted behind all numbers."""
    ordered = np.sort(values, axis=-1)
    counts = np.count_nonzero(~np.isnan(values), axis=-1)[..., None]
    low = np.take_along_axis(ordered, np.maximum((counts - 1) // 2, 0), axis=-1)
    high = np.take_along_axis(ordered, np.minimum(counts // 2, values.shape[-1] - 1), axis=-1)
    return np.asarray(np.where(counts > 0, (low + high) / 2, np.nan)[..., 0])


def _difference(values: Float64s) -> Float64s:
    """The first that is there minus all others."""
    return np.asarray(2 * _first(values) - np.nansum(values, axis=-1))


def _range(values: Float64s) -> Float64s:
    return np.asarray(np.nanmax(values, axis=-1) - np.nanmin(values, axis=-1))


def _first(values: Float64s) -> Float64s:
    place = np.argmax(~np.isnan(values), axis=-1)
    return np.take_along_axis(values, place[..., None], axis=-1)[..., 0]


def _last(values: Float64s) -> Float64s:
    return _first(values[..., ::-1])


def _deviation(values: Float64s) -> Float64s:
    return np.asarray(np.nanstd(values, axis=-1))


_SUM = _none_where_empty(lambda values: np.nansum(values, axis=-1))
_AVERAGE: Reduce = lambda values: np.asarray(np.nanmean(values, axis=-1))  # noqa: E731
_MIN: Reduce = lambda values: np.asarray(np.nanmin(values, axis=-1))  # noqa: E731
_MAX: Reduce = lambda values: np.asarray(np.nanmax(values, axis=-1))  # noqa: E731

AGGREGATIONS: dict[str, Reduce] = {
    name: _of_present(reduce, _PLAIN.get(names.split()[0]))
    for names, reduce in (
        ("average avg", _AVERAGE),
        ("avg_zero", _none_where_empty(_average_zero)),
        ("median", _median),
        ("sum total", _SUM),
        ("min", _MIN),
        ("max", _MAX),
        ("diff", _none_where_empty(_difference)),
        ("stddev", _deviation),
        ("count", _counts),
        ("range rangeOf", _range),
        ("multiply", lambda values: np.asarray(np.prod(values, axis=-1))),  # None where any is missing.
        ("last current", _none_where_empty(_last)),
        ("first", _none_where_empty(_first)),
    )
    for name in names.split()
}

AGGREGATION_NAMES = tuple(name for name in sorted(AGGREGATIONS) if name != "first")
"""As parameters list them."""


def aggregation(name: str) -> Reduce:
    """By name; with `Series` at its end too. Raises: BadTarget."""
    found = AGGREGATIONS.get(name) or AGGREGATIONS.get(name.removesuffix("Series"))
    if found is None:
        raise BadTarget(f"Unsupported aggregation function: {name}")
    return found


def x_files_enough(values: Float64s, x_files_factor: float, whole: float | None = None) -> npt.NDArray[np.bool_]:
    """By the last axis: whether so large a share of the values is there, and one at least. whole: what all would be."""
    whole = values.shape[-1] if whole is None else whole
    if values.shape[-1] and not np.isnan(values).any():
        return np.full(values.shape[:-1], values.shape[-1] >= x_files_factor * whole)
    counts = _counts(values)
    return np.asarray((counts > 0) & (counts >= x_files_factor * whole))


def across(rows: Float64s, reduce: Reduce) -> Float64s:
    """(series, steps) → one value a step, of all series; a few steps at a time, which fit into the caches of a core."""
    found = np.empty(rows.shape[1])
    step = max(1, _CACHED_BYTES_MAX // (8 * max(1, rows.shape[0])))
    for start in range(0, rows.shape[1], step):
        found[start : start + step] = reduce(np.ascontiguousarray(rows[:, start : start + step].T))
    return found


def consolidated(values: Float64s, count: int, name: str, x_files_factor: float = 0.0) -> Float64s:
    """So many values each made one along the last axis; the last of them from what is left."""
    if count <= 1:
        return values
    reduce = aggregation(name)
    size = values.shape[-1]
    whole = size // count * count
    parts = values[..., :whole].reshape(*values.shape[:-1], whole // count, count)
    found = np.where(x_files_enough(parts, x_files_factor), reduce(parts), np.nan)
    if whole == size:
        return found
    rest = values[..., whole:]
    last = np.where(x_files_enough(rest, x_files_factor, count), reduce(rest), np.nan)
    return np.concatenate([found, last[..., None]], axis=-1)
