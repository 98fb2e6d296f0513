"""The dotted names of one segment of an index as a tree in columns: looked up by many nodes at once.

The names are sorted, so what lies below a node is a stretch of them, and its children are stretches of the nodes of the
next level. A look-up costs what the nodes cost that it looks at, whatever number of series lies below them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int32s, Int64s
from tsdb.store.columns import spread
from tsdb.store.disk import Bytes
from tsdb.store.text_order import Texts

IsAlive = Callable[[Int32s], npt.NDArray[np.bool_]]
"""Of some series, by id: which of them count."""

_DOT = ord(".")
# Names whose dots are looked for at a time: the places of their bytes take 15 MB then, at 40 B each.
_STEP_COUNT = 50_000
# So few stretches are searched one after another, 10 µs each; for more of them columns are the shorter way.
_ONE_BY_ONE_COUNT_MAX = 16
_CELLS_AT_ONCE = 1 << 18  # Bytes of names that are compared at a time.


class Level(NamedTuple):
    """The nodes at one depth, in the order of the names. Of a node that is a leaf and a branch there is one of each."""

    firsts: Int32s  # By branch: the first row below it,
    ends: Int32s  # the row behind the last,
    sizes: Int32s  # and the bytes of its path with the dot behind it.
    leaves: Int32s  # Rows.


class Nodes(NamedTuple):
    """Some of the nodes of one level, by their places in its columns; each once, rising."""

    branches: Int64s
    leaves: Int64s


class Stretches(NamedTuple):
    """Rows below some branches: [lows[i], highs[i]), whose names are equal in the first sizes[i] bytes."""

    lows: Int64s
    highs: Int64s
    sizes: Int64s


@dataclass(frozen=True, slots=True, eq=False)
class PathTree:
    """texts, series: by row, a name and the one series that has it and no other label; the names rise."""

    texts: Texts
    series: Int32s
    levels: Sequence[Level]

    @staticmethod
    def of(text: Bytes, texts: Texts, series: Int32s) -> PathTree:
        return PathTree(texts, series, list(_levels(text, texts)))

    @staticmethod
    def empty() -> PathTree:
        return PathTree(Texts(np.empty(0, np.int64), np.empty(0, np.uint32)), np.empty(0, np.int32), [])

    @property
    def size_bytes(self) -> int:
        levels = sum(column.nbytes for level in self.levels for column in level)
        return self.texts.starts.nbytes + self.texts.lengths.nbytes + self.series.nbytes + levels

    def root(self) -> Stretches:
        none = np.zeros(1, np.int64)
        return Stretches(none, none + self.series.size, none)

    def below(self, level: Level, branches: Int64s) -> Stretches:
        return Stretches(*(column[branches].astype(np.int64) for column in (level.firsts, level.ends, level.sizes)))

    def children(self, text: Bytes, rows: Int32s, parents: Stretches, prefix: bytes) -> tuple[Int64s, Int64s]:
        """The nodes below some branches whose own names begin so, by their places in rows; and their parents' sizes.

        rows: the firsts or the leaves of the next level.
        """
        low, high = np.searchsorted(rows, parents.lows), np.searchsorted(rows, parents.highs)
        if prefix:
            low, high = (
                self._bisected(text, rows, Stretches(low, high, parents.sizes), prefix, is_past=is_past)
                for is_past in (False, True)
            )
        counts = high - low
        return spread(low, counts), np.repeat(parents.sizes, counts)

    def names(self, text: Bytes, rows: Int32s, starts: Int64s, ends: Int64s | None) -> list[bytes]:
        """Parts of names: of each row the bytes from its start to its end, or all that follow."""
        ends = self.texts.lengths[rows].astype(np.int64) if ends is None else ends
        lengths = ends - starts
        if not lengths.size:
            return []
        data = text[spread(self.texts.starts[rows] + starts, lengths)].tobytes()
        stops = np.cumsum(lengths).tolist()
        return [data[start:stop] for start, stop in zip([0, *stops[:-1]], stops, strict=True)]

    def alive(self, level: Level, nodes: Nodes, is_alive: IsAlive) -> Nodes:
        """Those of some nodes that are, or have below them, series that count."""
        leaves = nodes.leaves[is_alive(self.series[level.leaves[nodes.leaves]])]
        firsts, ends = level.firsts[nodes.branches], level.ends[nodes.branches]
        found = is_alive(self.series[firsts])  # Mostly the first below a branch is one.
        open_ = np.flatnonzero(~found)
        if open_.size:
            lengths = (ends[open_] - firsts[open_]).astype(np.int64)
            before = np.concatenate(
                ([0], np.cumsum(is_alive(self.series[spread(firsts[open_].astype(np.int64), lengths)])))
            )
            edges = np.concatenate(([0], np.cumsum(lengths)))
            found[open_] = before[edges[1:]] > before[edges[:-1]]
        return Nodes(nodes.branches[found], leaves)

    def _bisected(self, text: Bytes, rows: Int32s, among: Stretches, prefix: bytes, *, is_past: bool) -> Int64s:
        """Of each stretch of rows: the place of the first whose name begins so, or is greater; is_past: is greater."""
        if among.lows.size <= _ONE_BY_ONE_COUNT_MAX:
            stretches = zip(among.lows.tolist(), among.highs.tolist(), among.sizes.tolist(), strict=True)
            places = [self._bisected_one(text, rows, *one, prefix, is_past=is_past) for one in stretches]
            return np.array(places, np.int64)
        step = max(1, _CELLS_AT_ONCE // len(prefix))
        found = []
        for at in range(0, among.lows.size, step):
            lows, highs, sizes = (column[at : at + step] for column in among)
            lows, highs = lows.copy(), highs.copy()
            while (left := np.flatnonzero(lows < highs)).size:
                middles = (lows[left] + highs[left]) // 2
                signs = self._compared(text, rows[middles], sizes[left], prefix)
                is_lower = signs <= 0 if is_past else signs < 0
                lows[left[is_lower]] = middles[is_lower] + 1
                highs[left[~is_lower]] = middles[~is_lower]
            found.append(lows)
        return np.concatenate(found)

    def _bisected_one(
        self, text: Bytes, rows: Int32s, low: int, high: int, size: int, prefix: bytes, *, is_past: bool
    ) -> int:
        while low < high:
            middle = (low + high) // 2
            name = self.texts.at(text, int(rows[middle]))[size : size + len(prefix)]
            if name < prefix or (is_past and name == prefix):
                low = middle + 1
            else:
                high = middle
        return low

    def _compared(self, text: Bytes, rows: Int32s, sizes: Int64s, prefix: bytes) -> npt.NDArray[np.int16]:
        """By row: below nought where the rest of the name is lower than the prefix, nought where it begins so."""
        width = np.arange(len(prefix))
        starts, ends = self.texts.starts[rows], self.texts.starts[rows] + self.texts.lengths[rows]
        places = (starts + sizes)[:, None] + width
        found = text[np.minimum(places, text.size - 1)].astype(np.int16)
        found[places >= ends[:, None]] = -1
        found -= np.frombuffer(prefix, np.uint8)
        first = np.argmax(found != 0, axis=1)
        signs: npt.NDArray[np.int16] = found[np.arange(rows.size), first]
        return signs


def _levels(text: Bytes, texts: Texts) -> Iterator[Level]:
    """The levels from the top on. The work goes with the bytes of the names."""
    count = texts.starts.size
    shared = _shared_bytes(text, texts)
    dot_rows, dot_places = _dots(text, texts)
    edges = np.searchsorted(dot_rows, np.arange(count + 1))
    dot_counts = np.diff(edges)
    rows = np.arange(count)  # Those that have as many parts as the level is deep, or more.
    for depth in range(int(dot_counts.max(initial=0)) + 1 if count else 0):
        leaves = rows[dot_counts[rows] == depth].astype(np.int32)
        rows = rows[dot_counts[rows] > depth]
        sizes = dot_places[edges[rows] + depth] + 1
        begins = np.flatnonzero(shared[rows] < sizes)  # Of equal beginnings the rows stand side by side.
        ends = rows[np.append(begins[1:], rows.size) - 1] + 1 if rows.size else rows
        yield Level(rows[begins].astype(np.int32), ends.astype(np.int32), sizes[begins].astype(np.int32), leaves)


def _dots(text: Bytes, texts: Texts) -> tuple[Int64s, Int64s]:
    """Where the names have dots: (row, byte of the name), in order."""
    rows, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, texts.starts.size, _STEP_COUNT):
        lengths = texts.lengths[start : start + _STEP_COUNT].astype(np.int64)
        found = np.flatnonzero(text[spread(texts.starts[start : start + _STEP_COUNT], lengths)] == _DOT)
        ends = np.cumsum(lengths)
        row = np.searchsorted(ends, found, side="right")
        rows.append(row + start)
        places.append(found - (ends - lengths)[row])
    return np.concatenate(rows), np.concatenate(places)


def _shared_bytes(text: Bytes, texts: Texts) -> Int64s:
    """By row: how many bytes its name begins with as the one before does; the first shares none."""
    starts, lengths = texts.starts, texts.lengths.astype(np.int64)
    shared = np.zeros(starts.size, np.int64)
    rows = np.arange(1, starts.size)
    at = 0
    while rows.size:
        is_long = (lengths[rows] > at) & (lengths[rows - 1] > at)
        rows = rows[is_long]
        rows = rows[text[starts[rows] + at] == text[starts[rows - 1] + at]]
        at += 1
        shared[rows] = at
    return shared
