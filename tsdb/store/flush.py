"""From sorted rows to blocks on disk: which windows, which order of rows, and the writing, bounded in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsdb.sample import Int32s, Int64s
from tsdb.store.block.layout import WINDOW_MS, BlockEntry, BlockName
from tsdb.store.block.writer import BlockWriter
from tsdb.store.columns import Rows, merged, stable_order
from tsdb.store.disk import Disk
from tsdb.store.head import Run
from tsdb.store.index import SeriesIndex
from tsdb.store.pieces import Pieces, copy_ranges
from tsdb.store.sorted_run import SortedRun
from tsdb.store.windows import Span, WindowLimits, spans_of

# Samples merged at once: 2 Mi × 16 B, three times over while they are moved: about 100 MiB at the peak.
_PIECE_SAMPLE_COUNT = 1 << 21
# Up to so many windows every run is read once per window; beyond, as after a backfill, it is told first which of its
# samples lie in which: 32 B for each stretch of a series, from the start of the flush to its end.
_READ_PER_SPAN_COUNT_MAX = 4

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


def flush_runs(folder: BlockFolder, index: SeriesIndex, runs: Sequence[Run], limits: WindowLimits) -> list[BlockEntry]:
    """Write every sample of some runs into blocks, one for each window that has any; all of them or none."""
    done = [run.sort() for run in runs]
    if not done:
        return []
    first, last = min(run.min_ms for run in runs) // WINDOW_MS, max(run.max_ms for run in runs) // WINDOW_MS
    if last - first < _READ_PER_SPAN_COUNT_MAX:
        windows = np.arange(first, last + 1)
    else:
        is_there = np.zeros(last - first + 1, np.bool_)
        for part in done:
            is_there[part.timestamp_ms // WINDOW_MS - first] = True
        windows = first + np.flatnonzero(is_there)
    spans = spans_of(windows, limits)
    parts_of = _overlapping(runs, done, spans) if len(spans) <= _READ_PER_SPAN_COUNT_MAX else _cut(folder, done, spans)
    entries: list[BlockEntry] = []
    try:
        for span, parts in zip(spans, parts_of, strict=True):
            if parts:
                entry = _flush_span(folder, index, span, parts)
                entries += [entry] if entry is not None else []
    except BaseException:
        # Nobody will know these blocks, and the next try writes them again: on a full disk they would pile up.
        for entry in entries:
            folder.disk.remove(folder.path / str(entry.name))
        raise
    return entries


def _overlapping(runs: Sequence[Run], done: Sequence[SortedRun], spans: Sequence[Span]) -> list[list[Pieces]]:
    """By span, the whole of each run that may have samples in it."""
    return [
        [
            part.all_pieces
            for part, run in zip(done, runs, strict=True)
            if run.min_ms < span.end_ms and run.max_ms >= span.start_ms
        ]
        for span in spans
    ]


def _cut(folder: BlockFolder, done: Sequence[SortedRun], spans: Sequence[Span]) -> list[list[Pieces]]:
    """By span, what of each run lies in it."""
    starts_ms = np.array([span.start_ms for span in spans], np.int64)
    parts_of: list[list[Pieces]] = [[] for _ in spans]
    for part in done:
        for number, pieces in split(part, starts_ms):
            parts_of[number].append(pieces)
        folder.breathe()
    return parts_of


def _flush_span(folder: BlockFolder, index: SeriesIndex, span: Span, parts: Sequence[Pieces]) -> BlockEntry | None:
    ids = _ids_of(parts)
    sample_count = sum(int(part.lengths.sum()) for part in parts)

    def take(wanted: Int32s) -> list[Rows]:
        return [part.of_rows(wanted).clipped(span.start_ms, span.end_ms - 1).gathered() for part in parts]

    return write_block(folder, span.start_ms, span.window_ms, index, ids, sample_count, take)


def _ids_of(parts: Sequence[Pieces]) -> Int32s:
    """The series of all parts; ids are dense, so that marking them is far cheaper than sorting."""
    is_there = np.zeros(1 + max(int(part.row[-1]) for part in parts), np.bool_)
    for part in parts:
        is_there[part.row] = True
    return np.flatnonzero(is_there).astype(np.int32)


def split(part: SortedRun, starts_ms: Int64s) -> Iterator[tuple[int, Pieces]]:
    """The samples of a run by the stretch of time in which they lie, each from one start to before the next: its
    number and pieces of distinct rows, which rise. Nothing is copied.

    starts_ms: rising, the first not after any sample.
    """
    number_of_time = np.searchsorted(starts_ms, part.timestamp_ms, side="right") - 1
    number = np.empty(part.sample_count, np.int64)
    lengths = part.lengths
    copy_ranges(number_of_time, part.time_starts, lengths, number, part.offsets[:-1])
    is_first = np.append(True, number[1:] != number[:-1])
    is_first[part.offsets[:-1]] = True
    starts = np.flatnonzero(is_first)
    number = number[starts]
    at = np.repeat(np.arange(part.row.size), np.add.reduceat(is_first, part.offsets[:-1], dtype=np.int64))
    times = part.time_starts[at] + (starts - part.offsets[at])
    counts = np.diff(starts, append=part.sample_count)
    order = stable_order(number.astype(np.int32))
    firsts = np.flatnonzero(np.append(True, np.diff(number[order]) != 0))
    for first, end in zip(firsts.tolist(), [*firsts[1:].tolist(), order.size], strict=True):
        those = order[first:end]
        pieces = Pieces(part.row[at[those]], times[those], counts[those], part.timestamp_ms, part.value, starts[those])
        yield int(number[those[0]]), pieces
