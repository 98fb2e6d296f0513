"""Making a damaged folder whole again: what is certain stays in its place, what is damaged is kept aside.

Runs while no store does. Every file is replaced in one step, after the bytes that will go are durable in quarantine/,
so a crash at any moment leaves a folder that can be repaired, and a second repair finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from tsdb.errors import CorruptData, NotReady
from tsdb.sample import KEY_BYTES, Float64s, Int64s, series_key
from tsdb.store import budget, frame, tombstones
from tsdb.store.block.audit import faults_of
from tsdb.store.block.file import BlockFile, read_rows, read_tile
from tsdb.store.block.layout import BlockName, Summary
from tsdb.store.block.salvage import Salvage, salvage
from tsdb.store.block.writer import TEMPORARY_SUFFIX, BlockWriter
from tsdb.store.catalogue import ASIDE_SUFFIX
from tsdb.store.columns import Columns, Rows
from tsdb.store.disk import Bytes, Disk, OsDisk, ReadFile, full_disk_named
from tsdb.store.flush import block_order
from tsdb.store.index import Keys, SeriesIndex
from tsdb.store.readable import all_bytes, pieces
from tsdb.store.segment import Stretch, stretches
from tsdb.store.verify import root_verdict, segment_verdict, tombstone_verdict, without_name
from tsdb.store.wal import segment_name, segment_numbers

_PIECE_SAMPLE_COUNT = 1 << 21  # Samples of a block rewritten at once; × 16 B, a few times over: 100 MiB.


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One file that was damaged. path: below the folder; what: what became of it.

    lost_samples: None where nobody can tell how many there were; lost_series: those that lost all that the file had.
    """

    path: str
    what: str
    lost_samples: int | None = 0
    lost_series: int = 0


def repair(folder: Path, disk: Disk | None = None) -> Iterator[Repaired]:
    """Repair what is damaged and say what became of it. Raises: NotReady, if a store holds the folder; DiskFull."""
    disk = OsDisk() if disk is None else disk
    unlock = disk.lock(folder / "LOCK")
    try:
        for path in (folder / name for name in ("blocks", "wal", "quarantine")):
            disk.make_folder(path)
        _remove_leftovers(disk, folder)
        yield from _repair_blocks(disk, folder)
        numbers = segment_numbers(disk, folder / "wal")
        for number in numbers:
            done = _repair_segment(disk, folder, number, is_last=number == numbers[-1])
            if done is not None:
                yield done
        for name in disk.names(folder / "tombstones"):
            if (done := _repair_tombstone(disk, folder, folder / "tombstones" / name)) is not None:
                yield done
        path = folder / budget.FILE_NAME
        if path.name in disk.names(folder) and root_verdict(disk, folder, path).damage:
            kept = _move_aside(disk, folder, path)
            yield Repaired(path=path.name, what=f"the disk budget cannot be read; the next start sets it; it is {kept}")
    finally:
        unlock()


def _repair_blocks(disk: Disk, folder: Path) -> Iterator[Repaired]:
    """Those in their place, and those that a start has set aside because it could not open them."""
    for below in ("blocks", "quarantine"):
        for name in disk.names(folder / below):
            parsed = BlockName.parse(name)
            if parsed is None:
                continue
            try:
                done = _Block(disk, folder, below, parsed).repair()
            except CorruptData as error:
                done = Repaired(path=f"{below}/{name}", what=f"left alone: {error}", lost_samples=None)
            if done is not None:
                yield done


def _remove_leftovers(disk: Disk, folder: Path) -> None:
    """Files that an interrupted flush, join or repair has left without their name."""
    for below in ("blocks", "wal", "tombstones"):
        leftover = [name for name in disk.names(folder / below) if name.endswith(TEMPORARY_SUFFIX)]
        for name in leftover:
            disk.remove(folder / below / name)
        if leftover:
            disk.sync_folder(folder / below)


class _Block:
    """One block on its way from damaged to whole, under the same name: a tombstone knows it by its number.

    below: the folder it lies in, `blocks` or `quarantine`. What is kept aside of it is called .bad, so that it is not
    taken out again.
    """

    def __init__(self, disk: Disk, folder: Path, below: str, name: BlockName) -> None:
        self._disk = disk
        self._folder = folder
        self._name = name
        self._path = folder / below / str(name)
        self._target = folder / "blocks" / str(name)
        self._is_in_place = self._path == self._target
        self._file = disk.open(self._path)

    def repair(self) -> Repaired | None:
        """None, if nothing is wrong with it."""
        where = str(self._path.relative_to(self._folder))
        try:
            if self._is_in_place and self._is_sound():
                return None
            found = salvage(self._file, str(self._name))
        except NotReady as error:
            return Repaired(path=where, what=f"left alone: {error}")
        except CorruptData as error:
            kept, why = _move_aside(self._disk, self._folder, self._path), without_name(error, self._path.name)
            return Repaired(path=where, what=f"nothing could be kept ({why}); it is {kept}", lost_samples=None)
        if not self._is_in_place and self._target.name in self._disk.names(self._target.parent):
            return self._beside_another(where, found)
        if self._is_in_place:
            kept = _copy_aside(self._disk, self._folder, f"{self._path.name}{ASIDE_SUFFIX}", self._file)
        found = self._with_texts_from_elsewhere(found)
        written, why = self._written(found)
        if not self._is_in_place:
            kept = _move_aside(self._disk, self._folder, self._path)
        elif not written or not written[0]:
            self._disk.remove(self._path)
            self._disk.sync_folder(self._path.parent)
        if written is None:
            what = f"the next start makes this rollup anew from samples that are still there; it is {kept}"
            return Repaired(path=where, what=what)
        samples, series = written
        what = f"written anew with {samples:,} of {found.sample_count:,} samples; the damaged file is {kept}"
        return Repaired(
            path=where,
            what=what if samples else f"nothing could be kept ({why}); it is {kept}",
            lost_samples=found.sample_count - samples,
            lost_series=len(found.canonical) - series,
        )

    def _written(self, found: Salvage) -> tuple[tuple[int, int] | None, str]:
        """What _rewrite() answers, and why nothing could be kept."""
        try:
            return self._rewrite(found), "its label text is damaged, and its series stand in no other file"
        except CorruptData as error:
            return (0, 0), without_name(error, str(self._name))

    def _is_sound(self) -> bool:
        """Raises: NotReady, for a later version."""
        try:
            return next(faults_of(BlockFile(self._file, str(self._name))), None) is None
        except CorruptData:
            return False

    def _beside_another(self, where: str, found: Salvage) -> Repaired | None:
        """A block of this name is there: written by a repair that was interrupted, or another by chance."""
        try:
            there = _each(BlockFile(self._disk.open(self._target), str(self._name)).keys())
        except (CorruptData, NotReady):
            there = []
        if not there or not set(there) <= set(_each(found.keys)):
            return Repaired(path=where, what=f"left alone: blocks/{self._name} is another block of this name")
        kept = _move_aside(self._disk, self._folder, self._path)
        return Repaired(path=where, what=f"was repaired before; it is {kept}")

    def _rewrite(self, found: Salvage) -> tuple[int, int] | None:
        """Write what is whole over the damaged block; returns how many samples and series that is.

        None, and nothing written, for a rollup with losses whose samples are still there.
        Raises: CorruptData, if samples do not lie as those of their rows must.
        """
        index = SeriesIndex()
        known = np.array([row for row, text in enumerate(found.canonical) if text is not None], np.int64)
        ids = index.add([text for text in found.canonical if text is not None])
        ids, first = np.unique(ids, return_index=True)  # A series with two rows keeps the first.
        row_of_id = known[first]
        ids = block_order(index, ids)
        rows = row_of_id[ids]
        sample_count = 0
        writer = BlockWriter(
            self._disk,
            self._target.parent,
            self._name,
            index.keys_of(ids),
            index.shape_rank(ids),
            lambda: None,
            is_rewrite=self._is_in_place,
        )
        try:
            for piece in _pieces(found.row_offsets, rows):
                read = self._read(found, rows[piece])
                writer.add(read._replace(row=read.row + piece.start))
                sample_count += read.value.size
            marks = self._marks(found)
            is_all = sample_count == found.sample_count
            if not is_all and set(marks.rolled_from) & set(self._disk.names(self._target.parent)):
                writer.abandon()  # Without it its set of rollups is not complete, and a start makes the set anew.
                return None
            # With samples missing, blocks that it once replaced and that are still there may have them.
            replaces = marks.replaces if is_all else ()
            entry = writer.finish(
                lambda candidates: index.canonical_of(ids[candidates]), replaces, marks.rolled_from, marks.rolled_with
            )
        except BaseException:
            writer.abandon()
            raise
        return (0, 0) if entry is None else (entry.summary.sample_count, entry.summary.series_count)

    def _marks(self, found: Salvage) -> Summary:
        """Which blocks it replaces or stands for: of its summary, or for a rollup of those written with it."""
        if found.summary is not None:
            return found.summary
        for name in self._disk.names(self._target.parent) if not self._name.is_raw else ():
            try:
                summary = BlockFile(self._disk.open(self._target.parent / name), name).summary
            except (CorruptData, NotReady):
                continue
            if str(self._name) in summary.rolled_with:
                return msgspec.structs.replace(summary, replaces=[])
        return Summary(series_count=0, sample_count=0, min_ms=0, max_ms=0)

    def _read(self, found: Salvage, rows: Int64s) -> Rows:
        """The samples of some rows that lie in whole tiles."""

        def read(number: int) -> tuple[Int64s, Float64s] | None:
            try:
                return read_tile(self._file, str(self._name), number, found.tiles[number])
            except CorruptData:
                return None

        there = read_rows(found.row_offsets, found.tiles, rows, read)
        falls = there.timestamp_ms[1:] <= there.timestamp_ms[:-1]
        falls[there.offsets[1:-1] - 1] = False  # From one row to the next a time may fall.
        if falls.any() or there.clipped(self._name.start_ms, self._name.end_ms - 1) is not there:
            # The tables have their checksums and are wrong all the same: no sample is sure of its series.
            raise CorruptData(f"{self._name}: rows whose times do not rise, or leave the window")
        return there

    def _with_texts_from_elsewhere(self, found: Salvage) -> Salvage:
        """The label sets of rows that have only their key, from other blocks and from the log."""
        keys = _each(found.keys)
        wanted = {key for key, text in zip(keys, found.canonical, strict=True) if text is None}
        if not wanted:
            return found
        text_of: dict[bytes, bytes] = {}
        for canonical in _texts_of_folder(self._disk, self._folder, self._path.name):
            text_of.update((key, text) for text in canonical if (key := series_key(text)) in wanted)
            if len(text_of) == len(wanted):
                break
        texts = [text_of.get(key, text) for key, text in zip(keys, found.canonical, strict=True)]
        return Salvage(found.keys, texts, found.row_offsets, found.tiles, found.summary)


def _each(keys: Keys) -> list[bytes]:
    stored = keys.to_bytes()
    return [stored[at : at + KEY_BYTES] for at in range(0, len(stored), KEY_BYTES)]


def _pieces(row_offsets: Int64s, rows: Int64s) -> Iterator[slice]:
    """Rows by so many that a piece has about _PIECE_SAMPLE_COUNT samples."""
    ends = np.cumsum(row_offsets[rows + 1] - row_offsets[rows])
    start = 0
    while start < rows.size:
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + _PIECE_SAMPLE_COUNT, side="right")))
        yield slice(start, end)
        start = end


def _texts_of_folder(disk: Disk, folder: Path, without: str) -> Iterator[Sequence[bytes]]:
    """The label sets of all other blocks and of the log."""
    for name in disk.names(folder / "blocks"):
        if name != without and BlockName.parse(name) is not None:
            try:
                yield BlockFile(disk.open(folder / "blocks" / name), name).canonical()
            except (CorruptData, NotReady):
                continue
    for number in segment_numbers(disk, folder / "wal"):
        for stretch in stretches(all_bytes(disk, folder / "wal" / segment_name(number))[0]):
            if stretch.frame is not None:
                yield stretch.frame.definitions.canonical


def _repair_segment(disk: Disk, folder: Path, number: int, *, is_last: bool) -> Repaired | None:
    """None, if nothing is wrong with it but a torn tail, which the next start cuts."""
    path = folder / "wal" / segment_name(number)
    where = f"wal/{path.name}"
    verdict = segment_verdict(disk, folder, path, is_last=is_last)
    if verdict is None or not verdict.damage:
        return None
    file = disk.open(path)
    data, _ = all_bytes(disk, path)
    try:
        wrong = frame.check_segment_header(data)
    except NotReady as error:
        return Repaired(path=where, what=f"left alone: {error}")
    found = list(stretches(data))
    kept_count = sum(stretch.is_known.size - stretch.unknown_count for stretch in found)
    if all(stretch.frame is None for stretch in found):
        kept = _move_aside(disk, folder, path)
        return Repaired(path=where, what=f"no frame in it is whole; it is {kept}", lost_samples=None)
    aside = []
    for stretch in found:
        if _is_partly_lost(data, stretch):
            name = f"{path.name}-{stretch.start}{ASIDE_SUFFIX}"
            aside.append(_copy_aside(disk, folder, name, file, stretch.start, stretch.end))
    _write_segment(disk, path, number, 0 if wrong else frame.segment_epoch(data), found)
    unknown_count = sum(stretch.unknown_count for stretch in found)
    is_counted = all(stretch.frame is not None and stretch.unknown_count for stretch in found if stretch.is_damaged)
    places = f"; the damaged bytes are {', '.join(aside[:3])}{' …' if len(aside) > 3 else ''}" if aside else ""
    return Repaired(
        path=where,
        what=f"written anew with the {kept_count:,} samples that are whole{places}",
        lost_samples=unknown_count if is_counted else None,
    )


def _repair_tombstone(disk: Disk, folder: Path, path: Path) -> Repaired | None:
    """What a damaged deletion has hidden is visible again; nobody can say any more what that was."""
    if not (verdict := tombstone_verdict(disk, folder, path)).damage:
        return None
    try:
        tombstones.decode(all_bytes(disk, path)[0].tobytes(), path.name)
    except NotReady as error:
        return Repaired(path=verdict.path, what=f"left alone: {error}")
    except CorruptData as error:
        kept, why = _move_aside(disk, folder, path), without_name(error, path.name)
        return Repaired(path=verdict.path, what=f"a deletion cannot be read ({why}): delete again; it is {kept}")
    return None


def _is_partly_lost(data: Bytes, stretch: Stretch) -> bool:
    """Not a frame that only stands at the wrong place, and not zeros, as a file system leaves of a lost write."""
    is_whole = stretch.is_whole and not stretch.unknown_count
    return not is_whole and bool(data[stretch.start : stretch.end].any())


def _write_segment(disk: Disk, path: Path, number: int, epoch: int, found: Sequence[Stretch]) -> None:
    """All that is whole, under the segment's name, in place of it in one step."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    with full_disk_named(f"segment {path.name} of the write-ahead log"):
        file = disk.create(temporary)
        try:
            file.append([frame.segment_header(number, epoch)])
            sequence = 0
            for stretch in found:
                if stretch.frame is None:
                    continue
                samples = stretch.frame.samples.taken(stretch.is_known)
                low, high = _range_of(samples)
                file.append(frame.frame_parts(sequence, stretch.frame.definitions, samples, low, high))
                sequence += 1
            file.sync()
        finally:
            file.close()
    disk.rename(temporary, path)
    disk.sync_folder(path.parent)


def _range_of(samples: Columns) -> tuple[int, int]:
    if not samples.timestamp_ms.size:
        return 0, 0
    return int(samples.timestamp_ms.min()), int(samples.timestamp_ms.max())


def _move_aside(disk: Disk, folder: Path, path: Path) -> str:
    """A whole file to quarantine/: copied, for a name that moves between folders could be lost with the power."""
    kept = _copy_aside(disk, folder, f"{path.name}{ASIDE_SUFFIX}", disk.open(path))
    disk.remove(path)
    disk.sync_folder(path.parent)
    return kept


def _copy_aside(disk: Disk, folder: Path, name: str, source: ReadFile, start: int = 0, end: int | None = None) -> str:
    """Bytes of a file to quarantine/, durably; what a repair that was interrupted has put there is written again.

    What the disk does not give any more is there as zeros.
    """
    end = source.size_bytes if end is None else end
    kept = _free_name(disk, folder, name, source, start, end)
    with full_disk_named(f"{kept}, the damaged bytes of a repair,"):
        file = disk.create(folder / kept)
        try:
            for piece, _ in pieces(source, start, end):
                file.append([piece])
            file.sync()
        finally:
            file.close()
    disk.sync_folder(folder / "quarantine")
    return kept


def _free_name(disk: Disk, folder: Path, name: str, source: ReadFile, start: int, end: int) -> str:
    """A name in quarantine/ that is free, or whose file holds these bytes or the first of them already."""
    names = set(disk.names(folder / "quarantine"))
    for attempt in range(1, len(names) + 2):
        candidate = name if attempt == 1 else f"{name}-{attempt}"
        if candidate not in names:
            break
        there = disk.open(folder / "quarantine" / candidate)
        wanted = pieces(source, start, min(end, start + there.size_bytes))
        if there.size_bytes <= end - start and all(
            one == other for (one, _), (other, _) in zip(pieces(there), wanted, strict=True)
        ):
            break
    return f"quarantine/{candidate}"
