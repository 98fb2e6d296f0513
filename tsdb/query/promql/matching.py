"""How the rows of two vectors find each other: on/ignoring, group_left/group_right, fill, and the set operators.

Which rows belong together is decided once for all steps, by label sets; whether both have a value is a mask. So the
checks for ambiguity are masks too: an ambiguous match is an error only at a step where it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.errors import QueryFailed
from tsdb.query.kernel.blocks import BLOCK_CELLS, step_blocks, temporary_bytes
from tsdb.query.kernel.groups import Grouping, reduce_rows
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.kernel.windows import row_blocks
from tsdb.query.promql.labels import dropping, keeping, numbered, text_of, united, without_labels, without_names
from tsdb.query.promql.ledger import CELL_BYTES, Ledger
from tsdb.query.promql.nodes import Cardinality, Matching
from tsdb.query.promql.values import Vector
from tsdb.sample import Float64s, Int64s, Labels

Apply = Callable[[Float64s, Float64s], tuple[Float64s, Bools | None]]
"""(left, right) → the values, and where a comparison keeps them (None: everywhere)."""


def match_labels(labels: Sequence[Labels], matching: Matching) -> list[Labels]:
    """What a row is matched by."""
    return keeping(labels, matching.labels) if matching.is_on else dropping(labels, matching.labels)


@dataclass(frozen=True, slots=True)
class Sides:
    """The two vectors by their part in the match, with the number of every row's match group.

    The sides are swapped for group_right, so that each group has at most one row of `one` at a step.
    """

    many: Vector
    one: Vector
    group_of_many: Int64s
    group_of_one: Int64s
    group_count: int

    @staticmethod
    def of(matching: Matching, left: Vector, right: Vector) -> Sides:
        many, one = (right, left) if matching.cardinality is Cardinality.ONE_TO_MANY else (left, right)
        keys = match_labels(many.labels, matching) + match_labels(one.labels, matching)
        numbers, first_index = numbered(keys)
        return Sides(many, one, numbers[: many.row_count], numbers[many.row_count :], len(first_index))

    def pairs(self) -> tuple[Int64s, Int64s]:
        """Every (row of many, row of one) of the same group, in the order of many."""
        order = np.argsort(self.group_of_one, kind="stable")
        in_order = self.group_of_one[order]
        starts = np.searchsorted(in_order, self.group_of_many, side="left")
        count = np.searchsorted(in_order, self.group_of_many, side="right") - starts
        many = np.repeat(np.arange(count.size), count)
        within = np.arange(many.size) - (np.cumsum(count) - count)[many]
        return many, order[starts[many] + within]


def _present_by_group(present: Bools, group_of_row: Int64s, group_count: int) -> Float64s:
    """How many rows of each group have a value at each step; groups without a row have none."""
    count = np.zeros((group_count, present.shape[1]))
    if group_of_row.size:
        groups, compact = np.unique(group_of_row, return_inverse=True)
        count[groups] = reduce_rows(np.add, present.astype(np.float64), Grouping(compact, groups.size))
    return count


def combine_sets(operator: str, matching: Matching, left: Vector, right: Vector, ledger: Ledger) -> Vector:
    """and, or, unless. Every match is allowed. Raises: what asking the ledger for room raises."""
    cell_count = left.cells.value.size + right.cells.value.size
    keys = match_labels(left.labels, matching) + match_labels(right.labels, matching)
    numbers, first_index = numbered(keys)
    of_left, of_right = numbers[: left.row_count], numbers[left.row_count :]
    # The result, and a copy of its rows that have values.
    with ledger.room(2 * CELL_BYTES * cell_count + temporary_bytes(cell_count)):
        if operator == "or":
            mask = _mask_by_group(right.cells.present, of_right, left.cells.present, of_left, len(first_index), ledger)
            added = right.with_cells(Cells(right.cells.value, right.cells.present & ~mask)).filled_rows()
            combined = united(_stacked([left, added]))
        else:
            mask = _mask_by_group(left.cells.present, of_left, right.cells.present, of_right, len(first_index), ledger)
            kept = left.cells.present & (mask if operator == "and" else ~mask)
            combined = left.with_cells(Cells(left.cells.value, kept)).filled_rows()
        ledger.hold(combined.cells.value, combined.cells.present)
    return combined


def _mask_by_group(
    present: Bools, group_of_row: Int64s, other: Bools, group_of_other: Int64s, group_count: int, ledger: Ledger
) -> Bools:
    """For each cell of one side: whether the other side has anything in its group at that step."""
    mask = np.empty(present.shape, np.bool_)
    for columns in step_blocks(present.shape[1], BLOCK_CELLS // max(present.shape[0] + other.shape[0], 1)):
        ledger.check()
        mask[:, columns] = (_present_by_group(other[:, columns], group_of_other, group_count) > 0)[group_of_row]
    return mask


def _stacked(vectors: Sequence[Vector]) -> Vector:
    return Vector(
        [labels for vector in vectors for labels in vector.labels],
        Cells(
            np.concatenate([vector.cells.value for vector in vectors]),
            np.concatenate([vector.cells.present for vector in vectors]),
        ),
        np.concatenate([vector.unnamed for vector in vectors]),
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows about to be combined: where both operands of each stand, its group, and the label sets of both sides.

    A row number of -1 stands for a side that has none: the fill value is taken.
    """

    many: Int64s
    one: Int64s
    present: Bools
    group: Int64s
    many_labels: Sequence[Labels]
    one_labels: Sequence[Labels]
    unnamed: Bools


def combine_vectors(
    matching: Matching,
    left: Vector,
    right: Vector,
    apply: Apply,
    ledger: Ledger,
    *,
    drops_name: bool,
    marks_name: bool = False,
) -> Vector:
    """Apply an operator to matching rows.

    drops_name: the result has no metric name; marks_name: it is to lose it at the end of the query.
    Raises: QueryFailed, where more than one row matches and no group_left or group_right allows it; what asking the
    ledger for room raises.
    """
    sides = Sides.of(matching, left, right)
    # After group_right has swapped the sides Prometheus does not swap the fill values: fill_left fills "many" always.
    fill_one, fill_many = matching.fill_right, matching.fill_left
    is_filled = fill_one is not None or fill_many is not None
    step_count = left.cells.value.shape[1]
    with ledger.room(16 * step_count * sides.group_count):
        _check_one_side(sides, matching, is_filled=is_filled)
    many, one = sides.pairs()
    row_count = many.size
    row_count += (sides.many.row_count if fill_one is not None else 0) + (sides.one.row_count if is_filled else 0)
    cell_count = row_count * step_count
    ledger.limits.check_samples(cell_count, "needs")
    # The result and its mask; a copy of its rows that have values; counts by group.
    with ledger.room((2 * CELL_BYTES + 16) * cell_count + temporary_bytes(cell_count)):
        rows = [_matched_rows(sides, many, one)]
        if fill_one is not None:
            rows.append(_rows_without_one(sides, matching))
        if fill_many is not None:
            rows.append(_rows_without_many(sides, matching))
        joined = _joined(rows)
        labels = _result_labels(joined, matching, drops_name=drops_name)
        _check_many_side(joined, labels, matching)  # Also of what a comparison will not keep.
        swapped = matching.cardinality is Cardinality.ONE_TO_MANY
        cells = _applied(apply, joined, sides, (fill_many, fill_one), ledger, swapped=swapped)
        unnamed = np.ones(len(labels), np.bool_) if marks_name else joined.unnamed
        combined = united(Vector(labels, cells, unnamed).filled_rows())
        ledger.hold(combined.cells.value, combined.cells.present)
    return combined


def _applied(
    apply: Apply,
    rows: Rows,
    sides: Sides,
    fills: tuple[float | None, float | None],
    ledger: Ledger,
    *,
    swapped: bool,
) -> Cells:
    """The operator on all rows, some of them at a time. fills: what stands for a missing row of many, and of one."""
    present = rows.present
    value = np.empty(present.shape)
    for block in row_blocks(present.shape, BLOCK_CELLS):
        ledger.check()
        many = _gathered(sides.many.cells, rows.many[block], fills[0])
        one = _gathered(sides.one.cells, rows.one[block], fills[1])
        value[block], kept = apply(one, many) if swapped else apply(many, one)
        if kept is not None:
            present[block] &= kept
    return Cells(value, present)


def _gathered(cells: Cells, index: Int64s, fill: float | None) -> Float64s:
    if fill is None:
        return cells.value[index]
    if not cells.value.shape[0]:
        return np.full((index.size, cells.value.shape[1]), fill)
    return np.where((index < 0)[:, None], fill, cells.value[index])


def _matched_rows(sides: Sides, many: Int64s, one: Int64s) -> Rows:
    return Rows(
        many,
        one,
        sides.many.cells.present[many] & sides.one.cells.present[one],
        sides.group_of_many[many],
        [sides.many.labels[i] for i in many.tolist()],
        [sides.one.labels[i] for i in one.tolist()],
        sides.many.unnamed[many],
    )


def _rows_without_one(sides: Sides, matching: Matching) -> Rows:
    """The cells of `many` whose group has nothing on the other side, with the fill value there."""
    many = sides.many
    found = _present_by_group(sides.one.cells.present, sides.group_of_one, sides.group_count) > 0
    return Rows(
        np.arange(many.row_count),
        np.full(many.row_count, -1),
        many.cells.present & ~found[sides.group_of_many],
        sides.group_of_many,
        many.labels,
        match_labels(many.labels, matching),
        many.unnamed,
    )


def _rows_without_many(sides: Sides, matching: Matching) -> Rows:
    one = sides.one
    found = _present_by_group(sides.many.cells.present, sides.group_of_many, sides.group_count) > 0
    return Rows(
        np.full(one.row_count, -1),
        np.arange(one.row_count),
        one.cells.present & ~found[sides.group_of_one],
        sides.group_of_one,
        match_labels(one.labels, matching),
        one.labels,
        np.zeros(one.row_count, np.bool_),
    )


def _joined(rows: Sequence[Rows]) -> Rows:
    if len(rows) == 1:
        return rows[0]
    return Rows(
        np.concatenate([part.many for part in rows]),
        np.concatenate([part.one for part in rows]),
        np.concatenate([part.present for part in rows]),
        np.concatenate([part.group for part in rows]),
        [labels for part in rows for labels in part.many_labels],
        [labels for part in rows for labels in part.one_labels],
        np.concatenate([part.unnamed for part in rows]),
    )


def _result_labels(rows: Rows, matching: Matching, *, drops_name: bool) -> list[Labels]:
    """The labels of the result. Source: Prometheus promql/engine.go, resultMetric."""
    labels = without_names(rows.many_labels) if drops_name else list(rows.many_labels)
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        if matching.is_on:
            labels = keeping(labels, matching.labels)
        elif matching.labels:
            labels = without_labels(labels, matching.labels)
    if matching.included:
        labels = _with_included(labels, rows.one_labels, matching.included)
    return labels


def _with_included(labels: Sequence[Labels], one_labels: Sequence[Labels], included: Sequence[str]) -> list[Labels]:
    """The named labels come from the "one" side; where it lacks one, the result lacks it too."""
    kept, added = without_labels(labels, included), keeping(one_labels, included)
    return [tuple(sorted(row + one)) for row, one in zip(kept, added, strict=True)]


def _check_one_side(sides: Sides, matching: Matching, *, is_filled: bool) -> None:
    """Two rows of one group on the "one" side are an error at every step where both have a value."""
    if np.unique(sides.group_of_one).size == sides.group_of_one.size:
        return
    count = _present_by_group(sides.one.cells.present, sides.group_of_one, sides.group_count)
    ambiguous = count > 1
    if not is_filled:
        ambiguous &= sides.many.cells.present.any(axis=0)  # Nothing is looked up where the other side is empty.
    if not ambiguous.any():
        return
    group, step = (int(found[0]) for found in np.nonzero(ambiguous))
    rows = np.flatnonzero((sides.group_of_one == group) & sides.one.cells.present[:, step]).tolist()
    first, second = sorted([sides.one.labels[i] for i in rows[:2]])
    side = "left" if matching.cardinality is Cardinality.ONE_TO_MANY else "right"
    match_group = text_of(match_labels([first], matching)[0])
    raise QueryFailed(
        f"found duplicate series for the match group {match_group} on the {side} hand-side of the operation: "
        f"[{text_of(second)}, {text_of(first)}];many-to-many matching not allowed: "
        f"matching labels must be unique on one side"
    )


def _check_many_side(rows: Rows, labels: list[Labels], matching: Matching) -> None:
    """Rows of one group: at most one in one-to-one, else no two with the same labels, at any step."""
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        keys: Sequence[object] = rows.group.tolist()
        message = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
    else:
        keys = list(zip(rows.group.tolist(), labels, strict=True))
        message = "multiple matches for labels: grouping labels must ensure unique matches"
    numbers, first_index = numbered(keys)
    if len(first_index) == len(labels):
        return
    if (_present_by_group(rows.present, numbers, len(first_index)) > 1).any():
        raise QueryFailed(message)
