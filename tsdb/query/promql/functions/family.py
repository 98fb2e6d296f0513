"""What a function is given and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tsdb.query.kernel.steps import Cells
from tsdb.query.kernel.windows import Windows
from tsdb.query.promql.labels import distinct_values
from tsdb.query.promql.nodes import Call
from tsdb.query.promql.rollups import READINGS
from tsdb.query.promql.values import Value, Vector
from tsdb.sample import METRIC_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tsdb.query.promql.evaluator import Evaluator, Ranges
    from tsdb.sample import Labels

Function: TypeAlias = "Callable[[Evaluator, Call], Value]"


@dataclass(frozen=True, slots=True)
class OverWindows:
    """A function of one range vector alone. An aggregation may take what it gives piece by piece.

    of_counter: it says so, if what it is given does not look like a counter.
    """

    reduce: Callable[[Windows], Cells]
    keeps_name: bool = False
    of_counter: bool = False

    def __call__(self, evaluator: Evaluator, node: Call) -> Value:
        return self.over(evaluator, node, self.ranges(evaluator, node))

    def ranges(self, evaluator: Evaluator, node: Call) -> Ranges:
        return evaluator.ranges(node.arguments[0], READINGS[node.name])

    def over(self, evaluator: Evaluator, node: Call, ranges: Ranges) -> Vector:
        vector = evaluator.over_ranges(ranges, self.of_steps)
        self.tell(evaluator, node, vector.labels)
        return vector if self.keeps_name else evaluator.unnamed(vector)

    def of_steps(self, windows: Windows, columns: slice) -> Cells:
        return self.reduce(windows)

    def tell(self, evaluator: Evaluator, node: Call, labels: Sequence[Labels]) -> None:
        """labels: of the series that have a value."""
        if self.of_counter:
            evaluator.annotations.check_counters(distinct_values(labels, METRIC_NAME), node.place(0))
