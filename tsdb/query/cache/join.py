"""Parts of answers, and two answers of neighbouring ranges as one: columns in, columns out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.query.promql.ledger import Ledger
from tsdb.query.promql.rollups import joined as selections_joined
from tsdb.sample import Float64s, Int64s, Selection


class Grid(NamedTuple):
    """An answer whose series all have a value at the same times: times int64[n], value float64[series, n]."""

    times_ms: Int64s
    value: Float64s


def grid_of(answer: QueryAnswer) -> Grid | None:
    series_count = len(answer.labels)
    if not series_count or answer.value.size % series_count:
        return None
    length = answer.value.size // series_count
    if not (np.diff(answer.offsets) == length).all():
        return None
    times_ms = answer.timestamp_ms.reshape(series_count, length)
    if not (times_ms == times_ms[0]).all():
        return None
    return Grid(times_ms[0], answer.value.reshape(series_count, length))


def between(answer: QueryAnswer, first_ms: int, last_ms: int, ledger: Ledger) -> QueryAnswer:
    """What an answer has from first_ms to last_ms, both included; series without a value there are left out."""
    times_ms = answer.timestamp_ms
    if not times_ms.size or (int(times_ms.min()) >= first_ms and int(times_ms.max()) <= last_ms):
        return answer
    with ledger.room(32 * times_ms.size):
        if (grid := grid_of(answer)) is not None:
            inside = slice(*np.searchsorted(grid.times_ms, (first_ms, last_ms + 1)).tolist())
            return _of_grid(answer.labels, Grid(grid.times_ms[inside], grid.value[:, inside]), ledger)
        is_inside = (times_ms >= first_ms) & (times_ms <= last_ms)
        ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(is_inside)))[answer.offsets]
        rows = np.flatnonzero(np.diff(ends))
        labels = answer.labels if rows.size == len(answer.labels) else [answer.labels[i] for i in rows.tolist()]
        return _answer(labels, np.append(0, ends[1:][rows]), times_ms[is_inside], answer.value[is_inside], ledger)


def joined(early: QueryAnswer, late: QueryAnswer, ledger: Ledger) -> QueryAnswer:
    """Two answers of which one ends before the other begins; by labels, as every matrix. Annotations are of neither."""
    if not early.labels or not late.labels:
        return early if early.labels else late
    with ledger.room(48 * (early.value.size + late.value.size)):
        if early.labels == late.labels and (left := grid_of(early)) and (right := grid_of(late)):
            times_ms = np.concatenate((left.times_ms, right.times_ms))
            return _of_grid(early.labels, Grid(times_ms, np.concatenate((left.value, right.value), axis=1)), ledger)
        found = selections_joined(_selection(early), _selection(late))
        labels = [dict(row) for row in found.labels]
        return _answer(labels, found.offsets, found.timestamp_ms, found.value, ledger)


def _of_grid(labels: list[dict[str, str]], grid: Grid, ledger: Ledger) -> QueryAnswer:
    shape = grid.value.shape
    if not shape[1]:
        labels, shape = [], (0, 0)
    offsets = np.arange(shape[0] + 1, dtype=np.int64) * shape[1]
    times_ms = np.broadcast_to(grid.times_ms, shape).reshape(-1)
    return _answer(labels, offsets, times_ms, np.ascontiguousarray(grid.value).reshape(-1), ledger)


def _selection(answer: QueryAnswer) -> Selection:
    labels: Sequence[tuple[tuple[str, str], ...]] = [tuple(row.items()) for row in answer.labels]
    return Selection(labels=labels, offsets=answer.offsets, times_ms=answer.timestamp_ms, value=answer.value)


def _answer(
    labels: list[dict[str, str]], offsets: Int64s, timestamp_ms: Int64s, value: Float64s, ledger: Ledger
) -> QueryAnswer:
    ledger.hold(offsets, timestamp_ms, value)
    return QueryAnswer(kind=AnswerKind.MATRIX, labels=labels, offsets=offsets, timestamp_ms=timestamp_ms, value=value)
