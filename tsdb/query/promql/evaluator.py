"""The walk over the syntax tree: every node is evaluated once, at all steps together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsdb.errors import NotReady, NotSupported, RefusedQuery
from tsdb.interface import Aggregate, Grain, SeriesSource
from tsdb.query.kernel.blocks import (
    BLOCK_CELLS,
    by_tiles,
    series_at,
    series_blocks,
    step_blocks,
    steps_at,
    temporary_bytes,
    temporary_sample_bytes,
)
from tsdb.query.kernel.positions import positions
from tsdb.query.kernel.steps import Bools, Cells, Steps
from tsdb.query.kernel.windows import Places, Windows, without_stale
from tsdb.query.promql import nodes
from tsdb.query.promql.aggregate import aggregate
from tsdb.query.promql.annotations import Annotations
from tsdb.query.promql.binary import combine
from tsdb.query.promql.functions import FUNCTIONS
from tsdb.query.promql.label_rows import rows_of, taken
from tsdb.query.promql.labels import finished, without_metric_name
from tsdb.query.promql.ledger import CELL_BYTES, Ledger
from tsdb.query.promql.limits import Options
from tsdb.query.promql.rollups import (
    INSTANT,
    Old,
    Reading,
    grain_of,
    joined,
    lookback_ms,
    range_in_rollups_ms,
    window_grain,
)
from tsdb.query.promql.shared import Shared
from tsdb.query.promql.streamed import streamed
from tsdb.query.promql.values import Scalar, Value, Vector
from tsdb.sample import Float64s, Int64s, Labels, Selection, is_stale

Reduce = Callable[[Windows, slice], Cells]
"""What a range function does: from the windows of some series at some steps, and which steps those are of all."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """What a range function sees: samples of several series, and the steps at which it looks back over range_ms."""

    samples: Selection
    unnamed: Bools
    steps: Steps
    range_ms: int
    old: Old | None = None  # Where some of the samples are rollups.


@dataclass(frozen=True, slots=True)
class QueryRange:
    """What was asked for. An instant query has no step; the end of a range need not be one of its steps."""

    start_ms: int
    end_ms: int
    step_ms: int | None


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Everything one evaluation needs. `query` is the range of the whole query, `steps` those of the (sub)query.

    Nothing in it changes but the ledger, the annotations and what is shared, so a subquery is another Evaluator with
    other steps.
    """

    source: SeriesSource
    query: QueryRange
    steps: Steps
    ledger: Ledger
    options: Options
    annotations: Annotations
    shared: Shared

    def evaluate(self, node: nodes.Node) -> Value:
        """The value of a node at all steps. Raises: RefusedQuery and its kin; QueriesBusy."""
        self.ledger.check()
        value = self._evaluated(node)
        if isinstance(value, Vector):
            self.ledger.hold(value.cells.value, value.cells.present)
        elif isinstance(value, Scalar):
            self.ledger.hold(value.value)
        return value

    def _evaluated(self, node: nodes.Node) -> Value:
        if isinstance(node, nodes.Number):
            with self.ledger.room(8 * self.steps.count):
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
            if (found := streamed(self, node)) is not None:
                return found
            return aggregate(node, self.vector(node.inner), parameter, self.ledger, self.annotations)
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

    def select(
        self, selector: nodes.Selector, first_ms: int, last_ms: int, grain: Grain, range_ms: int = 0
    ) -> Selection:
        """The samples of a selector in (first_ms, last_ms], within the limits. range_ms: of the expression."""
        window = (selector.matchers, first_ms, last_ms)
        if (found := self.shared.find(window, grain)) is not None:
            return found
        with self.ledger.stage("select"):
            selection = self.source.select(selector.matchers, first_ms + 1, last_ms, grain, bounds=self.ledger)
        self.ledger.selected(selection)
        self.shared.keep(window, grain, selection, (selector, range_ms))
        return selection

    def instants(self, selector: nodes.Selector, *, with_times: bool = False) -> tuple[Sequence[Labels], Cells, Int64s]:
        """The latest sample of every series at every step, not older than the look-back, and its time in ms.

        Without with_times the times are left out: they are an empty array.
        """
        steps = self.steps_of(selector.moment)
        selection = self._with_lookback(selector, steps)
        shape = (selection.series_count, self.steps.count)
        self.ledger.limits.check_samples(shape[0] * shape[1], "needs")
        narrow = (shape[0], steps.count)
        # Twice, because rows without any value are left out by copying the others.
        with self.ledger.room(2 * narrow[0] * narrow[1] * CELL_BYTES + temporary_bytes(narrow[0] * narrow[1])):
            value, present = np.empty(narrow), np.empty(narrow, np.bool_)
            times_ms = np.empty(narrow if with_times else (0, 0), np.int64)
            for rows, columns in self._blocks(selection, steps):
                part = self._latest(selection, steps, rows, columns)
                value[rows, columns], present[rows, columns] = part[0], part[1]
                if with_times:
                    times_ms[rows, columns] = part[2]
            cells = Cells(np.broadcast_to(value, shape), np.broadcast_to(present, shape))
            self.ledger.hold(value, present, times_ms)
        return rows_of(selection.labels), cells, np.broadcast_to(times_ms, shape) if with_times else times_ms

    def _with_lookback(self, selector: nodes.Selector, steps: Steps) -> Selection:
        """What an instant selector reads; from further back, where only buckets longer than the look-back are left."""
        grain = grain_of(INSTANT.aggregate, steps)
        asked_ms = self.options.lookback_ms
        selection = self.select(selector, steps.first_ms - asked_ms, steps.last_ms, grain)
        needed_ms = lookback_ms(selection, asked_ms)
        if needed_ms == asked_ms or steps.first_ms - asked_ms >= selection.raw_from_ms:
            return selection
        return self._extended(selector, selection, steps.first_ms - needed_ms, steps.first_ms - asked_ms, grain)

    def _extended(
        self, selector: nodes.Selector, late: Selection, first_ms: int, until_ms: int, grain: Grain
    ) -> Selection:
        """A selection with what lies before it, from first_ms to until_ms, where it began."""
        early = self.select(selector, first_ms, until_ms, grain)
        with self.ledger.room(24 * (early.value.size + late.value.size)):
            selection = joined(early, late)
            self.ledger.hold(early.timestamp_ms, late.timestamp_ms, selection.timestamp_ms, selection.value)
        return selection

    def _latest(
        self, selection: Selection, steps: Steps, rows: slice, columns: slice
    ) -> tuple[Float64s, Bools, Int64s]:
        """Of one block: the value of the latest sample, whether it counts, and its time in ms."""
        steps, asked_ms = steps_at(steps, columns), self.options.lookback_ms
        needed_ms = lookback_ms(selection, asked_ms)
        part, _ = series_at(selection, rows, steps.first_ms - needed_ms, steps.last_ms)
        if not part.value.size:
            nothing = np.zeros((part.series_count, steps.count))
            return nothing, nothing.astype(np.bool_), nothing.astype(np.int64)
        index = positions(part.offsets, part.times_ms, steps) - 1
        present = index >= part.offsets[:-1, None]
        np.maximum(index, 0, out=index)
        times_ms = part.times_ms.take(index)
        present &= times_ms > steps.times_ms() - needed_ms
        if needed_ms > asked_ms:
            present &= (times_ms > steps.times_ms() - asked_ms) | (times_ms < selection.raw_from_ms)
        value = part.value[index]
        stale = is_stale(value)
        if stale.any():
            present &= ~stale
        return value, present, times_ms

    def _blocks(
        self, selection: Selection, steps: Steps, cut: int = 0, cells_max: int = BLOCK_CELLS
    ) -> Iterator[tuple[slice, slice]]:
        """All series and steps in pieces, with a look at the clock before each."""
        for rows in series_blocks(selection.offsets, steps.count, cells_max):
            for columns in step_blocks(steps.count, cut=cut):
                self.ledger.check()
                yield rows, columns

    def _instant_vector(self, selector: nodes.Selector) -> Vector:
        labels, cells, _ = self.instants(selector)
        return Vector.named(labels, cells).filled_rows()

    def ranges(self, node: nodes.Node, reading: Reading) -> Ranges:
        """The samples of a matrix selector or a subquery, as one function reads them."""
        if isinstance(node, nodes.RangeSelector):
            return self._selected(node, reading)
        assert isinstance(node, nodes.Subquery), node
        selection, unnamed = self.subquery(node)
        return Ranges(selection, unnamed, self.steps_of(node.moment), node.range_ms)

    def _selected(self, node: nodes.RangeSelector, reading: Reading) -> Ranges:
        steps, range_ms = self.steps_of(node.selector.moment), node.range_ms
        grain = window_grain(reading, steps, range_ms)
        first_ms = steps.first_ms - range_ms - int(reading.is_change)  # A change also reads the very start.
        selection = self.select(node.selector, first_ms, steps.last_ms, grain, range_ms)
        grain = replace(grain, condense=None)  # What else is read is of rollups.
        old_range_ms = range_in_rollups_ms(reading, selection, grain, range_ms)
        if old_range_ms > range_ms:
            late_from_ms, first_ms = first_ms, first_ms - (old_range_ms - range_ms)
            if reading.aggregate is Aggregate.INCREASE:  # Two parts would be two counters, each with its own zero.
                selection = self.select(node.selector, first_ms, steps.last_ms, grain)
            else:
                selection = self._extended(node.selector, selection, first_ms, late_from_ms, grain)
        unnamed = np.zeros(selection.series_count, np.bool_)
        if not selection.resolution_ms:
            return Ranges(selection, unnamed, steps, range_ms)
        span_ms = (first_ms, min(steps.last_ms, selection.raw_from_ms - 1))
        weight = self._weights(node.selector, selection, reading, span_ms, grain) if reading.is_counted else None
        old = Old(selection.raw_from_ms, old_range_ms, reading.is_change, weight)
        return Ranges(selection, unnamed, steps, range_ms, old)

    def _weights(
        self,
        selector: nodes.Selector,
        selection: Selection,
        reading: Reading,
        span_ms: tuple[int, int],
        grain: Grain,
    ) -> Float64s:
        """How many samples each sample of a selection stands for: one, or as many as its bucket counts.

        span_ms: where the buckets of the selection are, as select() takes it.
        Raises: NotReady, if the store dropped some of the buckets between two looks at them.
        """
        is_bucket = selection.timestamp_ms < selection.raw_from_ms
        if reading.aggregate is Aggregate.COUNT:
            return np.where(is_bucket, selection.value, 1.0)
        weight = np.ones(selection.value.size)
        if not is_bucket.any():
            return weight
        counts = self.select(selector, *span_ms, replace(grain, aggregate=Aggregate.COUNT))
        per_series = np.diff(np.concatenate(([0], np.cumsum(is_bucket)))[selection.offsets])
        with_buckets = np.flatnonzero(per_series)
        is_same = (
            [selection.labels[i] for i in with_buckets.tolist()] == list(counts.labels)
            and np.array_equal(per_series[with_buckets], np.diff(counts.offsets))
            and np.array_equal(selection.timestamp_ms[is_bucket], counts.timestamp_ms)
        )
        if not is_same:
            raise NotReady("rollups were replaced by coarser ones while they were read; ask again")
        weight[is_bucket] = counts.value
        return weight

    def over_windows(self, node: nodes.Node, reading: Reading, reduce: Reduce) -> Vector:
        """A range function of a matrix selector or a subquery: one value from each window that has one."""
        return self.over_ranges(self.ranges(node, reading), reduce)

    def over_ranges(self, ranges: Ranges, reduce: Reduce) -> Vector:
        labels = rows_of(ranges.samples.labels)
        shape = (len(labels), self.steps.count)
        self.ledger.limits.check_samples(shape[0] * shape[1], "needs")
        cell_count = shape[0] * shape[1]
        piece_bytes = temporary_bytes(cell_count) + temporary_sample_bytes(ranges.samples.offsets)
        with self.ledger.room(2 * CELL_BYTES * cell_count + piece_bytes):
            cells = self._reduced(ranges, shape, reduce)
            vector = Vector(labels, cells, ranges.unnamed).filled_rows()
            self.ledger.hold(vector.cells.value, vector.cells.present)
        return vector

    def _reduced(self, ranges: Ranges, shape: tuple[int, int], reduce: Reduce) -> Cells:
        value, present = np.empty((0, 0)), np.empty((0, 0), np.bool_)
        for rows, columns, cells in self.window_blocks(ranges, reduce):
            if cells.value.shape == shape:
                return cells  # The only block: nothing to put together.
            if value.shape != shape:
                value, present = np.empty(shape), np.empty(shape, np.bool_)
            value[rows, columns], present[rows, columns] = cells.value, cells.present
        return Cells(value.reshape(shape), present.reshape(shape))

    def window_blocks(
        self, ranges: Ranges, reduce: Reduce, cells_max: int = BLOCK_CELLS
    ) -> Iterator[tuple[slice, slice, Cells]]:
        """What a range function gives, in pieces: of some series, at some steps."""
        old_count = 0 if ranges.old is None else ranges.old.step_count(ranges.steps, ranges.range_ms)
        if ranges.steps.count != self.steps.count and old_count:
            old_count = self.steps.count  # By @ all steps see the one window.
        for rows, columns in self._blocks(ranges.samples, self.steps, old_count, cells_max):
            windows = self._windows(ranges, rows, columns, is_old=columns.start < old_count)
            yield rows, columns, reduce(windows, columns)

    def _windows(self, ranges: Ranges, rows: slice, columns: slice, *, is_old: bool) -> Windows:
        is_fixed = ranges.steps.count != self.steps.count  # By @: one window serves all steps.
        steps = ranges.steps if is_fixed else steps_at(ranges.steps, columns)
        old = ranges.old if is_old else None
        range_ms = ranges.range_ms if old is None else old.range_ms
        part, samples = series_at(ranges.samples, rows, steps.first_ms - range_ms, steps.last_ms)
        weight = ranges.samples.weight if old is None else old.weight
        weight = None if weight is None else weight[samples]
        closed_until_ms = old.raw_from_ms if old is not None and old.is_change else None
        windows = Windows.over(part, steps, range_ms, self.ledger.check, weight=weight, closed_until_ms=closed_until_ms)
        if not is_fixed:
            return windows
        shape = (part.series_count, columns.stop - columns.start)
        return replace(
            windows,
            places=Places(np.broadcast_to(windows.first, shape), np.broadcast_to(windows.end, shape)),
            end_ms=np.broadcast_to(windows.end_ms, shape[1:]),
        )

    def subquery(self, node: nodes.Subquery) -> tuple[Selection, Bools]:
        """The inner expression at its own steps, which are multiples of the step length, as samples."""
        outer = self.steps_of(node.moment)
        step_ms = node.step_ms or self.options.subquery_step_ms
        first_ms = ((outer.first_ms - node.range_ms) // step_ms + 1) * step_ms
        if first_ms > outer.last_ms:
            return Selection.empty(), np.zeros(0, np.bool_)
        steps = Steps.over(first_ms, outer.last_ms, step_ms)
        self.ledger.limits.check_samples(steps.count, "needs")
        inner = replace(self, steps=steps).evaluate(node.inner)
        if isinstance(inner, Scalar):
            inner = Vector.named([()], Cells(inner.value[None, :], np.ones((1, steps.count), np.bool_)))
        assert isinstance(inner, Vector), node
        self.ledger.check("a subquery")
        return as_samples(inner, steps, self.ledger), inner.unnamed

    def samples(self, node: nodes.Node) -> Selection:
        """A matrix selector or subquery alone, at one instant: its samples as they are."""
        if isinstance(node, nodes.RangeSelector):
            steps = self.steps_of(node.selector.moment)
            grain = grain_of(INSTANT.aggregate, steps, node.range_ms)
            selection = self.select(node.selector, steps.first_ms - node.range_ms, steps.last_ms, grain)
            self.ledger.hold(selection.timestamp_ms)
            selection = without_stale(selection)
            kept = np.flatnonzero(np.diff(selection.offsets))
            offsets = np.concatenate((selection.offsets[:1], selection.offsets[kept + 1]))
            labels = taken(rows_of(selection.labels), kept)
            return replace(selection, labels=labels, offsets=offsets, times_ms=selection.timestamp_ms)
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
            right = self.evaluate(link.right)
            value = combine(link, value, right, late=self.options.late_name_removal, ledger=self.ledger)
            if isinstance(value, Vector):
                self.ledger.limits.check_samples(value.cells.value.size, "needs")
                self.ledger.hold(value.cells.value, value.cells.present)
        return value

    def _negation(self, node: nodes.Negation) -> Value:
        value = self.evaluate(node.inner)
        if isinstance(value, Scalar):
            return Scalar(-value.value)
        assert isinstance(value, Vector), node
        return self.unnamed(self.mapped(value, lambda column, _: -column))

    def mapped(self, vector: Vector, function: Callable[[Float64s, slice], Float64s]) -> Vector:
        """The vector with each value put through a function, which is told what steps the values are of."""
        value = vector.cells.value
        with self.ledger.room(8 * value.size + temporary_bytes(value.size)):
            mapped = by_tiles(
                value.shape, lambda rows, columns: function(value[rows, columns], columns), self.ledger.check
            )
            self.ledger.hold(mapped)
        return vector.with_cells(Cells(mapped, vector.cells.present))


def as_samples(vector: Vector, steps: Steps, ledger: Ledger) -> Selection:
    """The present cells of a vector as samples at the times of its steps."""
    present = vector.cells.present
    rows: Sequence[Labels] = vector.labels
    offsets = np.concatenate(([0], np.cumsum(present.sum(axis=1)))).astype(np.int64)
    count = int(offsets[-1])
    with ledger.room(16 * count):
        timestamp_ms, value = np.empty(count, np.int64), np.empty(count)
        times_ms = steps.times_ms()
        for block in series_blocks(offsets, steps.count):
            ledger.check("result preparation")
            here, part = present[block], slice(int(offsets[block.start]), int(offsets[block.stop]))
            timestamp_ms[part] = np.broadcast_to(times_ms, here.shape)[here]
            value[part] = vector.cells.value[block][here]
        ledger.hold(timestamp_ms, value)
    return Selection(labels=rows, offsets=offsets, times_ms=timestamp_ms, value=value)


def finished_vector(value: Value, steps: Steps) -> Vector:
    """What the answer of a range query shows: a scalar becomes a series without labels."""
    if isinstance(value, Scalar):
        return Vector.named([()], Cells(value.value[None, :], np.ones((1, steps.count), np.bool_)))
    assert isinstance(value, Vector)
    return finished(value)
