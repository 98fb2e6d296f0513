"""The series of one epoch: key → id, id → canonical bytes, and, built when a selection first needs them, postings.

Used twice: by the engine for the series of the head, by the reader for the series of all blocks that it has open.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from tsdb.canonical import CanonicalColumn, series_keys
from tsdb.lookup import HashLookup, UInt64s, distinct
from tsdb.sample import KEY_BYTES, Int32s, Int64s, Labels, Matcher, labels_of
from tsdb.store.columns import spread
from tsdb.store.disk import Bytes
from tsdb.store.kept_codes import KeptCodes
from tsdb.store.kept_trees import KeptTrees
from tsdb.store.path_tree import IsAlive
from tsdb.store.paths import Found, Glob, are_bare_names
from tsdb.store.postings import LabelPart, Segment, match, merged_parts, merged_segments, segment_of, set_of
from tsdb.store.scan import scanned
from tsdb.store.shapes import Shapes
from tsdb.store.text_order import SLACK_BYTES

# Decoded label sets kept: about 1 KiB each with their strings, so 128 MiB at most.
_LABELS_CACHED_COUNT_MAX = 131_072
# Series indexed in one step: the columns of their labels take 30 MB while that is done, if each has ten.
_INDEX_STEP_COUNT = 50_000
# Series shaped in one step.
_SHAPE_STEP_COUNT = 50_000
# While series come at such a rate, between two steps, all the time is left to those who register them.
_RUSH_COUNT = 10_000
# So many series that have no postings yet are looked through as they lie, if a matcher allows it.
_SCAN_COUNT_MIN = 20_000
# But only so often: looking through a series costs a twentieth of what its postings do.
_SCANS_MAX = 20
UInt32s = npt.NDArray[np.uint32]
_Scalar = TypeVar("_Scalar", bound=np.generic)


class Keys(NamedTuple):
    """Series keys as two columns: their first and last eight bytes, read big-endian, so that they sort as bytes do."""

    high: UInt64s
    low: UInt64s

    @staticmethod
    def of(canonical: Sequence[bytes]) -> Keys:
        return Keys.from_bytes(series_keys(canonical))

    @staticmethod
    def from_bytes(data: bytes) -> Keys:
        pairs = np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, KEY_BYTES // 8)
        return Keys(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))

    def to_bytes(self) -> bytes:
        return np.stack(self, axis=1).astype(">u8").tobytes()

    def taken(self, where: npt.NDArray[np.integer]) -> Keys:
        return Keys(self.high[where], self.low[where])


class SeriesIndex:
    """Dense ids 0 … count - 1 for series. add() is for one thread at a time; reading may run beside it."""

    def __init__(self) -> None:
        self.token = secrets.randbits(62)  # By which others know whose ids they hold.
        self._lookup = HashLookup(has_ids=False)  # A series' id is the number of its entry.
        self._text: Bytes = np.empty(1 << 16, np.uint8)  # The canonical bytes of all series, one after another.
        self._ends: Int64s = np.zeros(1_025, np.int64)  # Series i lies at [ends[i], ends[i + 1]).
        # By id, in seconds of the owner's clock: when the series came, and when it was last known to be alive.
        self._since_s: UInt32s = np.zeros(1_024, np.uint32)
        self._seen_s: UInt32s = np.zeros(1_024, np.uint32)
        self._count = 0
        self.kept_codes = KeptCodes()
        self._segments: tuple[Segment, ...] = ()  # Of the postings; they cover the series from 0 without a gap.
        self._shapes = Shapes()
        self._count_at_last_step = 0
        self._postings_lock = threading.Lock()  # Held while segments are added or changed for others.
        self._merging_lock = threading.Lock()  # Held by the thread that merges segments, beside the other lock.
        self._scanned_count = 0  # Series without postings that were looked through, each as often as it was.
        self._labels: dict[int, Labels] = {}
        self._path_trees = KeptTrees()

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """The memory of the arrays and the postings."""
        arrays = (self._text, self._ends, self._since_s, self._seen_s)
        parts = (part.size_bytes for segment in self._segments for part in segment.parts.values())
        more = self._lookup.size_bytes + self._shapes.size_bytes + self._path_trees.size_bytes
        return more + sum(array.nbytes for array in arrays) + sum(parts)

    def find(self, keys: Keys) -> Int32s:
        return self._lookup.find(keys.high, keys.low)

    def add(
        self, canonical: Sequence[bytes], *, at_s: float = 0.0, admit: Callable[[Sequence[bytes]], Int32s] | None = None
    ) -> Int32s:
        """The ids of series, made for those that are new. Repeats are allowed.

        at_s: when, by the owner's clock. admit: says of new series, which are distinct, 0 for each that may be added,
        and for the others a negative number, which they get for an id.
        Raises: ValueError, if bytes are not canonical labels; nothing is added then.
        """
        column = CanonicalColumn.of(canonical)
        if not len(column):
            return np.empty(0, np.int32)
        keys = Keys.of(column)
        ids = self.find(keys)
        missing = np.flatnonzero(ids < 0)
        if not missing.size:
            return ids
        if missing.size < ids.size:
            column, keys = column.kept(ids < 0), keys.taken(missing)
        if (repeated := distinct(keys.high, keys.low)) is not None:
            is_first = np.zeros(missing.size, np.bool_)
            is_first[repeated.first] = True
            column, keys = column.kept(is_first), keys.taken(repeated.first)
        if (fault := column.fault()) is not None:
            raise ValueError(f"not canonical label bytes: {column[fault][:80]!r}")
        numbers = self._added(keys, column, at_s, admit)
        ids[missing] = numbers if repeated is None else numbers[repeated.inverse]
        return ids

    def _added(
        self, keys: Keys, column: CanonicalColumn, at_s: float, admit: Callable[[Sequence[bytes]], Int32s] | None
    ) -> Int32s:
        """The ids of distinct series that are not there yet, or what admit says of them."""
        numbers = np.zeros(len(column), np.int32) if admit is None else admit(column).astype(np.int32)
        is_new = numbers == 0
        if not is_new.all():
            column, keys = column.kept(is_new), keys.taken(np.flatnonzero(is_new))
        numbers[is_new] = np.arange(self._count, self._count + len(column), dtype=np.int32)
        seconds = np.full(len(column), int(at_s), np.uint32)
        self._add_columns(keys, column.text, column.lengths, seconds, seconds)
        return numbers

    def add_text(self, keys: Keys, text: Bytes, starts: Int64s, lengths: Int64s) -> None:
        """Add series that are distinct, canonical and not there yet, from where their canonical bytes lie."""
        self._lookup.check_new(keys.high, keys.low)
        seconds = np.zeros(lengths.size, np.uint32)
        self._add_columns(keys, text[spread(starts, lengths)], lengths, seconds, seconds)

    def _add_columns(
        self, keys: Keys, text: Bytes, lengths: npt.NDArray[np.integer], since_s: UInt32s, seen_s: UInt32s
    ) -> None:
        """The keys are absent and distinct."""
        count, new_count = self._count, lengths.size
        end = int(self._ends[count])
        self._text = _grown(self._text, end + text.size + SLACK_BYTES, end)
        self._ends = _grown(self._ends, count + new_count + 1, count + 1)
        self._since_s = _grown(self._since_s, count + new_count, count)
        self._seen_s = _grown(self._seen_s, count + new_count, count)
        self._text[end : end + text.size] = text
        self._ends[count + 1 : count + new_count + 1] = end + np.cumsum(lengths, dtype=np.int64)
        self._since_s[count : count + new_count] = since_s
        self._seen_s[count : count + new_count] = seen_s
        self._lookup.insert_new(keys.high, keys.low)
        self._count = count + new_count

    def note_seen(self, is_seen: npt.NDArray[np.bool_], at_s: float) -> None:
        """By id: these series were alive then. Not beside add(), which may move the column."""
        self._seen_s[: is_seen.size][is_seen] = int(at_s)

    def is_seen_since(self, at_s: float, count: int) -> npt.NDArray[np.bool_]:
        """By id below count: whether the series came, or was known to be alive, at that time or later."""
        seen: npt.NDArray[np.bool_] = self._seen_s[:count] >= max(0, int(at_s))
        return seen

    def carried(self, ids: npt.NDArray[np.integer], breathe: Callable[[], None]) -> SeriesIndex:
        """Another index with these series alone, numbered in the order of ids. Works in steps; add() may run beside."""
        index = SeriesIndex()
        for start in range(0, ids.size, _INDEX_STEP_COUNT):
            some = ids[start : start + _INDEX_STEP_COUNT].astype(np.int64)
            text, ends = self._text, self._ends
            lengths = ends[some + 1] - ends[some]
            index._add_columns(
                self.keys_of(some), text[spread(ends[some], lengths)], lengths, self._since_s[some], self._seen_s[some]
            )
            breathe()
        return index

    def keys_of(self, ids: npt.NDArray[np.integer]) -> Keys:
        return Keys(*self._lookup.keys(ids))

    def canonical_of(self, ids: npt.NDArray[np.integer]) -> list[bytes]:
        text, starts, ends = self._text, self._ends[ids].tolist(), self._ends[ids + 1].tolist()
        if len(starts) > 1_000 and ends[-1] - starts[0] < 4 * sum(ends) - 4 * sum(starts):
            # Most of one stretch is wanted: slices of one bytes object cost a third of slices of an array.
            low, high = min(starts), max(ends)
            data = text[low:high].tobytes()
            return [data[start - low : end - low] for start, end in zip(starts, ends, strict=True)]
        return [text[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]

    def column_of(self, ids: npt.NDArray[np.integer]) -> CanonicalColumn:
        """The canonical bytes of ids as a column; uncopied, if the ids are a stretch."""
        text, all_ends = self._text, self._ends
        if ids.size and (np.diff(ids) == 1).all():
            ends = all_ends[int(ids[0]) : int(ids[-1]) + 2]
            return CanonicalColumn(text[int(ends[0]) : int(ends[-1])], ends[1:] - ends[0])
        lengths = all_ends[ids + 1] - all_ends[ids]
        return CanonicalColumn(text[spread(all_ends[ids], lengths)], np.cumsum(lengths))

    def labels_of(self, ids: npt.NDArray[np.integer]) -> list[Labels]:
        """The label sets of ids, in their order; decoded ones are kept for the next time."""
        held = self._labels
        wanted = ids.tolist()
        missing = [series for series in wanted if series not in held]
        if missing:
            if len(held) + len(missing) > _LABELS_CACHED_COUNT_MAX:
                held = self._labels = {}
                missing = wanted
            canonical = self.canonical_of(np.array(missing, np.int64))
            decoded = dict(zip(missing, map(labels_of, canonical), strict=True))
            if len(decoded) > _LABELS_CACHED_COUNT_MAX:
                return [decoded[series] for series in wanted]
            held.update(decoded)
        return [held[series] for series in wanted]

    def match(self, matchers: Sequence[Matcher]) -> Int32s:
        """The ids of the series that satisfy every matcher, rising. Raises: RefusedQuery."""
        segments, count = self._segments, self._count
        indexed_count = segments[-1].end if segments else 0
        tail_count = count - indexed_count
        if tail_count >= _SCAN_COUNT_MIN and self._scanned_count < _SCANS_MAX * tail_count:
            # Between these two lines the arrays may have been replaced, by longer ones of the same beginning.
            tail = scanned(self._text, self._ends, indexed_count, count, matchers)
            if tail is not None:
                self._scanned_count += tail_count
                return np.concatenate((match(self._text, segments, matchers), tail))
        segments = self._indexed()  # Before the text is looked up: it has to be the text of all of them.
        return match(self._text, segments, matchers)

    def label_names(self, among: Int32s) -> list[str]:
        """The names of the labels that some series have, in no order."""
        wanted = set_of(among)
        found = {
            name
            for segment in self._indexed()
            for name, part in segment.parts.items()
            if part.all_series().intersect(wanted)
        }
        return [name.decode() for name in found]

    def label_values(self, name: str, among: Int32s) -> list[str]:
        """The values that some series have for a label, in no order."""
        segments = self._indexed()
        is_wanted = np.zeros(segments[-1].end if segments else 0, np.bool_)
        is_wanted[among] = True
        found: set[bytes] = set()
        for part in _parts_of(segments, name):
            found.update(part.texts(self._text, np.flatnonzero(part.counts(is_wanted))))
        return [value.decode() for value in found]

    def label_codes(self, name: str, among: Int32s) -> tuple[Int32s, list[str]]:
        """The value that each of some series has for a label, as its number in the list; -1 where it has none.

        Each value is in the list once, and some series has it.
        """
        codes = np.full(among.size, -1, np.int32)
        number_by_value: dict[bytes, int] = {}
        for segment in self._indexed():
            part = segment.parts.get(name.encode())
            here = np.flatnonzero((among >= segment.first) & (among < segment.end))
            if part is None or not here.size:
                continue
            value_of_series = part.value_by_series(segment.first, segment.series_count)[among[here] - segment.first]
            here, value_of_series = here[value_of_series >= 0], value_of_series[value_of_series >= 0]
            is_there = np.zeros(part.value_count, np.bool_)
            is_there[value_of_series] = True
            numbers = np.zeros(part.value_count, np.int32)
            numbers[is_there] = [
                number_by_value.setdefault(value, len(number_by_value))
                for value in part.texts(self._text, np.flatnonzero(is_there))
            ]
            codes[here] = numbers[value_of_series]
        return codes, [value.decode() for value in number_by_value]

    def count_by_value(self, name: str, is_wanted: npt.NDArray[np.bool_]) -> dict[bytes, int]:
        """How many of the wanted series have each value of a label. is_wanted: by id; later series are not counted."""
        counted: Counter[bytes] = Counter()
        for segment in self._indexed(up_to=is_wanted.size):
            if (part := segment.parts.get(name.encode())) is not None:
                padded = np.zeros(segment.end, np.bool_)
                padded[: is_wanted.size] = is_wanted[: segment.end]
                counts = part.counts(padded)
                there = np.flatnonzero(counts)
                counted.update(dict(zip(part.texts(self._text, there), counts[there].tolist(), strict=True)))
        return dict(counted)

    def is_new_since(self, at_s: float) -> npt.NDArray[np.bool_]:
        """By id: whether the series came at that time or later."""
        is_new: npt.NDArray[np.bool_] = self._since_s[: self._count] >= max(1, int(at_s))
        return is_new

    def label_parts(self, count: int) -> Iterator[tuple[str, LabelPart, Bytes]]:
        """The values of each label of the first `count` series, and the text in which they lie; one at a time."""
        segments = [segment for segment in self._indexed(up_to=count) if segment.first < count]
        text = self._text
        for name in sorted({name for segment in segments for name in segment.parts}):
            yield name.decode(), merged_parts(text, list(_parts_of(segments, name.decode()))), text

    def find_paths(self, glob: Glob, found: Found, is_alive: IsAlive | None = None) -> None:
        """Add the nodes of the tree of bare names that a Graphite glob finds at its level; see tsdb.store.paths.

        is_alive: which series count, as those that live in a range of time; None: all. Raises: QueryTooLarge."""
        segments = self._indexed()  # Before the text is looked up: it has to be the text of all of them.
        text = self._text
        glob.find([(tree, text) for tree in self._path_trees.of(text, self._ends, segments)], found, is_alive)

    def bare_names(self, among: Int32s) -> Int32s:
        """Those of some series that have no label beside their name."""
        pieces = (among[start : start + _INDEX_STEP_COUNT] for start in range(0, among.size, _INDEX_STEP_COUNT))
        return np.concatenate([among[:0], *(ids[are_bare_names(self.column_of(ids))] for ids in pieces)])

    def tagged(self, among: Int32s) -> Int32s:
        """Those of some series, which rise, that have a label beside their name."""
        return np.setdiff1d(among, self.bare_names(among), assume_unique=True)

    def index_some(self) -> bool:
        """Bring the postings a step nearer to the series, ahead of need; False when there was nothing to do."""
        done_count = self._segments[-1].end if self._segments else 0
        behind = done_count < self._count or self._shapes.count < self._count
        is_rush = self._count - self._count_at_last_step >= _RUSH_COUNT
        self._count_at_last_step = self._count
        if not is_rush:
            self._indexed(up_to=min(self._count, done_count + _INDEX_STEP_COUNT))
            self._build_shapes(min(self._count, self._shapes.count + _SHAPE_STEP_COUNT))
        return behind

    def shape_rank(self, ids: npt.NDArray[np.integer]) -> Int32s:
        """By id: the place of its shape among all shapes in byte order; see tsdb.store.shapes."""
        self._build_shapes(self._count)
        with self._postings_lock:
            return self._shapes.rank(ids)

    def _build_shapes(self, up_to: int) -> None:
        with self._postings_lock:
            self._shapes.extend(self._text, self._ends, up_to)

    def _indexed(self, up_to: int | None = None) -> tuple[Segment, ...]:
        """The segments of all series there are now, or at least of the first."""
        up_to = self._count if up_to is None else up_to
        while (self._segments[-1].end if self._segments else 0) < up_to:
            with self._postings_lock:
                start = self._segments[-1].end if self._segments else 0
                if start < up_to:
                    end = min(up_to, start + _INDEX_STEP_COUNT)
                    self._segments = (*self._segments, segment_of(self._text, self._ends, start, end))
                    self._scanned_count = 0
        self._merge_some()  # Once: each merge moves all that is in it.
        return self._segments

    def _merge_some(self) -> None:
        """Merge segments of about one size while there are enough of them, unless another thread does."""
        if not self._merging_lock.acquire(blocking=False):
            return
        try:
            while (few := _mergeable(self._segments)) is not None:
                merged = merged_segments(self._text, self._segments[few])
                with self._postings_lock:  # Others may have added some at the end meanwhile.
                    self._segments = (*self._segments[: few.start], merged, *self._segments[few.stop :])
        finally:
            self._merging_lock.release()


def _parts_of(segments: Iterable[Segment], name: str) -> Iterator[LabelPart]:
    encoded = name.encode()
    return (segment.parts[encoded] for segment in segments if encoded in segment.parts)


def _mergeable(segments: Sequence[Segment]) -> slice | None:
    """The last segments, from one on that is no larger than all that follow it together; so log2(series) remain."""
    following_count = 0
    found = None
    for number in reversed(range(len(segments))):
        if segments[number].series_count <= following_count:
            found = slice(number, len(segments))
        following_count += segments[number].series_count
    return found


def _grown(array: npt.NDArray[_Scalar], count: int, used_count: int) -> npt.NDArray[_Scalar]:
    """The array, or a copy of its used part with room for count and to spare. Old views stay good."""
    if array.size >= count:
        return array
    grown = np.empty(max(count, 2 * array.size), array.dtype)
    grown[:used_count] = array[:used_count]
    return grown
