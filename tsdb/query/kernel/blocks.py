"""Matrices in pieces: what is held besides a result stays bounded, and between two pieces there is time to look up.

A piece is large enough that the calls into numpy cost nothing beside the work in them, and small enough that none
takes half a second: 1 Mi cells are 5–20 ms for a rate, and 8 MiB for each matrix of temporaries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tsdb.query.kernel.steps import Bools, Steps
from tsdb.sample import Float64s, Int64s, Labels, Selection, SharedTimes, series_times

BLOCK_CELLS = 2**20
BLOCK_SAMPLES = 2**21
# What is held besides the result while one piece is worked on: a dozen matrices (96 MiB for a full piece), and five
# columns of its samples (80 MiB), such as those without stale markers and tables of sums.
CELL_TEMPORARY_BYTES = 96
SAMPLE_TEMPORARY_BYTES = 40

NO_LABELS: tuple[Labels, ...] = ((),)

Check = Callable[[], None]
"""Raises to end an operation: its time is over, or nobody waits for it."""


def unchecked() -> None:
    """Nobody minds how long it takes."""


def temporary_bytes(cell_count: int) -> int:
    """What working on so many cells in pieces needs besides their result."""
    return CELL_TEMPORARY_BYTES * min(cell_count, BLOCK_CELLS)


def temporary_sample_bytes(offsets: Int64s) -> int:
    """The same for samples; a single series is never cut."""
    longest = int(np.diff(offsets).max(initial=0))
    return SAMPLE_TEMPORARY_BYTES * max(longest, min(int(offsets[-1]), BLOCK_SAMPLES))


def series_blocks(offsets: Int64s, step_count: int, cells_max: int = BLOCK_CELLS) -> Iterator[slice]:
    """Runs of series: at most so many cells and BLOCK_SAMPLES samples each, but one series at least."""
    series_count = offsets.size - 1
    height = max(1, cells_max // max(step_count, 1))
    if series_count <= height and int(offsets[-1]) <= BLOCK_SAMPLES:
        yield slice(0, series_count)
        return
    top = 0
    while top < series_count:
        fitting = int(np.searchsorted(offsets, int(offsets[top]) + BLOCK_SAMPLES, side="right")) - 1
        end = min(max(min(top + height, fitting), top + 1), series_count)
        yield slice(top, end)
        top = end


def step_blocks(step_count: int, width: int = BLOCK_CELLS, cut: int = 0) -> Iterator[slice]:
    """Runs of at most so many steps each; none has steps from both sides of the cut."""
    for start, end in ((0, cut), (cut, step_count)):
        for left in range(start, end, max(width, 1)):
            yield slice(left, min(left + max(width, 1), end))


def tiles(shape: tuple[int, ...], cells: int = BLOCK_CELLS) -> Iterator[tuple[slice, slice]]:
    """The whole of a (series, steps) matrix in pieces of at most so many cells."""
    rows, steps = shape
    if rows * steps <= cells:
        yield slice(0, rows), slice(0, steps)
        return
    width = min(steps, cells)
    height = max(1, cells // width)
    for top in range(0, rows, height):
        for columns in step_blocks(steps, width):
            yield slice(top, min(top + height, rows)), columns


def by_tiles(shape: tuple[int, ...], compute: Callable[[slice, slice], Float64s], check: Check = unchecked) -> Float64s:
    """A matrix from its pieces: compute gives the values of some rows and columns."""
    rows, steps = shape
    if rows * steps <= BLOCK_CELLS:
        return compute(slice(0, rows), slice(0, steps))
    result = np.empty(shape)
    for top, columns in tiles(shape):
        check()
        result[top, columns] = compute(top, columns)
    return result


def bools_by_tiles(shape: tuple[int, ...], compute: Callable[[slice, slice], Bools], check: Check = unchecked) -> Bools:
    """As by_tiles, for masks."""
    rows, steps = shape
    if rows * steps <= BLOCK_CELLS:
        return compute(slice(0, rows), slice(0, steps))
    result = np.empty(shape, np.bool_)
    for top, columns in tiles(shape):
        check()
        result[top, columns] = compute(top, columns)
    return result


def steps_at(steps: Steps, columns: slice) -> Steps:
    return Steps(steps.first_ms + columns.start * steps.step_ms, steps.step_ms, columns.stop - columns.start)


def series_at(selection: Selection, rows: slice, after_ms: int, until_ms: int) -> tuple[Selection, slice]:
    """Some of the series, as views, and which samples those are; of a single one only what lies in [after, until].

    What is written out of shared times is given back with the piece.
    """
    offsets, shared = selection.offsets, selection.times_ms
    times_ms: Int64s | SharedTimes
    start, end = int(offsets[rows.start]), int(offsets[rows.stop])
    if rows.stop - rows.start == 1:
        of_it_ms = series_times(shared, offsets, rows.start)
        end = start + int(np.searchsorted(of_it_ms, until_ms, side="right"))
        start += int(np.searchsorted(of_it_ms, after_ms, side="left"))
        end = max(start, end)
        times_ms = of_it_ms[start - int(offsets[rows.start]) : end - int(offsets[rows.start])]
        offsets = np.array([0, end - start], np.int64)
    elif isinstance(shared, SharedTimes):
        times_ms = SharedTimes(shared.of_each_ms, rows.stop - rows.start)
        offsets = offsets[rows.start : rows.stop + 1] - start
    elif rows == slice(0, offsets.size - 1):
        return selection, slice(start, end)
    else:
        times_ms = shared[start:end]
        offsets = offsets[rows.start : rows.stop + 1] - start
    part = replace(
        selection,
        labels=NO_LABELS * (rows.stop - rows.start),  # Nobody asks for them by piece, and to cut them may be dear.
        offsets=offsets,
        times_ms=times_ms,
        value=selection.value[start:end],
    )
    return part, slice(start, end)
