"""Which series carry which label: name → sorted values → series, and the evaluation of matchers on it.

A segment covers a stretch of ids and never changes; new series make small segments, which are merged into larger ones.
No Python object stands for a value: its text is a place in the index's array of text, its series a stretch of a column,
or a roaring set where there are many. About 20 B for a value that one series has, 4 B for each further series.
"""

from __future__ import annotations

import array
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from tsdb import regex
from tsdb.errors import QueryTooLarge, RefusedQuery
from tsdb.sample import SEPARATOR, Int32s, Int64s, Matcher, MatchOp
from tsdb.store.columns import spread
from tsdb.store.disk import Bytes
from tsdb.store.text_order import Texts, ordered_texts
from tsdb.store.text_search import ending, holding

# A selector may look at the values of a label for so long.
_LOOKING_S_MAX = 10.0
_VALUES_BETWEEN_LOOKS_AT_THE_CLOCK = 4_096
# A value of so many series is held as a roaring set, 2 B a series or less, and is there at once when it is asked for.
_SET_SERIES_COUNT_MIN = 256
_SET_BYTES = 200  # Of a set, beside its ids: the object, its place in the mapping.
_SEPARATOR_BYTE = SEPARATOR[0]
# What a regex matches of so many values is kept, for dashboards ask the same again and again: of a few of them, and if
# it is not much, so 8 MiB for each label of so many values at most.
_KNOWN_VALUES_COUNT_MIN = 4_096
_KNOWN_FOUND_COUNT_MAX = 131_072
_KNOWN_COUNT_MAX = 8


@dataclass(frozen=True, slots=True, eq=False)
class LabelPart:
    """The values of one label among the series of a segment, rising, each once.

    Value v is held by the series ids[edges[v] : edges[v + 1]], rising, or by sets[v].
    """

    values: Texts
    edges: Int32s
    ids: Int32s
    sets: Mapping[int, BitMap]
    sets_bytes: int
    known: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)  # By regex: the values that it matches.

    @property
    def size_bytes(self) -> int:
        return sum(column.nbytes for column in (*self.values, self.edges, self.ids)) + self.sets_bytes

    @property
    def value_count(self) -> int:
        return int(self.values.starts.size)

    def place(self, text: Bytes, value: bytes) -> int:
        """How many values are lower."""
        low, high = 0, self.value_count
        while low < high:
            middle = (low + high) // 2
            if self.values.at(text, middle) < value:
                low = middle + 1
            else:
                high = middle
        return low

    def number(self, text: Bytes, value: bytes) -> int | None:
        place = self.place(text, value)
        return place if place < self.value_count and self.values.at(text, place) == value else None

    def range_of(self, text: Bytes, prefix: bytes) -> tuple[int, int]:
        """The numbers of the values that begin so, from and before."""
        if not prefix:
            return 0, self.value_count
        return self.place(text, prefix), self.place(text, prefix + b"\xff")  # Which no value has in it.

    def having(self, numbers: npt.NDArray[np.integer]) -> BitMap:
        """The series of some values; not to be changed."""
        if numbers.size < len(self.sets):
            sets = [self.sets[number] for number in numbers.tolist() if number in self.sets]
        else:
            is_wanted = np.zeros(self.value_count, np.bool_)
            is_wanted[numbers] = True
            sets = [ids for number, ids in self.sets.items() if is_wanted[number]]
        starts = self.edges[numbers].astype(np.int64)
        ids = self.ids[spread(starts, self.edges[numbers + 1] - starts)] if numbers.size else self.ids[:0]
        if len(sets) == 1 and not ids.size:
            return sets[0]
        return BitMap.union(set_of(np.sort(ids)), *sets)

    def all_series(self) -> BitMap:
        return BitMap.union(set_of(np.sort(self.ids)), *self.sets.values())

    def counts(self, is_wanted: npt.NDArray[np.bool_] | None = None) -> Int64s:
        """By value: of how many series it is, or of how many of those that are wanted, by id."""
        if is_wanted is None:
            counts = np.diff(self.edges).astype(np.int64)
            for number, ids in self.sets.items():
                counts[number] = len(ids)
            return counts
        before = np.concatenate((np.zeros(1, np.int64), np.cumsum(is_wanted[self.ids], dtype=np.int64)))
        counts = np.diff(before[self.edges])
        for number, ids in self.sets.items():
            counts[number] = np.count_nonzero(is_wanted[column_of(ids)])
        return counts

    def only(self, numbers: npt.NDArray[np.integer]) -> LabelPart:
        """Some of the values, rising, without their series."""
        return LabelPart(self.values.taken(numbers), np.zeros(numbers.size + 1, np.int32), np.empty(0, np.int32), {}, 0)

    def value_by_series(self, first: int, series_count: int) -> Int32s:
        """The number of the value that each series from `first` on has; -1 where it has none."""
        numbers = np.full(series_count, -1, np.int32)
        numbers[self.ids - first] = np.repeat(np.arange(self.value_count, dtype=np.int32), np.diff(self.edges))
        for number, ids in self.sets.items():
            numbers[column_of(ids) - first] = number
        return numbers

    def shaped(self, text: Bytes, numbers: npt.NDArray[np.int64], shape: Sequence[int | None]) -> npt.NDArray[np.int64]:
        """Those values that may begin with such bytes; None is any one character, which may have several bytes."""
        starts, lengths = self.values.starts[numbers], self.values.lengths[numbers]
        is_shifted = np.zeros(numbers.size, np.bool_)  # A character of several bytes came first: nothing is known then.
        for at, byte in enumerate(shape):
            there = text[np.minimum(starts + at, text.size - 1)]
            if byte is None:
                is_shifted |= (lengths > at) & (there >= 0x80)
            is_kept = is_shifted | ((lengths > at) & ((byte is None) | (there == byte)))
            if not is_kept.all():
                numbers, starts, lengths = numbers[is_kept], starts[is_kept], lengths[is_kept]
                is_shifted = is_shifted[is_kept]
        return numbers

    def texts(self, text: Bytes, numbers: npt.NDArray[np.integer]) -> list[bytes]:
        """The bytes of some values."""
        lengths = self.values.lengths[numbers].astype(np.int64)
        if not lengths.size:
            return []
        data = text[spread(self.values.starts[numbers], lengths)].tobytes()
        ends = np.cumsum(lengths).tolist()
        return [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The labels of the series first … end - 1."""

    first: int
    end: int
    parts: Mapping[bytes, LabelPart]

    @property
    def series_count(self) -> int:
        return self.end - self.first

    def match(self, text: Bytes, matchers: Sequence[tuple[Matcher, Callable[[bytes], bool]]]) -> BitMap:
        """The series that satisfy every matcher. Raises: QueryTooLarge."""
        # What "" satisfies also holds for series without the label: such a matcher only takes series away.
        chosen: BitMap | None = None
        for matcher, test in matchers:
            if not test(b""):
                found = self._having(text, matcher, test)
                chosen = found if chosen is None else chosen & found
                if not chosen:
                    return BitMap()
        if chosen is None:
            chosen = BitMap(range(self.first, self.end))
        for matcher, test in matchers:
            if test(b""):
                chosen = chosen - self._having(text, _opposed(matcher), _opposite(test))
        return chosen

    def _having(self, text: Bytes, matcher: Matcher, test: Callable[[bytes], bool]) -> BitMap:
        """The series whose value of the matcher's label is there and passes the test; not to be changed."""
        part = self.parts.get(matcher.name.encode())
        return BitMap() if part is None else part.having(_passing(part, text, matcher, test))


def segment_of(text: Bytes, ends: Int64s, first: int, end: int) -> Segment:
    """Index the series first … end - 1; the canonical label bytes of series i lie at ends[i] … ends[i + 1] of text."""
    low, high = int(ends[first]), int(ends[end])
    stops = np.flatnonzero(text[low:high] == _SEPARATOR_BYTE) + low  # Of a name, of its value, of a name …
    starts = np.empty(stops.size, np.int64)
    starts[0], starts[1:] = low, stops[:-1] + 1
    lengths = (stops - starts).astype(np.uint32)
    series = (np.searchsorted(ends[first : end + 1], starts[::2], side="right") + (first - 1)).astype(np.int32)
    names = Texts(starts[::2], lengths[::2])
    values = Texts(starts[1::2], lengths[1::2])
    by_name, is_first = ordered_texts(text, names)
    edges = [*np.flatnonzero(is_first).tolist(), by_name.size]
    parts = {}
    for low, high in pairwise(edges):
        pairs = by_name[low:high]  # Rising, for equal texts keep their order; so the series rise, too.
        parts[names.at(text, int(pairs[0]))] = _part_of(text, values.taken(pairs), series[pairs])
    return Segment(first, end, parts)


def _part_of(text: Bytes, values: Texts, series: Int32s) -> LabelPart:
    order, is_first = ordered_texts(text, values)
    edges = np.append(np.flatnonzero(is_first), order.size)
    return _with_sets(values.taken(order[is_first]), edges, series[order], {})


def _with_sets(values: Texts, edges: Int64s, ids: Int32s, sets: dict[int, BitMap]) -> LabelPart:
    """Make roaring sets of the long stretches of ids."""
    lengths = np.diff(edges)
    long = np.flatnonzero(lengths >= _SET_SERIES_COUNT_MIN)
    if long.size:
        for number in long.tolist():
            found = set_of(ids[edges[number] : edges[number + 1]])
            sets[number] = sets[number] | found if number in sets else found
            sets[number].run_optimize()
            sets[number].shrink_to_fit()
        is_kept = np.ones(ids.size, np.bool_)
        is_kept[spread(edges[long], lengths[long])] = False
        ids = ids[is_kept]
        lengths[long] = 0
        edges = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    sets_bytes = sum(_SET_BYTES + _bytes_of(found) for found in sets.values())
    return LabelPart(values, edges.astype(np.int32), np.ascontiguousarray(ids), sets, sets_bytes)


def _bytes_of(ids: BitMap) -> int:
    held = ids.get_statistics()
    return int(held["n_bytes_array_containers"] + held["n_bytes_run_containers"] + held["n_bytes_bitset_containers"])


def merged_segments(text: Bytes, segments: Sequence[Segment]) -> Segment:
    """One segment in the place of some that follow one another."""
    names = dict.fromkeys(name for segment in segments for name in segment.parts)
    parts = {
        name: merged_parts(text, [segment.parts[name] for segment in segments if name in segment.parts])
        for name in names
    }
    return Segment(segments[0].first, segments[-1].end, parts)


def merged_parts(text: Bytes, parts: Sequence[LabelPart]) -> LabelPart:
    """The values of one label in segments that follow one another, as one part."""
    if len(parts) == 1:
        return parts[0]
    values = Texts.joined([part.values for part in parts])
    order, is_first = ordered_texts(text, values)  # Of equal values the one of the earlier segment comes first.
    lengths = np.concatenate([np.diff(part.edges) for part in parts]).astype(np.int64)
    offsets = np.cumsum([0, *(part.ids.size for part in parts)])
    starts = np.concatenate([part.edges[:-1].astype(np.int64) + at for part, at in zip(parts, offsets, strict=False)])
    ids = np.concatenate([part.ids for part in parts])[spread(starts[order], lengths[order])]
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths[order])))
    edges = np.append(before[np.flatnonzero(is_first)], before[-1])
    number_of = np.empty(order.size, np.int64)  # by place in `values`: the number among all
    number_of[order] = np.cumsum(is_first) - 1
    sets: dict[int, BitMap] = {}
    at = 0
    for part in parts:
        for number, found in part.sets.items():
            new = int(number_of[at + number])
            sets[new] = sets[new] | found if new in sets else found
        at += part.value_count
    return _with_sets(values.taken(order[is_first]), edges, ids, sets)


def match(text: Bytes, segments: Sequence[Segment], matchers: Sequence[Matcher]) -> Int32s:
    """The ids of the series that satisfy every matcher, rising.

    Raises: RefusedQuery, if a regex is wrong; QueryTooLarge, if it is too much work for the values there are.
    """
    tests = [(matcher, value_test(matcher)) for matcher in matchers]
    tests.sort(key=lambda pair: pair[0].op is not MatchOp.EQUAL)
    found = [column_of(segment.match(text, tests)) for segment in segments]
    return np.concatenate(found) if found else np.empty(0, np.int32)


def _passing(part: LabelPart, text: Bytes, matcher: Matcher, test: Callable[[bytes], bool]) -> npt.NDArray[np.int64]:
    """The numbers of the values that pass. matcher: EQUAL or REGEX narrows what is looked at. Raises: QueryTooLarge."""
    if matcher.op is MatchOp.EQUAL:
        number = part.number(text, matcher.value.encode())
        return np.empty(0, np.int64) if number is None else np.array([number])
    if (matcher.op, matcher.value) in ((MatchOp.NOT_EQUAL, ""), (MatchOp.REGEX, ".+")):
        return np.arange(part.value_count)  # No value is empty.
    if matcher.op in (MatchOp.NOT_REGEX, MatchOp.NOT_EQUAL):
        is_passing = np.ones(part.value_count, np.bool_)
        is_passing[_passing(part, text, _opposed(matcher), _opposite(test))] = False
        return np.flatnonzero(is_passing)
    if (known := part.known.get(matcher.value)) is not None:
        return known
    found = _matching(part, text, matcher, test)
    if part.value_count >= _KNOWN_VALUES_COUNT_MIN and found.size <= _KNOWN_FOUND_COUNT_MAX:
        if len(part.known) >= _KNOWN_COUNT_MAX:
            part.known.clear()
        part.known[matcher.value] = found
    return found


def _matching(part: LabelPart, text: Bytes, matcher: Matcher, test: Callable[[bytes], bool]) -> npt.NDArray[np.int64]:
    """The numbers of the values that a regex matches. Raises: QueryTooLarge."""
    narrowed = regex.narrowed(matcher.value)
    if narrowed.is_exact:
        numbers = [part.number(text, literal) for literal in narrowed.literals]
        return np.array(sorted(number for number in numbers if number is not None), np.int64)
    ranges = sorted(part.range_of(text, literal) for literal in narrowed.literals)
    wanted = _distinct_ranges(ranges)
    if narrowed.goes_on_freely:
        return wanted
    if narrowed.shape:
        wanted = part.shaped(text, wanted, narrowed.shape)
    around = None if narrowed is regex.EVERYTHING else regex.around_wildcards(matcher.value)
    if around is not None:
        wanted = ending(text, part.values, wanted, around[-1])
    if around is not None and len(around) == 2:
        return wanted[part.values.lengths[wanted] >= len(around[0]) + len(around[1])]
    if narrowed.held:
        holders = holding(text, part.values, wanted, narrowed.held)
        if holders is not None and around is not None and len(around) == 3 and not (around[0] or around[2]):
            return holders
        wanted = wanted if holders is None else holders
    return np.array(list(_tested(part, text, wanted, matcher, test)), np.int64)


def _distinct_ranges(ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """The numbers in any of some ranges, which are sorted; one may lie in another."""
    pieces = []
    reached = 0
    for low, high in ranges:
        if high > max(low, reached):
            pieces.append(np.arange(max(low, reached), high))
            reached = high
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def _tested(
    part: LabelPart, text: Bytes, wanted: npt.NDArray[np.int64], matcher: Matcher, test: Callable[[bytes], bool]
) -> Iterator[int]:
    deadline_s = time.monotonic() + _LOOKING_S_MAX
    for start in range(0, wanted.size, _VALUES_BETWEEN_LOOKS_AT_THE_CLOCK):
        if time.monotonic() > deadline_s:
            raise QueryTooLarge(
                f"label {matcher.name}: {matcher.value[:80]!r} has not been compared with all {wanted.size:,} values "
                f"within {_LOOKING_S_MAX:g} s; write a simpler regular expression"
            )
        some = wanted[start : start + _VALUES_BETWEEN_LOOKS_AT_THE_CLOCK]
        values = part.texts(text, some)
        yield from [number for number, value in zip(some.tolist(), values, strict=True) if test(value)]


def value_test(matcher: Matcher) -> Callable[[bytes], bool]:
    """The condition of one matcher on a value, its regex compiled once. Raises: RefusedQuery."""
    wanted = matcher.value.encode()
    if matcher.op is MatchOp.EQUAL:
        return lambda value: value == wanted
    if matcher.op is MatchOp.NOT_EQUAL:
        return lambda value: value != wanted
    try:
        matches = regex.value_test(matcher.value)
    except RefusedQuery as error:
        raise RefusedQuery(f"label {matcher.name}: {error}") from None
    return matches if matcher.op is MatchOp.REGEX else _opposite(matches)


def _opposite(test: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    return lambda value: not test(value)


def _opposed(matcher: Matcher) -> Matcher:
    return Matcher(matcher.name, _OPPOSITE_OP[matcher.op], matcher.value)


_OPPOSITE_OP = {
    MatchOp.EQUAL: MatchOp.NOT_EQUAL,
    MatchOp.NOT_EQUAL: MatchOp.EQUAL,
    MatchOp.REGEX: MatchOp.NOT_REGEX,
    MatchOp.NOT_REGEX: MatchOp.REGEX,
}


def set_of(ids: Int32s) -> BitMap:
    """A roaring set of rising ids; by way of an array, which it takes in as a whole."""
    return BitMap(array.array("I", ids.astype(np.uint32, copy=False).tobytes()))


def column_of(ids: BitMap) -> Int32s:
    return np.frombuffer(ids.to_array(), np.uint32).astype(np.int32)
