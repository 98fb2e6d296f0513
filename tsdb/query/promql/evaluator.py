"""The walk over the syntax tree: every node is evaluated once, at all steps together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsdb.errors import NotSupported, RefusedQuery
from tsdb.interface import SeriesSource
from tsdb.query.kernel.positions import positions
from tsdb.query.kernel.steps import Cells, Steps
from tsdb.query.kernel.windows import Windows, without_stale
from tsdb.query.promql import nodes
from tsdb.query.promql.aggregate import aggregate
from tsdb.query.promql.binary import combine
from tsdb.query.promql.functions import FUNCTIONS
from tsdb.query.promql.labels import finished, without_metric_name
from tsdb.query.promql.limits import Deadline, Limits, Options
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import Float64s, Int64s, Labels, Selection, is_stale


@dataclass(frozen=True, slots=True)
class Window:
    """The ranges that a range function sees: one row for every label set, one column for every step."""

    labels: list[Labels]
    unnamed: np.ndarray[tuple[int], np.dtype[np.bool_]]
    windows: Windows


@dataclass(frozen=True, slots=True)
class QueryRange:
    """What was asked for. An instant query has no step; the end of a range need not be one of its steps."""

    start_ms: int
    end_ms: int
    step_ms: int | None


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Everything one evaluation needs. `query` is the range of the whole query, `steps` those of the (sub)query.

    Nothing in it changes, so a subquery is another Evaluator with other steps.
    """

    source: SeriesSource
    query: QueryRange
    steps: Steps
    limits: Limits
    deadline: Deadline
    options: Options

    def evaluate(self, node: nodes.Node) -> Value:
        """The value of a node at all steps. Raises: RefusedQuery and its kin."""
        self.deadline.check("expression evaluation")
        if isinstance(node, nodes.Number):
            return Scalar(np.full(self.steps.count, node.value))
        if isinstance(node, nodes.Text):
            return node.value
        if isinstance(node, nodes.Selector):
            return self._instant_vector(node)
        if isinstance(node, nodes.Binary):
            return self._binary(node)
        if isinstance(node, nodes.Negation):
            return self._negation(node)
        if isinstance(node, nodes.Aggregation):
            parameter = None if node.parameter is None else self.evaluate(node.parameter)
            return aggregate(node, self.vector(node.inner), parameter)
        if isinstance(node, nodes.Call):
            function = FUNCTIONS.get(node.name)
            if function is None:
                raise NotSupported(f"the function {node.name}()")
            return function(self, node)
        raise RefusedQuery("a range vector is only allowed as the argument of a function, or alone in an instant query")

    def vector(self, node: nodes.Node) -> Vector:
        value = self.evaluate(node)
        assert isinstance(value, Vector), node
        return value

    def scalar(self, node: nodes.Node) -> Float64s:
        """float64[steps]."""
        value = self.evaluate(node)
        assert isinstance(value, Scalar), node
        return value.value

    def text(self, node: nodes.Node) -> str:
        value = self.evaluate(node)
        assert isinstance(value, str), node
        return value

    def unnamed(self, vector: Vector) -> Vector:
        """The vector as a function leaves it: its metric names dropped."""
        return without_metric_name(vector, late=self.options.late_name_removal)

    def steps_of(self, moment: nodes.Moment) -> Steps:
        """When a selector is read: the evaluation steps, or the one time given by @; less the offset."""
        if moment.at is None:
            return self.steps.shifted(-moment.offset_ms)
        if moment.at is nodes.Anchor.START:
            at_ms = self.query.start_ms
        elif moment.at is nodes.Anchor.END:
            at_ms = self.query.end_ms
        else:
            assert isinstance(moment.at, int)
            at_ms = moment.at
        return Steps(at_ms - moment.offset_ms, 1, 1)

    def select(self, selector: nodes.Selector, first_ms: int, last_ms: int) -> Selection:
        """The samples of a selector in (first_ms, last_ms], within the limits."""
        selection = self.source.select(selector.matchers, first_ms + 1, last_ms)
        self.limits.check_series(selection.series_count)
        self.limits.check_samples(int(selection.timestamp_ms.size))
        self.deadline.check("query preparation")
        return selection

    def instants(self, selector: nodes.Selector) -> tuple[list[Labels], Cells, Int64s]:
        """The latest sample of every series at every step, not older than the look-back, and its time in ms."""
        steps = self.steps_of(selector.moment)
        lookback_ms = self.options.lookback_ms
        selection = self.select(selector, steps.first_ms - lookback_ms, steps.last_ms)
        self.limits.check_samples(selection.series_count * self.steps.count, "needs")
        shape = (selection.series_count, self.steps.count)
        if not selection.timestamp_ms.size:
            return (
                [],
                Cells(np.empty((0, shape[1])), np.empty((0, shape[1]), np.bool_)),
                np.empty((0, shape[1]), np.int64),
            )
        index = positions(selection.offsets, selection.timestamp_ms, steps) - 1
        present = index >= selection.offsets[:-1, None]
        np.maximum(index, 0, out=index)
        times_ms = selection.timestamp_ms[index]
        present &= times_ms > steps.times_ms() - lookback_ms
        value = selection.value[index]
        stale = is_stale(value)
        if stale.any():
            present &= ~stale
        cells = Cells(np.broadcast_to(value, shape), np.broadcast_to(present, shape))
        return list(selection.labels), cells, np.broadcast_to(times_ms, shape)

    def _instant_vector(self, selector: nodes.Selector) -> Vector:
        labels, cells, _ = self.instants(selector)
        return Vector.named(labels, cells).filled_rows()

    def window(self, node: nodes.Node) -> Window:
        """The windows of a matrix selector or a subquery."""
        if isinstance(node, nodes.RangeSelector):
            steps, range_ms = self.steps_of(node.selector.moment), node.range_ms
            selection = self.select(node.selector, steps.first_ms - range_ms, steps.last_ms)
            unnamed = np.zeros(selection.series_count, np.bool_)
        else:
            assert isinstance(node, nodes.Subquery), node
            steps, range_ms = self.steps_of(node.moment), node.range_ms
            selection, unnamed = self.subquery(node)
        self.limits.check_samples(selection.series_count * self.steps.count, "needs")
        windows = Windows.over(selection, steps, range_ms)
        if steps.count != self.steps.count:
            shape = (selection.series_count, self.steps.count)
            windows = replace(
                windows,
                first=np.broadcast_to(windows.first, shape),
                end=np.broadcast_to(windows.end, shape),
                end_ms=np.broadcast_to(windows.end_ms, shape[1:]),
            )
        return Window(list(selection.labels), unnamed, windows)

    def subquery(self, node: nodes.Subquery) -> tuple[Selection, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """The inner expression at its own steps, which are multiples of the step length, as samples."""
        outer = self.steps_of(node.moment)
        step_ms = node.step_ms or self.options.subquery_step_ms
        first_ms = ((outer.first_ms - node.range_ms) // step_ms + 1) * step_ms
        if first_ms > outer.last_ms:
            return Selection.empty(), np.zeros(0, np.bool_)
        steps = Steps.over(first_ms, outer.last_ms, step_ms)
        self.limits.check_samples(steps.count, "needs")
        inner = replace(self, steps=steps).evaluate(node.inner)
        if isinstance(inner, Scalar):
            inner = Vector.named([()], Cells(inner.value[None, :], np.ones((1, steps.count), np.bool_)))
        assert isinstance(inner, Vector), node
        self.deadline.check("a subquery")
        return as_samples(inner, steps), inner.unnamed

    def samples(self, node: nodes.Node) -> Selection:
        """A matrix selector or subquery alone, at one instant: its samples as they are."""
        if isinstance(node, nodes.RangeSelector):
            steps = self.steps_of(node.selector.moment)
            selection = without_stale(self.select(node.selector, steps.first_ms - node.range_ms, steps.last_ms))
            kept = np.flatnonzero(np.diff(selection.offsets))
            offsets = np.concatenate((selection.offsets[:1], selection.offsets[kept + 1]))
            return replace(selection, labels=[selection.labels[i] for i in kept.tolist()], offsets=offsets)
        assert isinstance(node, nodes.Subquery), node
        samples, unnamed = self.subquery(node)
        if not unnamed.any():
            return samples
        raise NotSupported("late name removal in a subquery that is not the argument of a function")

    def _binary(self, node: nodes.Binary) -> Value:
        """A chain of operators leans to the left and may be a thousand long, so it is walked, not recursed into."""
        chain = [node]
        while isinstance(chain[-1].left, nodes.Binary):
            chain.append(chain[-1].left)
        value = self.evaluate(chain[-1].left)
        for link in reversed(chain):
            value = combine(link, value, self.evaluate(link.right), late=self.options.late_name_removal)
            if isinstance(value, Vector):
                self.limits.check_samples(value.cells.value.size, "needs")
        return value

    def _negation(self, node: nodes.Negation) -> Value:
        value = self.evaluate(node.inner)
        if isinstance(value, Scalar):
            return Scalar(-value.value)
        assert isinstance(value, Vector), node
        return self.unnamed(value.with_cells(Cells(-value.cells.value, value.cells.present)))


def as_samples(vector: Vector, steps: Steps) -> Selection:
    """The present cells of a vector as samples at the times of its steps."""
    present = vector.cells.present
    rows: Sequence[Labels] = vector.labels
    return Selection(
        labels=rows,
        offsets=np.concatenate(([0], np.cumsum(present.sum(axis=1)))).astype(np.int64),
        timestamp_ms=np.broadcast_to(steps.times_ms(), present.shape)[present],
        value=vector.cells.value[present],
    )


def finished_vector(value: Value, steps: Steps) -> Vector:
    """What the answer of a range query shows: a scalar becomes a series without labels."""
    if isinstance(value, Scalar):
        return Vector.named([()], Cells(value.value[None, :], np.ones((1, steps.count), np.bool_)))
    assert isinstance(value, Vector)
    return finished(value)
