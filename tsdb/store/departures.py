"""What leaves next, and what of the rollups is joined: pure, from the names and summaries of blocks.

Rules and bounds: docs/format/rollup.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from tsdb.interface import Aggregate
from tsdb.store.block.layout import HOUR_MS, BlockEntry, BlockName
from tsdb.store.schemas import SchemaTable

# The windows of rollups, shortest first: a year of hours is a long row, and few files hold ten years.
ROLLUP_WINDOWS_MS = tuple(hours * HOUR_MS for hours in (2, 8, 32, 128, 512, 2_048))
# As for blocks of samples: at most half a GiB at a byte a sample, and late parts wait until they are an eighth.
_SAMPLES_PER_BLOCK_MAX = 1 << 29
_LATE_PART = 8
_LATE_BLOCKS_MAX = 8

Present = Callable[[BlockEntry], frozenset[int]]
"""The numbers of the schemas that the series of a block have."""


@dataclass(frozen=True, slots=True)
class Window:
    """The blocks of samples of the longest window that any of them has, the others lying in it."""

    start_ms: int
    end_ms: int
    entries: tuple[BlockEntry, ...]

    @property
    def max_ms(self) -> int:
        return max(entry.summary.max_ms for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Leave:
    """Samples of the series with these schemas become rollups and go."""

    window: Window
    schemas: frozenset[int]
    is_for_space: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """Blocks of rollups go; schemas: with the series of these alone, None: whole."""

    entries: tuple[BlockEntry, ...]
    schemas: frozenset[int] | None = None
    is_for_space: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Blocks of one tier and aggregate become one block of a window."""

    start_ms: int
    window_ms: int
    entries: tuple[BlockEntry, ...]


def windows_of(entries: Iterable[BlockEntry]) -> list[Window]:
    """The windows in order; they are aligned, so that two of them do not overlap unless one holds the other."""
    windows: list[list[BlockEntry]] = []
    end_ms = None
    for entry in sorted(entries, key=lambda entry: (entry.name.start_ms, -entry.name.window_ms)):
        if end_ms is None or entry.name.start_ms >= end_ms:
            windows.append([])
            end_ms = entry.name.end_ms
        windows[-1].append(entry)
    return [Window(found[0].name.start_ms, found[0].name.end_ms, tuple(found)) for found in windows]


def plan_by_age(
    windows: Sequence[Window],
    rollups: Sequence[BlockEntry],
    table: SchemaTable,
    present: Present,
    now_ms: int,
    damaged: Collection[BlockName] = (),
) -> Leave | Drop | None:
    """What is past its time, the oldest first. damaged: blocks that are not to be written again, but may go whole."""

    def past(tier_ms: int, numbers: Iterable[int], max_ms: int) -> frozenset[int]:
        keeps = ((number, table.schemas[number].keep_ms(tier_ms)) for number in numbers)
        return frozenset(number for number, keep_ms in keeps if keep_ms is not None and max_ms < now_ms - keep_ms)

    shortest_ms = table.keep_min_ms(0)
    for window in windows if shortest_ms is not None else ():
        if window.max_ms < now_ms - (shortest_ms or 0):
            numbers = frozenset().union(*map(present, window.entries))
            leaving = past(0, numbers, window.max_ms)
            if leaving and (leaving == numbers or not any(entry.name in damaged for entry in window.entries)):
                return Leave(window, leaving)
    for entry in rollups:
        shortest_ms = table.keep_min_ms(entry.name.tier_ms)
        if shortest_ms is not None and entry.summary.max_ms < now_ms - shortest_ms:
            numbers = present(entry)
            leaving = past(entry.name.tier_ms, numbers, entry.summary.max_ms)
            if leaving and (leaving == numbers or entry.name not in damaged):
                return Drop((entry,), None if leaving == numbers else leaving)
    return None


def plan_for_space(
    windows: Sequence[Window], rollups: Sequence[BlockEntry], present: Present, closed_before_ms: int
) -> Leave | Drop | None:
    """What goes first when the budget is used up: the oldest samples, then the oldest rollups of the finest tier.

    closed_before_ms: a window that ends later is still being filled, and stays.
    """
    for window in windows:
        if window.end_ms <= closed_before_ms:
            return Leave(window, frozenset().union(*map(present, window.entries)), is_for_space=True)
    if not rollups:
        return None
    finest_ms = min(entry.name.tier_ms for entry in rollups)
    oldest = min((entry for entry in rollups if entry.name.tier_ms == finest_ms), key=lambda entry: entry.name)
    same = [entry for entry in rollups if entry.name.tier_ms == finest_ms and entry.name.start_ms < oldest.name.end_ms]
    return Drop(tuple(same), is_for_space=True)


def plan_joins(rollups: Sequence[BlockEntry], table: SchemaTable) -> Join | None:
    """The next group of rollups to join: the longest windows first, among equals the oldest.

    A window is joined when later ones have been rolled up, so that it gets few samples more.
    """
    columns: defaultdict[tuple[int, Aggregate | None], list[BlockEntry]] = defaultdict(list)
    for entry in rollups:
        columns[entry.name.tier_ms, entry.name.aggregate].append(entry)
    for (tier_ms, _), entries in sorted(columns.items()):
        closed_before_ms = max(entry.name.end_ms for entry in entries)
        for window_ms in reversed(ROLLUP_WINDOWS_MS):
            keep_ms = table.keep_min_ms(tier_ms)
            if keep_ms is not None and 8 * window_ms > keep_ms and window_ms > ROLLUP_WINDOWS_MS[0]:
                continue
            by_start: defaultdict[int, list[BlockEntry]] = defaultdict(list)
            for entry in entries:
                if entry.name.window_ms <= window_ms:
                    by_start[entry.name.start_ms // window_ms * window_ms].append(entry)
            for start_ms, members in sorted(by_start.items()):
                if start_ms + window_ms <= closed_before_ms and _is_worth_joining(members, window_ms):
                    return Join(start_ms, window_ms, tuple(members))
    return None


def _is_worth_joining(members: Sequence[BlockEntry], window_ms: int) -> bool:
    counts = [entry.summary.sample_count for entry in members]
    if len(members) < 2 or sum(counts) > _SAMPLES_PER_BLOCK_MAX:
        return False
    longest_ms = max(entry.name.window_ms for entry in members)
    is_late = longest_ms == window_ms and len(members) <= _LATE_BLOCKS_MAX
    return not is_late or (sum(counts) - max(counts)) * _LATE_PART >= max(counts)
