"""What the series of the index are made of: which metrics, labels and values have most of them, and most new ones.

Everything is counted over columns, label by label, so that no other thread waits for the interpreter for long: a
million values of one label take about half a second of one core.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.sample import METRIC_NAME, Int64s
from tsdb.store.index import SeriesIndex
from tsdb.store.postings import LabelPart
from tsdb.store.series_limits import TEAM_LABEL

NEW_WITHIN_S = 3_600.0
TOP_COUNT_MAX = 1_000


class _Row(NamedTuple):
    """One line of a table."""

    words: dict[str, str]
    series_count: int
    new_count: int
    value_count: int | None = None

    def plain(self) -> dict[str, Any]:
        more = {} if self.value_count is None else {"value_count": self.value_count}
        return {**self.words, "series_count": self.series_count, "new_count": self.new_count, **more}


def cardinality(index: SeriesIndex, inactive_count: int, now_s: float, top_count: int) -> dict[str, Any]:
    """Tables of at most top_count rows; `…_by_new` are the same by series that came within NEW_WITHIN_S."""
    is_new = index.is_new_since(now_s - NEW_WITHIN_S)
    metrics: list[_Row] = []
    names: list[_Row] = []
    values: list[_Row] = []
    teams: list[_Row] = []
    for name, part, text in index.label_parts(is_new.size):
        counts, new_counts = part.counts(), part.counts(is_new)
        names.append(_Row({"name": name}, int(counts.sum()), int(new_counts.sum()), part.value_count))
        rows = list(_top(part, text, counts, new_counts, top_count))
        if name == METRIC_NAME:
            metrics = [_Row({"metric": value}, *numbers) for value, *numbers in rows]
        else:
            values += [_Row({"name": name, "value": value}, *numbers) for value, *numbers in rows]
        if name == TEAM_LABEL:
            teams = [_Row({"team": value}, *numbers) for value, *numbers in rows]
        values = [*_best(values, top_count), *_newest(values, top_count)] if len(values) > 8 * top_count else values
    tables: dict[str, Any] = {
        "series_count": is_new.size,
        "active_series_count": max(0, is_new.size - inactive_count),
        "new_count": int(np.count_nonzero(is_new)),
        "new_within_s": int(NEW_WITHIN_S),
        "teams": [row.plain() for row in _best(teams, top_count)],
    }
    for table, found in (("metrics", metrics), ("label_names", names), ("label_values", values)):
        tables[table] = [row.plain() for row in _best(found, top_count)]
        tables[f"{table}_by_new"] = [row.plain() for row in _newest(found, top_count) if row.new_count]
    return tables


def _top(
    part: LabelPart, text: npt.NDArray[np.uint8], counts: Int64s, new_counts: Int64s, top_count: int
) -> Iterator[tuple[str, int, int]]:
    """The values with the most series, and those with the most new ones, each once."""
    chosen = np.union1d(_largest(counts, top_count), _largest(new_counts, top_count))
    for number, value in zip(chosen.tolist(), part.texts(text, chosen), strict=True):
        yield value.decode(), int(counts[number]), int(new_counts[number])


def _largest(counts: Int64s, top_count: int) -> npt.NDArray[np.intp]:
    if counts.size <= top_count:
        return np.arange(counts.size)
    rank = counts * counts.size - np.arange(counts.size)  # Of equal counts the lower value goes first.
    return np.argpartition(rank, counts.size - top_count)[counts.size - top_count :]


def _best(rows: list[_Row], top_count: int) -> list[_Row]:
    distinct = {tuple(row.words.values()): row for row in rows}
    return heapq.nsmallest(top_count, distinct.values(), key=lambda row: (-row.series_count, *row.words.values()))


def _newest(rows: list[_Row], top_count: int) -> list[_Row]:
    distinct = {tuple(row.words.values()): row for row in rows}
    return heapq.nsmallest(top_count, distinct.values(), key=lambda row: (-row.new_count, *row.words.values()))
