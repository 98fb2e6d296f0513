"""From sorted rows to blocks on disk: which windows, which order of rows, and the writing, bounded in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsdb.sample import Int32s, Int64s
from tsdb.store.block.layout import WINDOW_MS, BlockEntry, BlockName
from tsdb.store.block.writer import BlockWriter
from tsdb.store.columns import Columns, Rows, merged, rows_of
from tsdb.store.disk import Disk
from tsdb.store.head import Run
from tsdb.store.index import SeriesIndex
from tsdb.store.sorted_run import SortedRun

# Samples merged at once: 2 Mi × 16 B, three times over while they are moved: about 100 MiB at the peak.
_PIECE_SAMPLE_COUNT = 1 << 21
# Up to so many windows every run is read once per window; beyond, as after a backfill, runs are split first.
_READ_PER_WINDOW_COUNT_MAX = 4

Take = Callable[[Int32s], Sequence[Rows]]
"""The samples of some series as parts to be merged; a row's number is the place of its series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFolder:
    """Where blocks are written, and what the writing needs from the engine."""

    disk: Disk
    path: Path
    next_number: Callable[[], int]
    breathe: Callable[[], None]


def write_block(
    folder: BlockFolder,
    start_ms: int,
    window_ms: int,
    index: SeriesIndex,
    ids: Int32s,
    sample_count: int,
    take: Take,
    replaces: Sequence[str] = (),
) -> BlockEntry | None:
    """Write the samples of some series as one block, durably; None if there is none.

    ids: distinct, in any order; sample_count: about how many samples they have, which sets the size of the pieces.
    """
    ids = block_order(index, ids)
    name = BlockName(start_ms, window_ms, folder.next_number())
    writer = BlockWriter(folder.disk, folder.path, name, index.keys_of(ids), index.shape_rank(ids), folder.breathe)
    piece_count = max(1, _PIECE_SAMPLE_COUNT * ids.size // max(1, sample_count))
    try:
        for start in range(0, ids.size, piece_count):
            piece = ids[start : start + piece_count]
            rows = merged(take(piece), piece.size)
            writer.add(rows._replace(row=rows.row + start))

        def describe(candidates: Int64s) -> Sequence[bytes]:
            return index.canonical_of(ids[candidates])

        return writer.finish(describe, replaces)
    except BaseException:
        writer.abandon()
        raise


def block_order(index: SeriesIndex, ids: Int32s) -> Int32s:
    """Ids in the order in which a block holds their rows: similar series together, then by key."""
    keys = index.keys_of(ids)
    return ids[np.lexsort((keys.low, keys.high, index.shape_rank(ids)))]


def flush_runs(folder: BlockFolder, index: SeriesIndex, runs: Sequence[Run]) -> list[BlockEntry]:
    """Write every sample of some runs into blocks, one for each window that has any; all of them or none."""
    done = [run.sort() for run in runs]
    if not done:
        return []
    first = min(run.min_ms for run in runs) // WINDOW_MS
    last = max(run.max_ms for run in runs) // WINDOW_MS
    parts_of: dict[int, list[SortedRun]] = {}
    if last - first < _READ_PER_WINDOW_COUNT_MAX:
        for window in range(first, last + 1):
            low, high = window * WINDOW_MS, (window + 1) * WINDOW_MS
            parts_of[window] = [
                part for part, run in zip(done, runs, strict=True) if run.min_ms < high and run.max_ms >= low
            ]
    else:
        for part in done:
            for window, rows in split_by_window(part.rows):
                parts_of.setdefault(window, []).append(SortedRun.of(rows))
    entries: list[BlockEntry] = []
    try:
        for window, parts in sorted(parts_of.items()):
            if parts:
                entry = _flush_window(folder, index, window * WINDOW_MS, parts)
                entries += [entry] if entry is not None else []
    except BaseException:
        # Nobody will know these blocks, and the next try writes them again: on a full disk they would pile up.
        for entry in entries:
            folder.disk.remove(folder.path / str(entry.name))
        raise
    return entries


def _flush_window(
    folder: BlockFolder, index: SeriesIndex, start_ms: int, parts: Sequence[SortedRun]
) -> BlockEntry | None:
    ids = _ids_of(parts)
    sample_count = sum(part.sample_count for part in parts)
    end_ms = start_ms + WINDOW_MS - 1

    def take(wanted: Int32s) -> list[Rows]:
        return [part.taken(wanted).clipped(start_ms, end_ms) for part in parts]

    return write_block(folder, start_ms, WINDOW_MS, index, ids, sample_count, take)


def _ids_of(parts: Sequence[SortedRun]) -> Int32s:
    """The series of all parts; ids are dense, so that marking them is far cheaper than sorting."""
    is_there = np.zeros(1 + max(int(part.row[-1]) for part in parts), np.bool_)
    for part in parts:
        is_there[part.row] = True
    return np.flatnonzero(is_there).astype(np.int32)


def split_by_window(rows: Rows) -> list[tuple[int, Rows]]:
    """Rows by the number of the window in which their samples lie."""
    window = rows.timestamp_ms // WINDOW_MS
    series = np.repeat(rows.row, rows.lengths).astype(np.int32)
    order = np.argsort(window, kind="stable")  # Within a window the order by series and time stays.
    numbers, starts = np.unique(window[order], return_index=True)
    split = []
    for number, start, end in zip(numbers.tolist(), starts, [*starts[1:], window.size], strict=True):
        at = order[start:end]
        split.append((number, rows_of(Columns(series[at], rows.timestamp_ms[at], rows.value[at]))))
    return split
