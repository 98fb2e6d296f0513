"""The one door to the store: append, select, flush, compact, upkeep.

Threads: append() and everything that reads may be called from any thread; flush(), compact() and tick() take turns
among themselves and hold up an append only for as long as it takes to swap a list.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from appliance.clock import Clock
from tsdb.errors import DiskFull, NotReady, RefusedQuery, StaleEpoch
from tsdb.interface import Ack, Aggregate, Bounds, Grain
from tsdb.sample import Int32s, Labels, Matcher, SampleBatch, Selection
from tsdb.store import snapshot
from tsdb.store.admission import TimeLimits, admit
from tsdb.store.block.layout import BlockName
from tsdb.store.budget import Budget
from tsdb.store.cardinality import cardinality
from tsdb.store.catalogue import Catalogue
from tsdb.store.compaction import Group, Pressure, join, plan
from tsdb.store.disk import Disk, OsDisk
from tsdb.store.epochs import CENSUS_EVERY_S, Census, successor, taken_census
from tsdb.store.erasure import Erasure
from tsdb.store.flush import BlockFolder, flush_runs
from tsdb.store.head import Head, Run, by_index, present_ids, select_runs, sort_full
from tsdb.store.headpart import HeadPart, HeadSeries
from tsdb.store.index import SeriesIndex
from tsdb.store.names import Names
from tsdb.store.reader import BlockReader
from tsdb.store.recovery import replay
from tsdb.store.retention import Retention
from tsdb.store.schemas import SchemaTable
from tsdb.store.series_limits import TEAM_LABEL, SeriesLimits
from tsdb.store.suspects import Suspects
from tsdb.store.tiers import aggregates_of, read_from_ms
from tsdb.store.tombstones import Tombstone, Tombstones
from tsdb.store.wal import Wal
from tsdb.store.windows import WindowLimits

# A head that never fills is flushed this often, so that a restart replays two hours at most.
FLUSH_AFTER_S = 2 * 3_600.0
# What the index of series takes beyond this, which is enough for 100,000, comes off the room of the head, down to half
# of it: so 1 M series with a full head stay within 900 MB, and no flush is smaller than half of the limit.
INDEX_FREE_BYTES = 16 << 20
# A sender waits so long for a head that is over twice its limit; intake meanwhile stops reading its sockets.
ROOM_WAIT_S = 2.0
# Samples came so short a time ago that the next ones will want a new segment to know their series already.
BUSY_S = 1.0

FsyncMode = Literal["always", "interval", "never"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view: every stored sample is in the head's part or in one of the named blocks, or in both."""

    blocks: Sequence[str]
    heads: Sequence[HeadPart]  # One for each epoch.
    tombstones: Sequence[Tombstone] = ()  # What of the blocks is deleted.


class Engine:
    """The store of one data folder. Raises: NotReady, if another engine holds the folder."""

    def __init__(
        self,
        folder: Path,
        *,
        fsync: FsyncMode,
        fsync_interval_ms: int,
        head_bytes_max: int,
        schemas: SchemaTable,
        disk_bytes_max: int | None,
        out_of_order_window_ms: int,
        future_max_ms: int,
        series_count_max: int,
        series_per_team_max: int | None = None,
        new_series_per_minute_max: int | None = None,
        clock: Clock,
        disk: Disk | None = None,
    ) -> None:
        self.folder = folder
        self._disk = disk = OsDisk() if disk is None else disk
        self._clock = clock
        self._fsync = fsync
        self._fsync_interval_ms = fsync_interval_ms
        self._head_bytes_max = self._head_room_bytes = head_bytes_max
        self._schemas = schemas
        self._out_of_order_window_ms = out_of_order_window_ms
        self._future_max_ms = future_max_ms
        self._series_limits = SeriesLimits(
            series_count_max=series_count_max,
            series_per_team_max=series_per_team_max,
            new_series_per_minute_max=new_series_per_minute_max,
            started_s=clock.monotonic_s(),
        )
        _make_folders(disk, folder)
        self._unlock_folder = disk.lock(folder / "LOCK")
        self._lock = threading.Lock()
        self._has_room = threading.Condition(self._lock)
        self._index = SeriesIndex()
        self._head = Head(self._index)
        snapshot.remove_unfinished(disk, folder.parent / "snapshots")
        started_s = clock.monotonic_s()
        self.replayed = replay(disk, folder / "wal", folder / "quarantine", self._index, self._head)
        self._replay_s = clock.monotonic_s() - started_s
        self.epoch = _new_epoch()
        self._inactive_count = 0  # At the latest census.
        self._series_limits.count_anew(len(self._index), {})
        self._counted_at_s = self._tried_to_begin_at_s = -math.inf
        self._wal = Wal(
            disk,
            folder / "wal",
            epoch=self.epoch,
            number=self.replayed.next_segment_number,
            canonical_of=self._index.column_of,
        )
        self._catalogue = Catalogue(disk, folder / "blocks", folder / "quarantine")
        self._tombstones = Tombstones(disk, folder / "tombstones", folder / "quarantine")
        self._catalogue.start_above(self._tombstones.block_number_max)
        self._block_folder = BlockFolder(
            disk=disk, path=folder / "blocks", next_number=self._catalogue.next_number, breathe=self._breathe
        )
        self._reader = BlockReader(folder, disk=disk)
        self._budget = Budget(disk, folder, disk_bytes_max, clock)
        self._retention = Retention(
            schemas,
            self._budget,
            replace(self._block_folder, breathe=self._breathe_while_joining),
            self._catalogue,
            self._tombstones,
            self._lock,
            clock,
            max((run.max_ms for run in self._head.runs if run.count), default=None),
        )
        self._backup_lock = threading.Lock()  # One snapshot at a time; taken before _upkeep_lock.
        self._upkeep_lock = threading.Lock()  # Held by flush, compaction and retention; taken before _lock.
        self._synced_at_s = self._flushed_at_s = clock.monotonic_s()
        self._appended_at_s = clock.monotonic_s() - BUSY_S
        self._erasure = Erasure(disk, folder, self._synced_at_s)
        self.suspects = Suspects(disk, folder / "blocks", self._catalogue, self._lock)
        self._pressure, self.changes = Pressure(), self._catalogue.changes
        self._waiting: tuple[Run, ...] = ()  # Of the head, see _write_waiting().
        self._is_closing = self._is_closed = False

    def append(self, batch: SampleBatch, new_series: Sequence[bytes], *, epoch: int, now_ms: int) -> Ack:
        """Log and store a batch; see tsdb.interface.SampleSink.

        Raises: StaleEpoch, DiskFull, NotReady; ValueError, if ids or label bytes are not what a sender may send.
        """
        with self._lock:
            self._wait_for_room()
            if self._is_closed:
                raise NotReady("the store is closed")
            if epoch != self.epoch:
                raise StaleEpoch(f"epoch {epoch} is over, this is {self.epoch}; register the series and send it again")
            now_s = self._clock.monotonic_s()
            new_ids = self._index.add(new_series, at_s=now_s, admit=lambda new: self._series_limits.admit(new, now_s))
            time_limits = self._time_limits(now_ms)
            admitted = admit(batch, new_ids, len(self._index), time_limits)
            samples = admitted.samples
            if samples.series.size:
                self._wal.append(samples, admitted.min_ms, admitted.max_ms, len(self._index))
                self._head.append(samples, admitted.min_ms, admitted.max_ms)
                self.changes.note(admitted.min_ms)
                self._retention.note_samples(samples.timestamp_ms, admitted.min_ms)
                self._appended_at_s = self._clock.monotonic_s()
            written_count = self._wal.written_count
        if self._fsync == "always" and samples.series.size:
            self._wal.sync(written_count)
        words = self._series_limits.words_of(admitted.refused) | time_limits.words_of(admitted.refused)
        return Ack(epoch, new_ids, samples.series.size, admitted.refused, words)

    def snapshot(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, grain: Grain | None = None) -> Snapshot:
        """The blocks to read and the head's part, taken so that no sample is missed while blocks are being written.

        The blocks stay readable for REMOVAL_DELAY_S at least. Raises: RefusedQuery, if a regex is wrong.
        """
        names, runs, tombstones = self._view(start_ms, end_ms, aggregates_of(grain))
        from_ms = read_from_ms(names, start_ms)
        heads = []
        for index, some in by_index(runs):
            ids = index.match(matchers) if any(run.count for run in some) else np.empty(0, np.int32)
            heads.append(HeadPart.of(HeadSeries.of(index, ids), select_runs(some, ids, from_ms, end_ms)))
        return Snapshot(names, heads, tombstones)

    def canonical_of(self, ids: Int32s, index_token: int) -> Sequence[bytes]:
        """The canonical bytes of series by the ids of a snapshot. Raises: StaleEpoch."""
        with self._lock:
            indexes = [self._index, *(run.index for run in self._head.runs)]
        for index in indexes:
            if index.token == index_token:
                return index.canonical_of(ids)
        raise StaleEpoch(f"the ids of index {index_token} are over; take a new snapshot")

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        """See tsdb.interface.SeriesSource; in this process, head and blocks together."""
        found = self.snapshot(matchers, start_ms, end_ms, grain)
        names, heads, tombstones = found.blocks, found.heads, found.tombstones
        return self._reader.select(names, matchers, start_ms, end_ms, heads, grain, tombstones, bounds=bounds)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        """See tsdb.interface.SeriesSource."""
        names, runs, tombstones = self._view(start_ms, end_ms)
        heads = []
        for index, some in by_index(runs):
            present = present_ids(some, start_ms, end_ms)
            heads.append(HeadSeries.of(index, np.intersect1d(index.match(matchers), present, assume_unique=True)))
        return self._reader.series(names, matchers, start_ms, end_ms, heads, tombstones)

    @property
    def names(self) -> Names:
        return Names(self._view, self._reader)

    def flush(self) -> None:
        """Write everything in the head into blocks and drop the log of it. Raises: DiskFull; the head is kept then."""
        with self._upkeep_lock:
            self._flush()

    def compact(self) -> None:
        """Flush, and join all blocks that may be joined: those of one window, and of a longer window that is over.

        Whatever was deleted is not in a block afterwards; the files of before go within REMOVAL_DELAY_S."""
        with self._upkeep_lock:
            self._flush()
            while self._join_one(closed_before_ms=self._clock.now_ms(), is_thorough=True):
                pass
            while self._erase_one():
                pass

    def erase(self) -> None:
        """Rewrite every block of which something is deleted; the files of before go within REMOVAL_DELAY_S."""
        with self._upkeep_lock:
            while self._erase_one():
                pass

    def delete(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> int:
        """Delete the samples of all series that match every matcher, both ends included; returns how many series.

        Durable when it returns; what is appended meanwhile or afterwards stays. Docs: docs/format/tombstones.md.
        Raises: RefusedQuery, DiskFull, NotReady.
        """
        if not matchers or end_ms < start_ms:
            raise RefusedQuery("a delete needs a matcher at least, and an end that is not before its start")
        with self._upkeep_lock:
            if self._is_closed:
                raise NotReady("the store is closed")
            self._flush()
            names, _, tombstones = self._view(start_ms, end_ms)
            series_count = len(self._reader.series(names, matchers, start_ms, end_ms, (), tombstones))
            if series_count:
                self._drop_tombstones()
                made = self._tombstones.make(
                    matchers,
                    start_ms,
                    end_ms,
                    block_number_max=self._catalogue.highest_number,
                    created_ms=self._clock.now_ms(),
                    stuck_count_of=self._erasure.stuck_count,
                )
                with self._lock:
                    self._tombstones.live = (*self._tombstones.live, made)
                self.changes.note(start_ms)
                self._erasure.note_delete(self._clock.monotonic_s())
        return series_count

    def backup(self, target: Path | None = None, *, skips_head: bool = False) -> Path:
        """Take a snapshot of the whole store; returns its folder, durable. Docs: docs/format/snapshot.md.

        target: where it is to be, without it below `snapshots` beside the store's folder.
        Raises: snapshot.Occupied, DiskFull, NotReady.
        """
        now_ms = self._clock.now_ms()
        name = snapshot.new_name(now_ms)
        snapshots = self.folder.parent / "snapshots"
        staging = snapshots / (name + snapshot.TEMPORARY_SUFFIX)
        with self._backup_lock:
            with self._upkeep_lock:
                if self._is_closed:
                    raise NotReady("the store is closed")
                if not skips_head:
                    self._flush()
                entries, tombstones = (*self._catalogue.entries, *self._catalogue.rollups), self._tombstones.live
                snapshot.link(self._disk, self.folder, staging, entries, tombstones)
            target = snapshots / name if target is None else target
            return snapshot.seal(self._disk, staging, target, entries, now_ms, self._refuse_when_closing)

    def tick(self, now_ms: int) -> None:
        """Background upkeep; to be called from one thread, at least twice in each fsync interval.

        Raises: DiskFull, NotReady; the next call tries again.
        """
        self.sync_if_due()
        self.sort_full_runs()
        if self._clock.monotonic_s() - self._appended_at_s >= BUSY_S:
            self._head.spare.drop()
        self._index.index_some()
        with self._upkeep_lock:
            self._catalogue.remove_doomed(self._clock.monotonic_s())
            self.suspects.check(self._reader.take_damage())
            try:
                self._flush_if_due()
            except DiskFull:
                self._retention.note_full()
                self._retain(now_ms)  # What leaves makes the room that the flush needs.
                raise
            self._retain(now_ms)
            if self._pressure.allows_joins(self._clock.monotonic_s(), len(self._catalogue.entries)):
                self._join_one(closed_before_ms=now_ms - self._out_of_order_window_ms)
            if self._erasure.is_due(self._clock.monotonic_s()):
                self._erase_one()
            self._drop_tombstones()

    def sort_full_runs(self) -> None:
        """Sort the runs that nothing more comes into, so that no selection has to; from any thread."""
        sort_full(self._head.runs, self.sync_if_due)

    def sync_if_due(self) -> None:
        """fdatasync at half the interval, so that with the time between two calls it is kept; from any thread.

        Raises: NotReady.
        """
        now_s = self._clock.monotonic_s()
        if self._wal.is_broken:
            return  # The next flush makes durable what the log could not.
        if self._fsync == "interval" and 2_000 * (now_s - self._synced_at_s) >= self._fsync_interval_ms:
            self._synced_at_s = now_s
            self._wal.sync()

    def cardinality(self, top_count: int) -> dict[str, Any]:
        """Which metrics, labels and values have most series, of those in the index; see tsdb.store.cardinality."""
        return cardinality(self._index, self._inactive_count, self._clock.monotonic_s(), top_count)

    def stats(self) -> dict[str, Any]:
        """Counts for the System page and /metrics; cheap."""
        with self._lock:
            runs, entries, rollups = self._head.runs, self._catalogue.entries, self._catalogue.rollups
        return {
            "epoch": self.epoch,
            "series_count": len(self._index),
            "active_series_count": len(self._index) - self._inactive_count,
            "index_bytes": self._index.size_bytes,
            "head_samples": sum(run.count for run in runs),
            "head_bytes": sum(run.size_bytes for run in runs),
            "head_room_bytes": self._head_room_bytes,
            "wal_bytes": self._wal.size_bytes,
            "block_count": len(entries),
            "block_bytes": sum(entry.size_bytes for entry in entries),
            "block_samples": sum(entry.summary.sample_count for entry in entries),
            "quarantined_frames": self.replayed.quarantined_frame_count,
            "quarantined_blocks": self._catalogue.quarantined_count,
            **self._tombstones.stats(),
            **self.suspects.stats(self._reader.take_damage()),
            "torn_tails": self.replayed.torn_tail_count,
            "lost_samples": self.replayed.lost_sample_count,
            "replayed_samples": self.replayed.sample_count,
            "rollup_count": len(rollups),
            "rollup_bytes": sum(entry.size_bytes for entry in rollups),
            **self._retention.stats(),
            **self._budget.stats(entries, self._schemas.raw_max_ms),
            "replay_s": self._replay_s,
            **self._schemas.stats(),
        }

    def close(self) -> None:
        """Sync the log and give the folder back; what the head holds is replayed at the next start.

        A flush or a join that runs meanwhile is broken off with NotReady: nothing is lost by it.
        """
        self._is_closing = True
        with self._upkeep_lock, self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                self._wal.close()
            finally:
                self._unlock_folder()

    def _wait_for_room(self) -> None:
        """Hold a sender back while the head is far over its limit; refuse him when that lasts. The lock is held."""

        def has_room() -> bool:
            return self._is_closed or self._head.size_bytes <= 2 * self._head_room_bytes

        if not has_room() and not self._has_room.wait_for(has_room, ROOM_WAIT_S):
            raise NotReady(
                f"the head holds {self._head.size_bytes:,} bytes, twice store.head_bytes_max less the index of series; "
                f"send the batch again when blocks have been written"
            )

    def _view(
        self, start_ms: int, end_ms: int, aggregates: Sequence[Aggregate] = (Aggregate.LAST,)
    ) -> tuple[list[str], tuple[Run, ...], tuple[Tombstone, ...]]:
        """The blocks that overlap a range, the runs of the head and the tombstones, of one moment.

        aggregates: of the rollups; the samples of their first buckets in the range are overlapped as well.
        """
        with self._lock:
            entries, rollups = self._catalogue.entries, self._catalogue.rollups
            runs, tombstones = self._head.runs, self._tombstones.live
        names = [
            str(entry.name)
            for entry in rollups
            if entry.name.aggregate in aggregates and entry.overlaps(start_ms, end_ms)
        ]
        from_ms = read_from_ms(names, start_ms)
        names += [str(entry.name) for entry in entries if entry.overlaps(from_ms, end_ms)]
        return names, runs, tuple(one for one in tombstones if one.start_ms <= end_ms and one.end_ms >= from_ms)

    def _flush(self) -> None:
        self._write_waiting()  # Of a flush that failed: were a segment begun at each try, they would fill the disk.
        census = self._take_census()
        begun = successor(self._index, census, self._breathe) if self._may_begin(census) else None
        if begun is None and self._clock.monotonic_s() - self._appended_at_s < BUSY_S:
            with contextlib.suppress(DiskFull):  # The segment can be begun without the definitions.
                self._wal.prepare(self._breathe)
        if not self._wal.is_broken:
            # So that little is left to sync while appends wait for the new segment: what was written meanwhile.
            self._wal.sync()
            self._wal.sync()
        with self._lock:
            if begun is not None:
                self._waiting = self._begin_epoch(begun)
            elif self._head.sample_count:
                self._wal.roll()
                self._waiting = self._head.detach()
            number = self._wal.number  # Not later: an append begins another segment, if this one breaks.
        self._write_waiting()
        self._flushed_at_s = self._clock.monotonic_s()
        if self._wal.older_bytes:  # Also those that a flush left which failed at the very end: they must not come back.
            self._wal.drop_before(number)

    def _write_waiting(self) -> None:
        """Write the runs whose samples lie in segments before the one that is written into blocks."""
        for index, some in by_index(self._waiting):
            entries = flush_runs(self._block_folder, index, some, self._window_limits())
            with self._lock:
                self._catalogue.swap((), entries, self._clock.monotonic_s())
                self._head.drop(some)
                self._has_room.notify_all()
            self._waiting = tuple(run for run in self._waiting if run.index is not index)

    def _erase_one(self) -> bool:
        """Rewrite one block of which something is deleted, if there is one."""
        tombstones, start_s = self._tombstones.live, self._clock.monotonic_s()
        entry = self._erasure.next_touched([*self._catalogue.entries, *self._catalogue.rollups], tombstones)
        if entry is None:
            return False
        if entry.name.is_raw:
            self._replace(Group(entry.name.start_ms, entry.name.window_ms, (entry,)))
        elif not self._retention.erase(entry):
            self._erasure.note_damage([entry.name])
        self._erasure.note_step(start_s, self._clock.monotonic_s())
        return True

    def _drop_tombstones(self) -> None:
        """Drop the tombstones of which no block is left, and let those rest of which none is left in its place."""
        settled = self._erasure.settled(self._tombstones.live, self._catalogue.removals_count)
        self._tombstones.settle(*settled, self._lock)

    def _take_census(self) -> Census:
        """Count the active series, for the limits on them."""
        self._counted_at_s = now_s = self._clock.monotonic_s()
        index = self._index
        census = taken_census(index, self._head.runs, now_s)
        by_team = index.count_by_value(TEAM_LABEL, census.is_active) if self._series_limits.counts_teams else {}
        with self._lock:
            index.note_seen(census.is_present, now_s)
            self._inactive_count = census.inactive_count
            self._series_limits.count_anew(len(index) - self._inactive_count, by_team)
        return census

    def _may_begin(self, census: Census) -> bool:
        """Whether the index is to begin anew; on a full disk, where it fails, it is tried now and then only."""
        now_s = self._clock.monotonic_s()
        if not census.is_crowded or now_s - self._tried_to_begin_at_s < CENSUS_EVERY_S:
            return False
        self._tried_to_begin_at_s = now_s
        return True

    def _begin_epoch(self, begun: SeriesIndex) -> tuple[Run, ...]:
        """What comes from now on has ids of this index; the lock is held. Returns the runs of before.

        The samples of the old epoch lie in segments before the new one, each of which defines its own ids.
        """
        epoch = _new_epoch()
        self._wal.roll(begins=(epoch, begun.column_of))
        runs = self._head.detach()
        self.epoch, self._index = epoch, begun
        self._head.begin(begun)
        self._inactive_count = 0
        self._series_limits.active_count = len(begun)
        return runs

    def _flush_if_due(self) -> None:
        now_s = self._clock.monotonic_s()
        index_bytes = max(0, self._index.size_bytes - INDEX_FREE_BYTES)
        self._head_room_bytes = max(self._head_bytes_max // 2, self._head_bytes_max - index_bytes)
        is_full = self._head.size_bytes >= self._head_room_bytes
        if is_full:
            self._pressure.filled(now_s)
        if is_full or now_s - self._flushed_at_s >= FLUSH_AFTER_S or self._wal.needs_blocks or self._is_crowded():
            self._flush()

    def _is_crowded(self) -> bool:
        """Whether the index should begin anew; counted once in CENSUS_EVERY_S."""
        if self._clock.monotonic_s() - self._counted_at_s < CENSUS_EVERY_S:
            return False
        return self._take_census().is_crowded

    def _breathe(self) -> None:
        """What must not wait for the end of a long flush. Raises: NotReady, when the store is being closed."""
        self._refuse_when_closing()
        self.sync_if_due()

    def _refuse_when_closing(self) -> None:
        if self._is_closing:
            raise NotReady("the store is being closed")

    def _breathe_while_joining(self) -> None:
        """What must not wait for the end of a long join."""
        self._breathe()
        self._catalogue.remove_doomed(self._clock.monotonic_s())  # Else a long compaction would double the folder.
        self._flush_if_due()

    def _join_one(self, *, closed_before_ms: int, is_thorough: bool = False) -> bool:
        """Join one group of blocks, if there is one to join."""
        joinable = [entry for entry in self._catalogue.entries if str(entry.name) not in self.suspects.not_joinable]
        groups = plan(
            joinable,
            closed_before_ms=closed_before_ms,
            longest_ms=self._window_limits().longest_ms,
            is_thorough=is_thorough,
        )
        if not groups:
            return False
        self._replace(groups[0])
        return True

    def _window_limits(self) -> WindowLimits:
        return self._budget.window_limits(
            self._catalogue.entries, self._schemas.raw_max_ms, self._out_of_order_window_ms
        )

    def _replace(self, group: Group) -> None:
        """Put one block in the place of several, without what is deleted; damaged ones stay as they are."""
        names: list[BlockName] = [entry.name for entry in group.entries]
        folder = replace(self._block_folder, breathe=self._breathe_while_joining)
        if (joined := join(folder, group, self._tombstones.live)) is None:
            faulty = self.suspects.faulty(names)
            self._erasure.note_damage(faulty)
            return
        with self._lock:
            self._catalogue.swap(names, joined, self._clock.monotonic_s())

    def _retain(self, now_ms: int) -> bool:
        """One step of the retention. The upkeep lock is held."""
        with self._lock:
            newest_ms = max((run.max_ms for run in self._head.runs if run.count), default=None)
        return self._retention.step(now_ms, newest_ms, self._flush_before, self._out_of_order_window_ms)

    def _flush_before(self, end_ms: int) -> None:
        """Flush, if the head has samples before a time: those of a window that leaves have to be in blocks."""
        with self._lock:
            is_needed = any(run.count and run.min_ms < end_ms for run in self._head.runs)
        # Segments that a flush left behind at its very end would bring back what has been rolled up.
        if is_needed or (self._wal.older_bytes and not self._waiting):
            self._flush()

    def _time_limits(self, now_ms: int) -> TimeLimits:
        oldest_ms = 0 if self._schemas.keep_max_ms is None else now_ms - self._schemas.keep_max_ms
        return TimeLimits(oldest_ms, now_ms + self._future_max_ms)


def _make_folders(disk: Disk, folder: Path) -> None:
    for name in ("", "wal", "blocks", "tombstones", "quarantine"):
        disk.make_folder(folder / name)


def _new_epoch() -> int:
    return secrets.randbits(62) + 1
