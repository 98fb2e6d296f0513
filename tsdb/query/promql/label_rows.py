"""The label sets of rows, decoded only when somebody reads them.

A sum by one label over 100,000 series needs that label as a column of numbers, not 100,000 decoded label sets. So what
a store gives in coded form stays so on the way from selection to aggregation; any other use decodes all rows, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat, starmap
from operator import itemgetter
from typing import cast, overload

import numpy as np

from tsdb.interface import CodedLabels
from tsdb.query.kernel.groups import Grouping
from tsdb.sample import Int32s, Int64s, Labels

# Each name costs a pass over all rows; beyond so many of them decoding is the shorter way.
NAMES_COUNT_MAX = 32
CODE_MAX = 2**62


class CodedRows(Sequence[Labels]):
    """Rows of coded labels, without the labels whose names are hidden. Invariant: no two are equal."""

    def __init__(self, column: CodedLabels, count: int, hidden: frozenset[str] = frozenset()) -> None:
        self._column = column
        self._count = count
        self._hidden = hidden
        self._decoded: list[Labels] | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Labels]:
        return iter(self._all())

    @overload
    def __getitem__(self, at: int) -> Labels: ...

    @overload
    def __getitem__(self, at: slice) -> list[Labels]: ...

    def __getitem__(self, at: int | slice) -> Labels | list[Labels]:
        return self._all()[at]

    def taken(self, index: Int64s) -> CodedRows:
        """index: each row once at most."""
        column = self._column.taken(index)
        assert isinstance(column, CodedLabels), column
        return CodedRows(column, index.size, self._hidden)

    def names(self) -> list[str]:
        return [name for name in self._column.names() if name not in self._hidden]

    def codes(self, name: str) -> tuple[Int32s, list[str]]:
        if name in self._hidden:
            return np.full(self._count, -1, np.int32), []
        return self._column.codes(name)

    def without(self, names: frozenset[str]) -> CodedRows | None:
        """The same rows without these labels; None, if two of them might become equal."""
        for name in names - self._hidden:
            codes, values = self.codes(name)
            if len(values) > 1 or (values and (codes < 0).any()):
                return None
        return CodedRows(self._column, self._count, self._hidden | names)

    def _all(self) -> list[Labels]:
        if self._decoded is None:
            assert isinstance(self._column, Sequence), self._column
            rows = list(self._column)
            self._decoded = projected(rows, lambda name: name not in self._hidden) if self._hidden else rows
        return self._decoded


def rows_of(labels: Sequence[Labels]) -> Sequence[Labels]:
    """The labels of a selection as the labels of rows."""
    # One method speaks for all of them: to ask for the whole protocol costs 20 µs, of a query that may take 500.
    is_coded = hasattr(labels, "codes")
    return CodedRows(cast("CodedLabels", labels), len(labels)) if is_coded else list(labels)


def taken(labels: Sequence[Labels], index: Int64s) -> Sequence[Labels]:
    if isinstance(labels, CodedRows):
        return labels.taken(index)
    return [labels[i] for i in index.tolist()]


def coded_grouping(rows: CodedRows, names: Sequence[str], *, is_without: bool) -> tuple[Grouping, list[Labels]] | None:
    """Rows with equal values of these labels, or of all others, together; the labels of each group.

    None, where decoding is the better way.
    """
    kept = sorted(set(rows.names()) - set(names)) if is_without else sorted(set(names))
    if len(kept) > NAMES_COUNT_MAX:
        return None
    key = np.zeros(len(rows), np.int64)
    key_count = 1
    columns = []
    for name in kept:
        codes, values = rows.codes(name)
        if not values:
            continue
        columns.append((name, codes, values))
        if key_count * (len(values) + 1) > CODE_MAX:
            return None
        key = key * (len(values) + 1) + (codes + 1)
        key_count *= len(values) + 1
        if key_count > 4 * len(rows):  # Numbers without gaps again, so that their product stays small.
            distinct, key = np.unique(key, return_inverse=True)
            key_count = distinct.size
    grouping, first = _in_order_of_sight(key, key_count)
    texts = [
        [(name, values[code]) if code >= 0 else None for code in codes[first].tolist()]
        for name, codes, values in columns
    ]
    if not texts:
        return grouping, [()] * first.size
    return grouping, [tuple([pair for pair in row if pair is not None]) for row in zip(*texts, strict=True)]


def _in_order_of_sight(key: Int64s, key_count: int) -> tuple[Grouping, Int64s]:
    """Groups numbered in the order in which their first rows stand, and these rows."""
    count = key.size
    first = np.full(key_count, count, np.int64)
    first[key[::-1]] = np.arange(count - 1, -1, -1)  # Of several rows the one written last stays: the first.
    seen = np.flatnonzero(first < count)
    order = seen[np.argsort(first[seen])]
    number = np.empty(key_count, np.int64)
    number[order] = np.arange(order.size)
    return Grouping(number[key], int(order.size)), first[order]


def projected(labels: Sequence[Labels], is_kept: Callable[[str], bool]) -> list[Labels]:
    """Label sets of those labels alone whose names are kept.

    Most vectors have few distinct sets of label names. For each of them the kept places are worked out once; picking
    them is then one call into C for each row, and none into Python.
    """
    schemas = list(map(next, starmap(zip, labels), repeat(())))
    if len(distinct := set(schemas)) == 1:
        return _picked(labels, schemas[0], is_kept)
    result: list[Labels] = [()] * len(labels)
    for schema in distinct:
        rows = [i for i, names in enumerate(schemas) if names == schema] if schema else []
        for i, row in zip(rows, _picked([labels[i] for i in rows], schema, is_kept), strict=True):
            result[i] = row
    return result


def _picked(labels: Sequence[Labels], names: tuple[str, ...], is_kept: Callable[[str], bool]) -> list[Labels]:
    """Of rows that all have these label names."""
    places = [i for i, name in enumerate(names) if is_kept(name)]
    if len(places) == len(names):
        return list(labels)
    if not places:
        return [()] * len(labels)
    if places == list(range(places[0], len(names))):
        start = places[0]
        return [row[start:] for row in labels]
    if len(places) == 1:
        place = places[0]
        return [(row[place],) for row in labels]
    return list(map(itemgetter(*places), labels))
