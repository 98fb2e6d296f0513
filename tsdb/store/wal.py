"""The write-ahead log: segments of frames, written with one call per batch, synced as the setting says.

Every segment stands alone: a frame brings the definition of each series that its segment has not seen yet, so an old
segment can be removed without a thought for the ids in a later one. Layout: docs/format/wal.md.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tsdb.canonical import CanonicalColumn
from tsdb.errors import DiskFull, NotReady
from tsdb.sample import Int32s
from tsdb.store import frame
from tsdb.store.columns import Columns
from tsdb.store.disk import AppendFile, Disk, Part, full_disk_named
from tsdb.store.frame import NO_DEFINITIONS, Definitions
from tsdb.store.numbers import Coded

SUFFIX = ".wal"
Bools = npt.NDArray[np.bool_]
_Place = Int32s | slice


def segment_name(number: int) -> str:
    return f"{number:010d}{SUFFIX}"


def segment_numbers(disk: Disk, folder: Path) -> list[int]:
    """The numbers of the segments of a folder, rising."""
    names = (name.removesuffix(SUFFIX) for name in disk.names(folder) if name.endswith(SUFFIX))
    return sorted(int(name) for name in names if name.isdecimal())


# Definitions written ahead in one piece: 5 ms of one core, for which other threads may have to wait.
_PREPARED_SERIES_COUNT = 1 << 14
# The definitions of fewer series hold up an append for less than 5 ms, and are not worth a byte ahead of time.
PREPARED_SERIES_COUNT_MIN = 1_024


@dataclass(frozen=True, slots=True)
class _Segment:
    """A durable segment that holds no samples yet."""

    file: AppendFile
    size_bytes: int
    sequence: int = 0  # Of its next frame.
    is_defined: Bools | None = None  # By local id; of the rest, and without it, nothing is.


class Wal:
    """The writer of the log. Callers hold the engine's lock for append() and roll(); sync() may run beside them.

    canonical_of: gives the canonical bytes of ids, for the definitions that a segment needs.
    """

    def __init__(
        self, disk: Disk, folder: Path, *, epoch: int, number: int, canonical_of: Callable[[Int32s], Sequence[bytes]]
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._epoch = epoch
        self._canonical_of = canonical_of
        self.number = number
        self.written_count = 0  # Frames written since the start; sync() makes them durable.
        self.synced_count = 0
        # Batches after the first and up to the second number may lie in broken segments, and only in blocks be durable.
        self._not_durable: tuple[int, int] | None = None
        self._broken_number: int | None = None  # The last segment of which blocks have to keep what it could not.
        self._sync_lock = threading.Lock()
        self._is_defined = np.zeros(1_024, np.bool_)  # by local id: this segment has its definition
        self._is_used = np.zeros(1_024, np.bool_)  # by local id: this segment has samples of it
        self._size_bytes = 0
        self._older_bytes = 0
        self._sequence = 0
        self.is_broken = False
        self._file: AppendFile | None = None
        self._next_lock = threading.Lock()  # Taken after _sync_lock.
        self._next: _Segment | None = None  # What prepare() made for the next roll().
        try:
            begun = self._create(number, epoch)
            self._file, self._size_bytes = begun.file, begun.size_bytes
        except DiskFull:
            self.is_broken = True  # The store serves what it has, and every append tries to begin a segment.
        self._measure_older()

    @property
    def needs_blocks(self) -> bool:
        """Whether samples that were taken are durable only when they are in blocks."""
        return (self.is_broken and self._file is not None) or self._broken_number is not None

    def append(self, samples: Columns, time_min_ms: int, time_max_ms: int, series_count: int) -> None:
        """Write one batch, in as many frames as its size needs. Returns after write(2).

        Raises: DiskFull, NotReady; nothing of the batch is in the log then, unless the machine stops meanwhile.
        """
        if self.is_broken:
            self.roll()
        self._is_defined = _with_room(self._is_defined, series_count)
        self._is_used = _with_room(self._is_used, series_count)
        is_one = samples.series.size <= frame.FRAME_SAMPLE_COUNT_MAX
        ids = frame.coded_ids(samples.series) if is_one else None
        places = _places(samples.series, ids)
        unknown = self._unknown(samples.series, places)
        parts: list[Part] = []
        sequence = self._sequence
        definitions = list(self._definitions(unknown)) or [NO_DEFINITIONS]
        for alone in definitions[:-1]:
            parts += frame.frame_parts(sequence, alone, Columns.empty(), 0, 0)
            sequence += 1
        for start in range(0, samples.series.size, frame.FRAME_SAMPLE_COUNT_MAX):
            piece = samples.taken(slice(start, start + frame.FRAME_SAMPLE_COUNT_MAX))
            defined = NO_DEFINITIONS if start else definitions[-1]
            parts += frame.frame_parts(sequence, defined, piece, time_min_ms, time_max_ms, ids)
            sequence += 1
        self._write(parts)
        self._is_defined[unknown] = True
        for place in places:
            self._is_used[place] = True
        self._sequence = sequence
        self.written_count += 1

    def sync(self, up_to_count: int | None = None) -> None:
        """Make durable what was written before the call, or at least the first up_to_count batches.

        Threads that wait for their own batch share a sync: who comes while one runs finds his batch durable after it,
        or makes the next one for all that have come meanwhile. Raises: NotReady.
        """
        up_to_count = self.written_count if up_to_count is None else up_to_count
        with self._sync_lock:
            if self._not_durable and self._not_durable[0] < up_to_count <= self._not_durable[1]:
                raise NotReady("the write-ahead log could not be synced; send the batch again")
            if self.synced_count >= up_to_count:
                return
            if self.is_broken:
                raise NotReady("the write-ahead log could not be synced before; send the batch again")
            self._make_durable()

    def _make_durable(self) -> None:
        assert self._file is not None, "a log without a segment is broken, and has taken nothing"
        written_count = self.written_count
        try:
            self._file.sync()
        except OSError as error:
            # After a failed sync the kernel may have dropped the pages: nothing more goes into this segment, and
            # the engine writes what is in it into blocks.
            self.is_broken = True
            raise NotReady(
                f"the write-ahead log could not be synced: {error.strerror}; send the batch again"
            ) from error
        self.synced_count = max(self.synced_count, written_count)

    def prepare(self, breathe: Callable[[], None]) -> None:
        """Create the segment of the next roll(), so that no append waits for it; not while another thread rolls.

        It begins with the definitions of the series that have samples in this segment: a million take seconds. What is
        not seen any more is so left out of the segment after the next.
        breathe: called between pieces of them. Raises: DiskFull, NotReady; nothing of the segment is left then.
        """
        with self._next_lock:
            if self._next is not None or self.is_broken:  # Of a broken log an append may be rolling this moment.
                return
            begun = self._create(self.number + 1, self._epoch)
            try:
                self._next = self._with_definitions(begun, breathe)
            except BaseException:
                begun.file.close()
                with contextlib.suppress(OSError):
                    self._disk.remove(self._folder / segment_name(self.number + 1))
                raise

    def _with_definitions(self, begun: _Segment, breathe: Callable[[], None]) -> _Segment:
        size_bytes, sequence = begun.size_bytes, begun.sequence
        is_defined = np.zeros(self._is_used.size, np.bool_)
        ids = np.flatnonzero(self._is_used).astype(np.int32)
        if ids.size < PREPARED_SERIES_COUNT_MIN:
            return begun
        for start in range(0, ids.size, _PREPARED_SERIES_COUNT):
            piece = ids[start : start + _PREPARED_SERIES_COUNT]
            for definitions in self._definitions(piece):
                parts = frame.frame_parts(sequence, definitions, Columns.empty(), 0, 0)
                with _named_as_ours("a new segment"):
                    size_bytes += begun.file.append(parts)
                sequence += 1
            is_defined[piece] = True
            breathe()
        with _named_as_ours("a new segment"):
            begun.file.sync()
        return _Segment(begun.file, size_bytes, sequence, is_defined)

    def _take_next(self, begins: tuple[int, Callable[[Int32s], Sequence[bytes]]] | None) -> _Segment:
        with self._next_lock:
            prepared, self._next = self._next, None
            if prepared is not None and begins is not None:  # Its header names the epoch that is over.
                prepared.file.close()
                self._disk.remove(self._folder / segment_name(self.number + 1))
                prepared = None
            return prepared or self._create(self.number + 1, self._epoch if begins is None else begins[0])

    def roll(self, begins: tuple[int, Callable[[Int32s], Sequence[bytes]]] | None = None) -> int:
        """Begin a new segment and return its number; all that was written before lies in segments below it.

        begins: the number of another epoch and its canonical_of, if the segment is the first of that epoch.
        The old segment is durable before the new one takes its first frame, so that what a crash leaves is a prefix.
        Raises: DiskFull, NotReady; the old segment, and the old epoch, stay then.
        """
        with self._sync_lock:
            if not self.is_broken and self.synced_count < self.written_count:
                self._make_durable()
            begun = self._take_next(begins)
            if self.is_broken and self._file is not None:
                # Somebody may still wait for a batch of an earlier break: what lies between is refused with it.
                first = self.synced_count if self._not_durable is None else self._not_durable[0]
                self._not_durable = (first, self.written_count)
                self._broken_number = self.number
            self.synced_count = self.written_count
            old, self._file = self._file, begun.file
            self._size_bytes = (
                begun.size_bytes
            )  # Not before: had that failed, the size of the old segment would be needed.
            self.number += 1
            self.is_broken = False
            if begins is not None:
                self._epoch, self._canonical_of = begins
            self._is_defined = np.zeros(1_024, np.bool_) if begun.is_defined is None else begun.is_defined
            self._is_used = np.zeros(1_024, np.bool_)
            self._sequence = begun.sequence
            self._measure_older()
            if old is not None:
                old.close()
        return self.number

    def drop_before(self, number: int) -> None:
        """Remove the segments below a number, whose samples are in durable blocks."""
        for old in segment_numbers(self._disk, self._folder):
            if old < number:
                self._disk.remove(self._folder / segment_name(old))
        self._disk.sync_folder(self._folder)
        self._measure_older()
        if self._broken_number is not None and self._broken_number < number:
            self._broken_number = None

    @property
    def size_bytes(self) -> int:
        return self._older_bytes + self._size_bytes

    @property
    def older_bytes(self) -> int:
        """Of the segments before the one that is written; not 0 after a drop_before() that failed."""
        return self._older_bytes

    def _measure_older(self) -> None:
        older = [number for number in segment_numbers(self._disk, self._folder) if number < self.number]
        self._older_bytes = sum(self._disk.size_bytes(self._folder / segment_name(number)) for number in older)

    def close(self) -> None:
        try:
            self.sync()
        finally:
            if self._file is not None:
                self._file.close()
            if self._next is not None:
                self._next.file.close()

    def _create(self, number: int, epoch: int) -> _Segment:
        """A durable segment without frames.

        Raises: DiskFull, NotReady; nothing of the segment is left then.
        """
        with _named_as_ours("a new segment"):
            return self._begun(self._folder / segment_name(number), number, epoch)

    def _begun(self, path: Path, number: int, epoch: int) -> _Segment:
        file = self._disk.create(path)
        try:
            size_bytes = file.append([frame.segment_header(number, epoch)])
            file.sync()
            self._disk.sync_folder(self._folder)
        except BaseException:
            file.close()
            with contextlib.suppress(OSError):
                self._disk.remove(path)
            raise
        return _Segment(file, size_bytes)

    def _unknown(self, series: Int32s, places: Sequence[_Place]) -> Int32s:
        if all(self._is_defined[place].all() for place in places):
            return np.empty(0, np.int32)
        is_unknown = np.zeros(self._is_defined.size, np.bool_)
        is_unknown[series[~self._is_defined[series]]] = True
        return np.flatnonzero(is_unknown).astype(np.int32)

    def _definitions(self, ids: Int32s) -> Iterator[Definitions]:
        if not ids.size:
            return
        column = CanonicalColumn.of(self._canonical_of(ids))
        start = begin = 0
        while start < ids.size:
            last = int(np.searchsorted(column.ends, begin + frame.DEFINITION_BYTES_MAX))  # With which they are enough.
            stop = min(last + 1, start + frame.FRAME_SAMPLE_COUNT_MAX, ids.size)
            yield Definitions(ids[start:stop], column[start:stop])
            start, begin = stop, int(column.ends[stop - 1])

    def _write(self, parts: list[Part]) -> None:
        assert self._file is not None, "append() begins a segment where there is none"
        try:
            with full_disk_named("the write-ahead log"):
                self._size_bytes += self._file.append(parts)
        except OSError as error:
            self._cut_back()
            raise NotReady(f"the write-ahead log could not be written: {error.strerror}") from error
        except BaseException:
            self._cut_back()
            raise

    def _cut_back(self) -> None:
        """Remove the part of a batch that was written before the error, so that the segment ends with a whole frame."""
        assert self._file is not None
        try:
            self._file.truncate(self._size_bytes)
        except OSError as error:
            self.is_broken = True
            if error.errno not in (errno.EIO, errno.ENOSPC, errno.EROFS):
                raise


@contextlib.contextmanager
def _named_as_ours(what: str) -> Iterator[None]:
    """Errors of the disk as what a sender is told. Raises: DiskFull, NotReady."""
    try:
        with full_disk_named(f"{what} of the write-ahead log"):
            yield
    except OSError as error:
        raise NotReady(f"{what} of the write-ahead log could not be begun: {error.strerror}") from error


def _places(series: Int32s, ids: Coded | None) -> Sequence[_Place]:
    """Where the ids of a batch stand in a table by id: slices where they are a few stretches, a tenth of the work."""
    slices = None if ids is None or ids.stretches is None else ids.stretches.slices()
    return [series] if slices is None else slices


def _with_room(array: Bools, count: int) -> Bools:
    if array.size >= count:
        return array
    grown = np.zeros(max(count, 2 * array.size), np.bool_)
    grown[: array.size] = array
    return grown
