"""Quantiles and shares of classic histograms: series that count up to a bound, given in the label `le`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsdb.query.kernel.blocks import BLOCK_CELLS, CELL_TEMPORARY_BYTES, step_blocks
from tsdb.query.kernel.buckets import Buckets, bucket_fractions, bucket_quantiles
from tsdb.query.kernel.groups import Grouping
from tsdb.query.kernel.steps import Cells
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.labels import grouping_without, numbered_values, value_of, values_of, with_label
from tsdb.query.promql.ledger import CELL_BYTES
from tsdb.query.promql.nodes import Call
from tsdb.query.promql.numbers import metric_text_of_number
from tsdb.query.promql.values import Value, Vector
from tsdb.sample import METRIC_NAME, Float64s, Labels

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

BOUND_LABEL = "le"
BOUND = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|(?i:inf|infinity))")


@dataclass(frozen=True, slots=True)
class Histograms:
    """The rows of a vector whose `le` is a number, by the histogram that they belong to."""

    rows: Vector
    labels: list[Labels]  # By histogram, still with the metric name: buckets of two metrics do not mix.
    metrics: list[str]  # By histogram: the name, where it is known.
    grouping: Grouping
    bound: Float64s

    @staticmethod
    def of(evaluator: Evaluator, vector: Vector, place: str) -> Histograms | None:
        """None, if there is no usable row. The others are left out with a warning."""
        codes, texts = numbered_values(vector.labels, BOUND_LABEL)
        is_number = np.array([BOUND.fullmatch(text) is not None for text in texts], np.bool_)
        usable = np.flatnonzero(is_number[codes])
        if usable.size < codes.size:
            names = values_of(vector.labels, METRIC_NAME)
            bad = {(texts[codes[i]], names[i]) for i in np.flatnonzero(~is_number[codes]).tolist()}
            for text, name in sorted(bad):
                evaluator.annotations.bad_bucket(text, name, place)
        if not usable.size:
            return None
        rows = vector.rows(usable)
        grouping, labels, first = grouping_without(rows.labels, (BOUND_LABEL,))
        is_named = evaluator.options.late_name_removal
        metrics = [value_of(rows.labels[i], METRIC_NAME) if is_named else "" for i in first.tolist()]
        bound_of_text = [float(text) if is_usable else np.nan for text, is_usable in zip(texts, is_number, strict=True)]
        return Histograms(rows, labels, metrics, grouping, np.array(bound_of_text)[codes[usable]])

    def reduced(self, evaluator: Evaluator, function: Callable[[Buckets, slice], Cells]) -> Cells:
        """One row for each histogram."""
        shape = (self.grouping.group_count, evaluator.steps.count)
        # Histograms are padded to the buckets of the largest.
        padded_count = self.grouping.group_count * int(np.bincount(self.grouping.group_of_row).max())
        ledger = evaluator.ledger
        ledger.limits.check_samples(padded_count, "needs")
        width = min(shape[1], max(1, BLOCK_CELLS // padded_count))
        with ledger.room(2 * CELL_BYTES * shape[0] * shape[1] + CELL_TEMPORARY_BYTES * padded_count * width):
            value, present = np.empty(shape), np.empty(shape, np.bool_)
            for columns in step_blocks(shape[1], width):
                ledger.check()
                cells = Cells(self.rows.cells.value[:, columns], self.rows.cells.present[:, columns])
                buckets = Buckets.of(cells, self.grouping.group_of_row, self.bound, self.grouping.group_count)
                found = function(buckets, columns)
                value[:, columns], present[:, columns] = found.value, found.present
            ledger.hold(value, present)
        return Cells(value, present)

    def quantiles(self, evaluator: Evaluator, phi: Float64s, place: str) -> Cells:
        """Informs of histograms whose counts fall with the bound."""
        is_forced = np.zeros(len(self.labels), np.bool_)

        def of_block(buckets: Buckets, columns: slice) -> Cells:
            cells, forced = bucket_quantiles(buckets, phi[columns])
            np.logical_or(is_forced, forced.any(axis=1), out=is_forced)
            return cells

        cells = self.reduced(evaluator, of_block)
        for metric in sorted({self.metrics[i] for i in np.flatnonzero(is_forced).tolist()}):
            evaluator.annotations.forced_monotonicity(metric, place)
        return cells


def _quantile(evaluator: Evaluator, node: Call) -> Value:
    phi = evaluator.scalar(node.arguments[0])
    evaluator.annotations.check_quantiles(phi, node.place(0))
    histograms = Histograms.of(evaluator, evaluator.vector(node.arguments[1]), node.place(1))
    if histograms is None:
        return Vector.empty(evaluator.steps.count)
    cells = histograms.quantiles(evaluator, phi, node.place(1))
    return evaluator.unnamed(Vector.named(histograms.labels, cells).filled_rows())


def _quantiles(evaluator: Evaluator, node: Call) -> Value:
    """Several quantiles of each histogram, told apart by a label."""
    name = evaluator.text(node.arguments[1])
    quantiles = [evaluator.scalar(argument) for argument in node.arguments[2:]]
    for index, phi in enumerate(quantiles):
        evaluator.annotations.check_quantiles(phi, node.place(2 + index))
    histograms = Histograms.of(evaluator, evaluator.vector(node.arguments[0]), node.place(0))
    if histograms is None:
        return Vector.empty(evaluator.steps.count)
    labels: list[Labels] = []
    parts: list[Cells] = []
    for phi in quantiles:
        cells = histograms.quantiles(evaluator, phi, node.place(0))
        distinct = np.unique(phi)
        evaluator.ledger.limits.check_samples(cells.value.size * (distinct.size + len(labels)), "needs")
        for value in distinct.tolist():
            is_here = (phi == value) | (np.isnan(phi) & np.isnan(value))
            text = metric_text_of_number(value)
            labels += [with_label(row, name, text) for row in histograms.labels]
            parts.append(Cells(cells.value, cells.present & is_here))
    value = np.concatenate([part.value for part in parts])
    present = np.concatenate([part.present for part in parts])
    return evaluator.unnamed(Vector.named(labels, Cells(value, present)).filled_rows())


def _fraction(evaluator: Evaluator, node: Call) -> Value:
    lower, upper = evaluator.scalar(node.arguments[0]), evaluator.scalar(node.arguments[1])
    histograms = Histograms.of(evaluator, evaluator.vector(node.arguments[2]), node.place(2))
    if histograms is None:
        return Vector.empty(evaluator.steps.count)

    def of_block(buckets: Buckets, columns: slice) -> Cells:
        return bucket_fractions(buckets, lower[columns], upper[columns])

    cells = histograms.reduced(evaluator, of_block)
    return evaluator.unnamed(Vector.named(histograms.labels, cells).filled_rows())


def _of_native(evaluator: Evaluator, node: Call) -> Value:
    """What only native histograms have: samples that are numbers are left out, and the store holds no others."""
    return Vector.empty(evaluator.vector(node.arguments[0]).cells.value.shape[1])


NATIVE = ("histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum")

FUNCTIONS: dict[str, Function] = {
    "histogram_quantile": _quantile,
    "histogram_quantiles": _quantiles,
    "histogram_fraction": _fraction,
    **dict.fromkeys(NATIVE, _of_native),
}
