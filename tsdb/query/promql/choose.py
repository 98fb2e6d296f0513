"""topk, bottomk, limitk and limit_ratio: aggregations that give some of the rows themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.errors import QueryFailed
from tsdb.query.kernel.blocks import BLOCK_CELLS, step_blocks, temporary_bytes
from tsdb.query.kernel.groups import Grouping
from tsdb.query.kernel.order import extreme_rows, first_rows
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.promql.annotations import Annotations
from tsdb.query.promql.ledger import Ledger
from tsdb.query.promql.nodes import Aggregation
from tsdb.query.promql.numbers import text_of_number
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import Float64s, Int64s, Labels

# Prometheus refuses a count that its int64 cannot hold.
COUNT_MAX = float(2**63)
COUNTED = ("topk", "bottomk", "limitk")
RATIO = "limit_ratio"


@dataclass(frozen=True, slots=True)
class Choice:
    """How many rows are taken of each group at each step: a count, or for limit_ratio a share from -1 to 1."""

    name: str
    count: Int64s
    ratio: Float64s

    def of(self, cells: Cells, grouping: Grouping, columns: slice) -> Bools:
        """The cells of some steps that are taken."""
        if self.name == "limitk":
            return first_rows(cells, grouping, self.count[columns])
        return extreme_rows(cells, grouping, self.count[columns], largest=self.name == "topk")


def choice_of(node: Aggregation, parameter: Value | None, annotations: Annotations) -> Choice | None:
    """None, if the aggregation is of another kind. Raises: QueryFailed, for a parameter that is no count or ratio."""
    if node.name not in (*COUNTED, RATIO):
        return None
    assert isinstance(parameter, Scalar), parameter
    if node.name != RATIO:
        return Choice(node.name, _counts(parameter.value), np.empty(0))
    if np.isnan(parameter.value).any():
        raise QueryFailed("Ratio value is NaN")
    annotations.check_ratios(parameter.value, node.parameter_place)
    return Choice(node.name, np.empty(0, np.int64), np.clip(parameter.value, -1.0, 1.0))


def _counts(parameter: Float64s) -> Int64s:
    if np.isnan(parameter).any():
        raise QueryFailed("Parameter value is NaN")
    if (np.abs(parameter) >= COUNT_MAX).any():
        raise QueryFailed(f"Scalar value {text_of_number(float(np.abs(parameter).max()))} overflows int64")
    return parameter.astype(np.int64)


def step_runs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Steps in runs of at most BLOCK_CELLS cells: no aggregation looks from one step to another."""
    return step_blocks(shape[1], BLOCK_CELLS // max(shape[0], 1))


def chosen(choice: Choice, vector: Vector, grouping: Grouping, ledger: Ledger) -> Vector:
    """The rows themselves, with only the chosen cells present."""
    shape = vector.cells.value.shape
    # The mask, a copy of the rows that have something chosen, and orders and ranks of one block.
    with ledger.room(10 * vector.cells.value.size + temporary_bytes(vector.cells.value.size)):
        if choice.name == RATIO:
            mask = vector.cells.present & _sampled(_places(vector.labels), choice.ratio)
        else:
            mask = np.empty(shape, np.bool_)
            for columns in step_runs(shape):
                ledger.check()
                cells = Cells(vector.cells.value[:, columns], vector.cells.present[:, columns])
                mask[:, columns] = choice.of(cells, grouping, columns)
        kept = vector.with_cells(Cells(vector.cells.value, mask)).filled_rows()
        ledger.hold(kept.cells.value, kept.cells.present)
    if choice.name not in ("topk", "bottomk") or kept.cells.value.shape[1] > 1 or not kept.row_count:
        return kept
    return _ordered(kept, largest=choice.name == "topk")


def _ordered(vector: Vector, *, largest: bool) -> Vector:
    """An instant answer comes best first."""
    value = vector.cells.value[:, 0]
    return vector.rows(np.argsort(-value if largest else value, kind="stable"))


def _places(labels: Sequence[Labels]) -> Float64s:
    """A place in [0, 1) for each label set, always the same one, and evenly spread."""
    digests = b"".join([hashlib.blake2b(text.encode(), digest_size=8).digest() for text in map(repr, labels)])
    places: Float64s = (np.frombuffer(digests, "<u8") >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return places


def _sampled(places: Float64s, ratio: Float64s) -> Bools:
    """A share from the bottom, or of a negative ratio from the top: a and a - 1 complement each other."""
    sampled: Bools = np.where(ratio >= 0, places[:, None] < ratio, places[:, None] >= 1.0 + ratio)
    return sampled
