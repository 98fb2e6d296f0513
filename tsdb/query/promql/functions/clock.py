"""Time: of the evaluation, of a sample, and the parts of a date (UTC)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tsdb.errors import NotSupported
from tsdb.query.kernel.steps import Cells
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.nodes import Call, Selector
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import Float64s, Int64s

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

DAY_S = 86_400
# Seconds that numpy's calendar holds as days without overflow: 2^53 s are 285 million years.
SECONDS_MAX = 2.0**53


def _time(evaluator: Evaluator, node: Call) -> Value:
    return Scalar(evaluator.steps.times_ms() / 1000.0)


def _timestamp(evaluator: Evaluator, node: Call) -> Value:
    """The time of the sample itself for a bare selector, else the evaluation time."""
    argument = node.arguments[0]
    if isinstance(argument, Selector):
        labels, cells, times_ms = evaluator.instants(argument, with_times=True)
        vector = Vector.named(labels, Cells(times_ms / 1000.0, cells.present)).filled_rows()
    else:
        vector = evaluator.vector(argument)
        times_s = np.broadcast_to(evaluator.steps.times_ms() / 1000.0, vector.cells.value.shape)
        vector = vector.with_cells(Cells(times_s, vector.cells.present))
    return evaluator.unnamed(vector)


def _days(seconds: Int64s) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    return (seconds // DAY_S).astype("datetime64[D]")


def _days_since(seconds: Int64s, unit: str) -> Int64s:
    """Whole days since the start of the month or year."""
    days = _days(seconds)
    since: Int64s = (days - days.astype(f"datetime64[{unit}]").astype("datetime64[D]")).astype(np.int64)
    return since


def _days_in_month(seconds: Int64s) -> Int64s:
    month = _days(seconds).astype("datetime64[M]")
    length: Int64s = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return length


DATE_PARTS: dict[str, Callable[[Int64s], Int64s]] = {
    "minute": lambda seconds: seconds // 60 % 60,
    "hour": lambda seconds: seconds // 3_600 % 24,
    "day_of_week": lambda seconds: (seconds // DAY_S + 4) % 7,  # The epoch was a Thursday; Sunday is 0.
    "day_of_month": lambda seconds: _days_since(seconds, "M") + 1,
    "day_of_year": lambda seconds: _days_since(seconds, "Y") + 1,
    "days_in_month": _days_in_month,
    "month": lambda seconds: _days(seconds).astype("datetime64[M]").astype(np.int64) % 12 + 1,
    "year": lambda seconds: _days(seconds).astype("datetime64[Y]").astype(np.int64) + 1970,
}


def _date_part(part: Callable[[Int64s], Int64s]) -> Function:
    """Of the value of each sample; without an argument, of the evaluation time."""

    def of_seconds(value: Float64s) -> Float64s:
        usable = np.abs(value) < SECONDS_MAX
        seconds = np.trunc(np.where(usable, value, 0.0)).astype(np.int64)
        return np.where(usable, part(seconds).astype(np.float64), np.nan)

    def call(evaluator: Evaluator, node: Call) -> Value:
        if not node.arguments:
            value = of_seconds(evaluator.steps.times_ms() / 1000.0)[None, :]
            return Vector.named([()], Cells(value, np.ones(value.shape, np.bool_)))
        vector = evaluator.vector(node.arguments[0])
        return evaluator.unnamed(evaluator.mapped(vector, lambda value, _: of_seconds(value)))

    return call


def _query_time(seconds: Callable[[Evaluator], float]) -> Function:
    def call(evaluator: Evaluator, node: Call) -> Value:
        return Scalar(np.full(evaluator.steps.count, seconds(evaluator)))

    return call


def _step_s(evaluator: Evaluator) -> float:
    if evaluator.query.step_ms is None:
        raise NotSupported("the function step() in an instant query")
    return evaluator.query.step_ms / 1000.0


FUNCTIONS: dict[str, Function] = {
    "time": _time,
    "timestamp": _timestamp,
    **{name: _date_part(part) for name, part in DATE_PARTS.items()},
    "start": _query_time(lambda evaluator: evaluator.query.start_ms / 1000.0),
    "end": _query_time(lambda evaluator: evaluator.query.end_ms / 1000.0),
    "range": _query_time(lambda evaluator: (evaluator.query.end_ms - evaluator.query.start_ms) / 1000.0),
    "step": _query_time(_step_s),
}
