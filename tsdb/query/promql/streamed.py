"""Aggregations that take what a range function gives piece by piece, so that the matrix of all series never is.

A piece fits the cache of a core; a sum over 100,000 series at 360 steps then needs no 300 MB of memory, nor the time to
write and read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsdb.query.kernel.accumulate import ACCUMULATORS, MATRIX_COUNT
from tsdb.query.kernel.blocks import temporary_bytes, temporary_sample_bytes
from tsdb.query.kernel.groups import Grouping
from tsdb.query.kernel.steps import Cells
from tsdb.query.promql.aggregate import aggregate
from tsdb.query.promql.functions import FUNCTIONS
from tsdb.query.promql.functions.family import OverWindows
from tsdb.query.promql.label_rows import CodedRows, rows_of, taken
from tsdb.query.promql.labels import METADATA, grouping_by, without_names
from tsdb.query.promql.nodes import Aggregation, Call
from tsdb.query.promql.values import Vector
from tsdb.sample import Labels

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator, Ranges

# 128 Ki cells × 8 B = 1 MiB for each of a few matrices.
PIECE_CELLS = 2**17


def streamed(evaluator: Evaluator, node: Aggregation) -> Vector | None:
    """The value of an aggregation of a range function; None, if it is of another kind."""
    call = node.inner
    if node.name not in ACCUMULATORS or not isinstance(call, Call) or evaluator.options.late_name_removal:
        return None
    function = FUNCTIONS.get(call.name)
    if not isinstance(function, OverWindows):
        return None
    ranges = function.ranges(evaluator, call)
    labels = rows_of(ranges.samples.labels)
    kept = labels if function.keeps_name else _without_names(labels)
    if kept is not None and labels:
        grouping, group_labels = grouping_by(kept, node.labels, is_without=node.is_without)
        found = _accumulated(evaluator, node.name, function, ranges, grouping)
        if found is not None:
            cells, is_row_filled = found
            function.tell(evaluator, call, taken(labels, np.flatnonzero(is_row_filled)))
            return Vector.named(group_labels, cells).filled_rows()
    vector = function.over(evaluator, call, ranges)
    return aggregate(node, vector, None, evaluator.ledger, evaluator.annotations)


def _without_names(labels: Sequence[Labels]) -> Sequence[Labels] | None:
    """None, if two rows then have equal labels: whether that is an error is seen by their values."""
    if isinstance(labels, CodedRows):
        return labels.without(METADATA)
    bare = without_names(labels)
    return bare if len(set(bare)) == len(bare) else None


def _accumulated(
    evaluator: Evaluator, name: str, function: OverWindows, ranges: Ranges, grouping: Grouping
) -> tuple[Cells, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]] | None:
    """The aggregate, and which series have any value; None, if it cannot be had in pieces."""
    shape = (grouping.group_count, evaluator.steps.count)
    ledger = evaluator.ledger
    ledger.limits.check_samples(shape[0] * shape[1], "needs")
    piece_bytes = temporary_bytes(min(PIECE_CELLS, grouping.group_of_row.size * shape[1]))
    piece_bytes += temporary_sample_bytes(ranges.samples.offsets)
    with ledger.room(8 * MATRIX_COUNT * shape[0] * shape[1] + piece_bytes):
        accumulator = ACCUMULATORS[name](*shape)
        is_row_filled = np.zeros(grouping.group_of_row.size, np.bool_)
        for rows, columns, cells in evaluator.window_blocks(ranges, function.of_steps, PIECE_CELLS):
            is_row_filled[rows] |= cells.present.any(axis=1)
            accumulator.add(cells, grouping.group_of_row[rows], columns)
        found = accumulator.finished()
        if found is None:
            return None
        ledger.hold(found.value, found.present)
    return found, is_row_filled
