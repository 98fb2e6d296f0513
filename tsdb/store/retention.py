"""What leaves the disk and what stands for it: steps that are repeatable and crash-safe, by the plan of
tsdb.store.departures.

Samples leave by age, as the schema of their series says, or because the disk budget is used up; their rollups are
durable before they go. Rules and bounds: docs/format/rollup.md.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from appliance.clock import Clock
from appliance.units import duration_text
from tsdb.errors import DiskFull
from tsdb.interface import Aggregate
from tsdb.sample import Int64s
from tsdb.store.block.layout import BlockEntry, BlockName
from tsdb.store.budget import Budget
from tsdb.store.catalogue import Catalogue
from tsdb.store.departures import Drop, Join, Leave, Window, plan_by_age, plan_for_space, plan_joins, windows_of
from tsdb.store.flush import BlockFolder
from tsdb.store.index import SeriesIndex
from tsdb.store.rollup import LOOK_BACK_MS, BlockSet, Mask, Rolling, join_rollups, roll
from tsdb.store.schemas import SchemaTable
from tsdb.store.settling import Settling
from tsdb.store.tombstones import Tombstones
from tsdb.store.trust import TrustedTime

log = logging.getLogger(__name__)

# When there was nothing to do, the next look is so much later; with ten thousand blocks one takes some 20 ms.
LOOK_EVERY_MS = 10_000
# Samples that leave to make room must make some: their rollups may take half of what they took.
ROLLUP_PART_FOR_SPACE = 2
# On a disk that stays full for so long, samples past their time go without their rollups: till then somebody may have
# made room, afterwards what is refused now weighs more.
FULL_PATIENCE_S = 600.0


class Retention:
    """Does one step at a time; whoever calls holds the engine's upkeep lock."""

    def __init__(
        self,
        table: SchemaTable,
        budget: Budget,
        folder: BlockFolder,
        catalogue: Catalogue,
        tombstones: Tombstones,
        lock: threading.Lock,
        clock: Clock,
        replayed_newest_ms: int | None = None,
    ) -> None:
        self._table = table
        self._budget = budget
        self._folder = folder
        self._catalogue = catalogue
        self._tombstones = tombstones
        self._lock = lock
        self._clock = clock
        newest = [entry.summary.max_ms for entry in (*catalogue.entries, *catalogue.rollups)]
        newest += [] if replayed_newest_ms is None else [replayed_newest_ms]
        self._time = TrustedTime(max(newest, default=None), clock.monotonic_s())
        self._present: dict[BlockName, frozenset[int]] = {}
        self._settling = Settling(table.keep_min_ms(0), clock.monotonic_s())
        self._left_alone: set[BlockName] = set()  # Damaged; joined or rewritten no more.
        self._looked_at_ms: int | None = None
        self._full_since_s: float | None = None
        self.counts: Counter[str] = Counter()

    def step(self, now_ms: int, newest_head_ms: int | None, flush_before: Callable[[int], None], open_ms: int) -> bool:
        """Do the next thing that is due, if there is one.

        newest_head_ms: the newest sample of the head. flush_before: brings samples before a time from the head into
        blocks. open_ms: windows that end less than this before now are being filled, and stay.
        """
        if self._looked_at_ms is not None and abs(now_ms - self._looked_at_ms) < LOOK_EVERY_MS:
            return False
        if self._do_next(now_ms, newest_head_ms, flush_before, open_ms):
            self._looked_at_ms = None
            return True
        self._looked_at_ms = now_ms
        return False

    def stats(self) -> dict[str, Any]:
        """Counts since the start."""
        return {
            "rolled_windows": self.counts["rolled"],
            "rolled_for_space": self.counts["rolled_for_space"],
            "dropped_rollups": self.counts["dropped_rollups"],
            "dropped_for_space": self.counts["dropped_for_space"],
            "dropped_without_rollup": self.counts["dropped_without_rollup"],
        }

    def _do_next(
        self, now_ms: int, newest_head_ms: int | None, flush_before: Callable[[int], None], open_ms: int
    ) -> bool:
        entries, rollups = self._catalogue.entries, self._catalogue.rollups
        newest = [entry.summary.max_ms for entry in entries] or [entry.summary.max_ms for entry in rollups]
        newest += [] if newest_head_ms is None else [newest_head_ms]
        if not newest or not (entries or rollups):
            return False
        # A clock that jumps ahead lets nothing leave: it has to be ahead for a day, and the newest sample as far.
        now_ms = min(self._time.now_ms(now_ms, self._clock.monotonic_s()), max(newest))
        self._forget_gone(entries, rollups)
        windows = windows_of(entries)
        settled = self._settling.settled(windows, now_ms, self._clock.monotonic_s())
        step: Leave | Drop | Join | None = plan_by_age(
            settled, rollups, self._table, self._schemas_in, now_ms, self._left_alone
        )
        if step is None and self._budget.is_over(self._catalogue.doomed_bytes):
            step = plan_for_space(windows, rollups, self._schemas_in, now_ms - open_ms)
            if step is None:
                self._budget.note_nothing_left()
        if step is None:
            step = plan_joins([entry for entry in rollups if entry.name not in self._left_alone], self._table)
        try:
            match step:
                case None:
                    self._full_since_s = None
                    return False
                case Leave():
                    flush_before(step.window.end_ms)
                    self._leave(step, now_ms)
                case Drop():
                    self._drop(step)
                case Join():
                    self._rewrite(step.entries, step.start_ms, step.window_ms)
        except DiskFull:
            if not self._do_without_writing(step, settled, rollups, now_ms):
                raise
        else:
            self._full_since_s = None
        return True

    def note_samples(self, timestamp_ms: Int64s, min_ms: int) -> None:
        """Samples have come, the oldest at min_ms; from any thread."""
        self._settling.note(timestamp_ms, min_ms, self._clock.now_ms(), self._clock.monotonic_s())

    def note_full(self) -> None:
        """The disk is full: what is past its time makes room, whoever may send more of it."""
        self._settling.end()

    def _do_without_writing(
        self, failed: Leave | Drop | Join | None, windows: Sequence[Window], rollups: Sequence[BlockEntry], now_ms: int
    ) -> bool:
        """On a full disk: let something go that leaves nothing to be written, if there is something.

        After FULL_PATIENCE_S of that, also the oldest samples past their time for which rollups should have been.
        """
        now_s = self._clock.monotonic_s()
        self._full_since_s = now_s if self._full_since_s is None else self._full_since_s
        whole = {entry.name for entry in (*self._catalogue.entries, *rollups)}  # None of them can be written again.
        bare = [one for one in windows if not self._tiers_of(self._schemas_of(one), one, now_ms)]
        step = plan_by_age(bare, rollups, self._table, self._schemas_in, now_ms, whole)
        if isinstance(step, Leave):
            self._leave(step, now_ms)
        elif isinstance(step, Drop):
            self._drop(step)
        elif isinstance(failed, Leave) and failed.is_for_space:
            self._leave_without_rollups(failed.window)
        elif now_s - self._full_since_s < FULL_PATIENCE_S or self._catalogue.doomed_bytes:  # They make room soon.
            return False
        elif isinstance(step := plan_by_age(windows, (), self._table, self._schemas_in, now_ms, whole), Leave):
            self._leave_without_rollups(step.window)
        else:
            return False
        return True

    def _leave_without_rollups(self, window: Window) -> None:
        self._swap([entry.name for entry in window.entries], [])
        self.counts["dropped_without_rollup"] += 1
        log.error(
            "the disk is full: samples of %s to %s go without a rollup, for there is no room to write it",
            _time_text(window.start_ms),
            _time_text(window.end_ms),
        )

    def _leave(self, step: Leave, now_ms: int) -> None:
        # A flush may have brought late samples.
        inside = [
            entry
            for entry in self._catalogue.entries
            if step.window.start_ms <= entry.name.start_ms and entry.name.end_ms <= step.window.end_ms
        ]
        window = Window(step.window.start_ms, step.window.end_ms, tuple(inside))
        names = [entry.name for entry in window.entries]
        is_full = False
        try:
            new = self._rolled(window, step, now_ms)
        except DiskFull as error:
            if not step.is_for_space:
                raise
            new, is_full = [], True
            self.counts["dropped_without_rollup"] += 1
            log.error(
                "%d blocks of samples from %s on go without a rollup, for there is no room to write it: %s",
                len(names),
                _time_text(window.start_ms),
                str(error),  # A record that somebody keeps is not to keep the files of the window open.
            )
        if new is None:
            self._left_alone.update(names)
            return
        self._swap(names, new)
        self.counts["rolled_for_space" if step.is_for_space else "rolled"] += 1
        if step.is_for_space:
            tiers_ms = sorted({entry.name.tier_ms for entry in new})
            if not tiers_ms and not is_full:
                self.counts["dropped_without_rollup"] += 1
            log.warning(
                "the disk budget of %s bytes is used up: samples of %s to %s went, and %s; raise "
                "store.disk_bytes_max or shorten store.retention",
                f"{self._budget.bytes_max:,}",
                _time_text(window.start_ms),
                _time_text(window.end_ms),
                f"rollups of {', '.join(map(duration_text, tiers_ms))} stand for them" if tiers_ms else "no rollups",
            )

    def _rolled(self, window: Window, step: Leave, now_ms: int) -> list[BlockEntry] | None:
        """The blocks that take the place of a window's; None if damage forbids to write the series that stay."""
        schemas = step.schemas
        index = SeriesIndex()
        opened = BlockSet(self._folder, index, window.entries, self._tombstones.live)
        numbers = self._table.numbers_of(index)
        is_leaving = np.isin(numbers, list(schemas))
        if opened.damage_count and not is_leaving.all():
            return None
        tiers: dict[int, Mask] = {
            tier_ms: is_leaving & np.isin(numbers, having)
            for tier_ms, having in self._tiers_of(schemas, window, now_ms).items()
        }
        if not tiers and is_leaving.all():
            return []
        coarsest = {self._table.schemas[number].retention.tiers[-1].resolution_ms for number in schemas}
        lasts = [
            entry
            for entry in self._catalogue.rollups
            if entry.name.aggregate is Aggregate.LAST
            and entry.name.tier_ms in coarsest
            and entry.summary.max_ms > window.start_ms - LOOK_BACK_MS
            and entry.summary.min_ms <= window.end_ms + LOOK_BACK_MS
        ]
        raw_bytes = sum(entry.size_bytes for entry in window.entries)
        rolling = Rolling(
            window.start_ms,
            window.end_ms - window.start_ms,
            window.entries,
            is_leaving,
            tiers,
            bytes_max=raw_bytes // ROLLUP_PART_FOR_SPACE if step.is_for_space else None,
        )
        return roll(self._folder, rolling, opened, BlockSet(self._folder, index, lasts, self._tombstones.live))

    def _tiers_of(self, schemas: Collection[int], window: Window, now_ms: int) -> dict[int, list[int]]:
        """The tiers to write for a window, finest first, each with those of the schemas that have it."""
        found = {
            tier_ms: [
                number
                for number in schemas
                for tier in self._table.schemas[number].rollups
                if tier.resolution_ms == tier_ms
                and (tier.keep_ms is None or window.end_ms + tier_ms >= now_ms - tier.keep_ms)
            ]
            for tier_ms in self._table.tiers_ms
        }
        return {tier_ms: having for tier_ms, having in found.items() if having}

    def _drop(self, step: Drop) -> None:
        if step.schemas is None:
            self._swap([entry.name for entry in step.entries], [])
        else:
            gone = list(step.schemas)

            def is_staying(index: SeriesIndex) -> Mask:
                stays: Mask = ~np.isin(self._table.numbers_of(index), gone)
                return stays

            for entry in step.entries:
                self._rewrite([entry], entry.name.start_ms, entry.name.window_ms, is_staying)
        self.counts["dropped_for_space" if step.is_for_space else "dropped_rollups"] += len(step.entries)
        if step.is_for_space:
            first = step.entries[0].name
            log.warning(
                "the disk budget of %s bytes is used up and no samples are left that could go: %d blocks of rollups "
                "from %s on went; raise store.disk_bytes_max or shorten store.retention",
                f"{self._budget.bytes_max:,}",
                len(step.entries),
                _time_text(first.start_ms),
            )

    def erase(self, entry: BlockEntry) -> bool:
        """Write a block of rollups again without what is deleted of it; False, if it is damaged."""
        return self._rewrite([entry], entry.name.start_ms, entry.name.window_ms)

    def _rewrite(
        self,
        entries: Sequence[BlockEntry],
        start_ms: int,
        window_ms: int,
        is_staying: Callable[[SeriesIndex], Mask] | None = None,
    ) -> bool:
        """Put one block of rollups in the place of some."""
        names = [entry.name for entry in entries]
        new = join_rollups(self._folder, start_ms, window_ms, entries, self._tombstones.live, is_staying)
        if new is None:
            self._left_alone.update(names)
            return False
        self._swap(names, new)
        return True

    def _swap(self, old: Sequence[BlockName], new: Sequence[BlockEntry]) -> None:
        with self._lock:
            self._catalogue.swap(old, new, self._clock.monotonic_s())
        self._catalogue.changes.note(min(name.start_ms for name in old))

    def _schemas_of(self, window: Window) -> frozenset[int]:
        return frozenset().union(*map(self._schemas_in, window.entries))

    def _schemas_in(self, entry: BlockEntry) -> frozenset[int]:
        """Read from the block's table once; a damaged or left block goes when the longest-lived series goes."""
        if len(self._table.schemas) == 1:
            return frozenset((0,))
        if entry.name not in self._present:
            index = SeriesIndex()
            BlockSet(self._folder, index, [entry])
            found = frozenset(np.unique(self._table.numbers_of(index)).tolist())
            self._present[entry.name] = found or frozenset(range(len(self._table.schemas)))
        return self._present[entry.name]

    def _forget_gone(self, *there: Sequence[BlockEntry]) -> None:
        names = {entry.name for entries in there for entry in entries}
        self._left_alone &= names
        for name in [name for name in self._present if name not in names]:
            del self._present[name]


def _time_text(at_ms: int) -> str:
    """In UTC, for people; of any time, also of one that datetime has no room for."""
    return f"{np.datetime64(at_ms // 1_000, 's')}Z"
