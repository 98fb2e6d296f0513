"""Deleted samples that still stand in blocks: who they are, kept durably, and what readers leave out because of them.

A tombstone speaks of blocks up to a number, so whatever is written after the delete is visible. Layout, and what
happens when: docs/format/tombstones.md.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import google_crc32c
import msgspec
import numpy as np
import numpy.typing as npt

from tsdb.errors import CorruptData, NotReady, RefusedQuery
from tsdb.sample import Int32s, Matcher, MatchOp
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockName
from tsdb.store.columns import Rows, places_of
from tsdb.store.disk import Disk, full_disk_named
from tsdb.store.index import SeriesIndex
from tsdb.store.readable import all_bytes
from tsdb.store.tiles import BlockPart

log = logging.getLogger(__name__)

MAGIC = b"HENGEDEL"
VERSION = 1
_FIXED = struct.Struct("<8sI")  # magic · crc32c of everything behind it
_VERSION = struct.Struct("<I")
_HEADER_BYTES = _FIXED.size + _VERSION.size
SUFFIX = ".tombstone"
TEMPORARY_SUFFIX = ".tmp"
FILE_BYTES_MAX = 64 << 10
# Each costs a selection that it touches some 6 µs, one of 100,000 series 0.15 to 1.4 ms.
TOMBSTONE_COUNT_MAX = 1_024
_DIGITS_COUNT = 8
_HELD_IDS_MAX = 4 << 20  # × 4 B = 16 MiB of series that tombstones speak of are kept between selections.


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """The samples of some series between two times, both included, in blocks up to a number."""

    number: int
    selector: tuple[tuple[str, MatchOp, str], ...]
    start_ms: int
    end_ms: int
    block_number_max: int
    created_ms: int

    @property
    def matchers(self) -> list[Matcher]:
        return [Matcher(*matcher) for matcher in self.selector]

    @property
    def file_name(self) -> str:
        return f"{self.number:0{_DIGITS_COUNT}d}{SUFFIX}"

    def may_speak_of(self, name: BlockName) -> bool:
        """Whether a block of this name can hold samples that are meant."""
        is_near = name.start_ms <= self.end_in(name) and name.end_ms > self.start_ms
        return is_near and name.number <= self.block_number_max

    def end_in(self, name: BlockName) -> int:
        """The last time that is meant in a block: a bucket of a rollup, (t - tier, t], goes when any of it is."""
        return self.end_ms + max(0, name.tier_ms - 1)

    def encoded(self) -> bytes:
        body = {name: value for name, value in msgspec.structs.asdict(self).items() if name != "number"}
        rest = _VERSION.pack(VERSION) + msgspec.json.encode(body)
        return _FIXED.pack(MAGIC, google_crc32c.value(rest)) + rest


def decode(data: bytes, file_name: str) -> Tombstone:
    """Undo encoded(). Raises: CorruptData; NotReady, for a whole file of a later version."""
    number = file_name.removesuffix(SUFFIX)
    if not number.isdecimal() or not _HEADER_BYTES <= len(data) <= FILE_BYTES_MAX:
        raise CorruptData(f"{file_name}: {len(data):,} bytes are no tombstone")
    magic, crc = _FIXED.unpack_from(data)
    if magic != MAGIC or crc != google_crc32c.value(data[_FIXED.size :]):
        raise CorruptData(f"{file_name}: the checksum of the tombstone")
    (version,) = _VERSION.unpack_from(data, _FIXED.size)
    if version != VERSION:
        raise NotReady(
            f"{file_name} is a tombstone of version {version}; this program reads version {VERSION}, and without it "
            f"deleted samples would come back: use the program that wrote it"
        )
    try:
        body = msgspec.json.decode(data[_HEADER_BYTES:])
        return msgspec.convert({**body, "number": int(number)}, Tombstone)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise CorruptData(f"{file_name}: {error}") from error


class Tombstones:
    """The tombstones of a folder. The engine's upkeep lock is held for make() and settle(), its other lock for live.

    live: those that blocks in their place need, which readers have to know. resting_count: those that only blocks in
    the quarantine need: they cost no reader anything, and are live again after a start, when a repair may have taken
    such a block out.
    """

    def __init__(self, disk: Disk, folder: Path, quarantine: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._quarantine = quarantine
        self.quarantined_count = 0
        self.live: tuple[Tombstone, ...] = ()
        self.resting_count = 0
        self._highest_number = 0
        self._load()

    @property
    def block_number_max(self) -> int:
        """No new block may have this number or one below."""
        return max((one.block_number_max for one in self.live), default=0)

    def make(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        *,
        block_number_max: int,
        created_ms: int,
        stuck_count_of: Callable[[Sequence[Tombstone]], int] = lambda _: 0,
    ) -> Tombstone:
        """Write a tombstone; durable when this returns. It is not in `live` yet.

        stuck_count_of: how many of some wait for damaged blocks, for the words of a refusal.
        Raises: RefusedQuery, DiskFull, NotReady.
        """
        if len(self.live) >= TOMBSTONE_COUNT_MAX:
            stuck_count = stuck_count_of(self.live)
            advice = (
                f"{stuck_count:,} of them wait for damaged blocks: stop the appliance, run `henge db repair`, start it "
                "and run `henge db compact`"
                if stuck_count
                else "run `henge db compact`"
            )
            raise RefusedQuery(
                f"{len(self.live):,} deletions wait for their blocks to be rewritten, of at most "
                f"{TOMBSTONE_COUNT_MAX:,}; {advice}, and delete again half a minute later"
            )
        tombstone = Tombstone(
            number=self._highest_number + 1,
            selector=tuple((one.name, one.op, one.value) for one in matchers),
            start_ms=start_ms,
            end_ms=end_ms,
            block_number_max=block_number_max,
            created_ms=created_ms,
        )
        data = tombstone.encoded()
        if len(data) > FILE_BYTES_MAX:
            raise RefusedQuery(
                f"the selector of a delete takes {len(data):,} bytes of at most {FILE_BYTES_MAX:,}; "
                f"delete with several shorter ones"
            )
        self._write(self._folder / tombstone.file_name, data)
        self._highest_number = tombstone.number
        return tombstone

    def stats(self) -> dict[str, int]:
        return {
            "quarantined_tombstones": self.quarantined_count,
            "tombstone_count": len(self.live),
            "resting_tombstone_count": self.resting_count,
        }

    def settle(self, done: Sequence[Tombstone], resting: Sequence[Tombstone], lock: threading.Lock) -> None:
        """Take tombstones out of `live`: those that are done with their files, those that rest without."""
        gone = {*done, *resting}
        if not gone:
            return
        with lock:
            self.live = tuple(one for one in self.live if one not in gone)
        self.resting_count += len(resting)
        for one in done:
            self._disk.remove(self._folder / one.file_name)
        if done:
            self._disk.sync_folder(self._folder)

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        try:
            with full_disk_named("a tombstone"):
                file = self._disk.create(temporary)
                try:
                    file.append([data])
                    file.sync()
                finally:
                    file.close()
                self._disk.rename(temporary, path)
                self._disk.sync_folder(self._folder)
        except OSError as error:
            self._abandon(path, temporary)
            raise NotReady(f"a tombstone could not be written: {error.strerror}; delete again") from error
        except NotReady:
            self._abandon(path, temporary)
            raise

    def _abandon(self, *paths: Path) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                self._disk.remove(path)

    def _load(self) -> None:
        found = []
        names = self._disk.names(self._folder)
        for name in names:
            path = self._folder / name
            if name.endswith(TEMPORARY_SUFFIX):
                self._disk.remove(path)
                self._disk.sync_folder(self._folder)
            elif name.endswith(SUFFIX):
                try:
                    found.append(decode(all_bytes(self._disk, path)[0].tobytes(), name))
                except CorruptData as error:
                    log.error("a deletion is set aside in %s, delete again: %s", self._quarantine, error)
                    self._disk.rename(path, self._quarantine / name)
                    self._disk.sync_folder(self._quarantine)
                    self._disk.sync_folder(self._folder)
                    self.quarantined_count += 1
        self.live = tuple(found)
        self._highest_number = max((one.number for one in found), default=0)


class Meant:
    """The series of one index that tombstones speak of, looked up once while the index does not grow.

    A regular expression over 100,000 names costs 100 ms, and every selection asks for every tombstone.
    """

    def __init__(self, index: SeriesIndex) -> None:
        self._index = index
        self._held: dict[Tombstone, tuple[int, Int32s]] = {}

    def ids(self, tombstone: Tombstone) -> Int32s:
        """Rising."""
        count = len(self._index)
        held = self._held.get(tombstone)
        if held is not None and held[0] == count:
            return held[1]
        ids = self._index.match(tombstone.matchers)
        held_count = sum(others.size for _, others in list(self._held.values()))
        if ids.size + held_count > _HELD_IDS_MAX or len(self._held) >= TOMBSTONE_COUNT_MAX:
            self._held = {}  # Most are of tombstones that are gone, or all are large: either way begin anew.
        if ids.size <= _HELD_IDS_MAX:
            self._held[tombstone] = (count, ids)
        return ids

    def is_meant(self, tombstone: Tombstone, ids: Int32s) -> npt.NDArray[np.bool_]:
        meant, count = self.ids(tombstone), len(self._index)
        if 16 * ids.size >= count:  # One look for each of many costs more than a mark for each series there is.
            of_all = np.zeros(count, np.bool_)
            of_all[meant] = True
            return of_all[ids]
        is_meant = np.zeros(ids.size, np.bool_)
        is_meant[places_of(ids, meant)[0]] = True
        return is_meant


class Mask:
    """What tombstones hide of blocks whose series one index knows. Made for one selection or one join.

    meant: kept by whoever makes many masks with one index.
    """

    def __init__(self, tombstones: Sequence[Tombstone], index: SeriesIndex, meant: Meant | None = None) -> None:
        self._tombstones = tombstones
        self._meant = Meant(index) if meant is None else meant

    def left(self, block_name: str, ids: Int32s, rows: Rows) -> Rows:
        """The rows of a block without the samples that are deleted; row numbers are places in ids."""
        for (start_ms, end_ms), some in self._by_range(block_name):
            if rows.row.size:
                rows = _without(rows, self._is_meant(some, ids[rows.row]), start_ms, end_ms)
        return rows

    def cut(self, block_name: str, ids: Int32s, part: BlockPart) -> BlockPart:
        """As left(), of a part that is not read yet."""
        for (start_ms, end_ms), some in self._by_range(block_name):
            is_meant = self._is_meant(some, ids[part.row])
            if is_meant.any():
                part = part.without(is_meant, start_ms, end_ms)
        return part

    def listed(self, file: BlockFile, ids: Int32s, start_ms: int, end_ms: int) -> Int32s:
        """The ids of a block's series without those of which a tombstone covers every sample in a range of time."""
        start_ms, end_ms = max(start_ms, file.summary.min_ms), min(end_ms, file.summary.max_ms)
        for one, meant_end_ms in self._speaking_of(file.name):
            if one.start_ms <= start_ms and meant_end_ms >= end_ms:
                ids = ids[~self._meant.is_meant(one, ids)]
        return ids

    def spans(self, block_name: str) -> list[tuple[int, int]]:
        """The times in which some series of a block has deleted samples, both ends included."""
        return [(one.start_ms, end_ms) for one, end_ms in self._speaking_of(block_name)]

    def ids_meant(self, tombstone: Tombstone) -> Int32s:
        """The series of the index that a tombstone speaks of, rising."""
        return self._meant.ids(tombstone)

    def _is_meant(self, tombstones: Sequence[Tombstone], ids: Int32s) -> npt.NDArray[np.bool_]:
        is_meant = np.zeros(ids.size, np.bool_)
        for one in tombstones:
            is_meant |= self._meant.is_meant(one, ids)
        return is_meant

    def _by_range(self, block_name: str) -> list[tuple[tuple[int, int], list[Tombstone]]]:
        """The tombstones of a block by the times that they mean there: samples are moved once for each range."""
        by_range: defaultdict[tuple[int, int], list[Tombstone]] = defaultdict(list)
        for one, end_ms in self._speaking_of(block_name):
            by_range[one.start_ms, end_ms].append(one)
        return list(by_range.items())

    def _speaking_of(self, block_name: str) -> list[tuple[Tombstone, int]]:
        """The tombstones of a block, each with the last time that it means there."""
        name = BlockName.parse(block_name) if self._tombstones else None
        if name is None:
            return []
        return [(one, one.end_in(name)) for one in self._tombstones if one.may_speak_of(name)]


def _without(rows: Rows, is_meant: npt.NDArray[np.bool_], start_ms: int, end_ms: int) -> Rows:
    """Rows without the samples of some rows in a range of time; a row of which nothing is left goes."""
    if not is_meant.any():
        return rows
    kept = np.repeat(~is_meant, rows.lengths)
    kept |= (rows.timestamp_ms < start_ms) | (rows.timestamp_ms > end_ms)
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(kept)))[rows.offsets]
    has_some = np.diff(before) > 0
    offsets = np.append(before[:-1][has_some], before[-1])
    return Rows(rows.row[has_some], offsets, rows.timestamp_ms[kept], rows.value[kept])
