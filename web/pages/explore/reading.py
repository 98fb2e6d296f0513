"""The answer of a query as the page shows it: lines under a chart, rows at one time, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.sample import METRIC_NAME
from web.api.chart import SERIES_COUNT_MAX, aligned
from web.pages.explore.mistake import Mistake
from web.words import series_name

ROW_COUNT_MAX = 500  # Of a table at one time: as long as a person scrolls.
SAMPLE_COUNT_MAX = 12  # Of a range vector, of each series, the newest.
# Stages in their order, and what a person calls them; see Ledger.figures() of the engine.
STAGES = {
    "queue": "Waiting for its turn",
    "parse": "Reading the expression",
    "select": "Selecting samples",
    "evaluate": "Evaluating",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One series of the chart; index is its colour there."""

    index: int
    name: str  # All labels, as the chart names it.
    short: str  # The labels in which it differs from the others.
    last: float
    lowest: float
    mean: float
    highest: float


@dataclass(frozen=True, slots=True)
class Row:
    """One series at one time; of a range vector, its newest samples, oldest first."""

    name: str
    samples: list[tuple[str, int]]  # (value, timestamp_ms)
    hidden_count: int = 0  # Samples of the series that are left out.


@dataclass(frozen=True, slots=True)
class Cost:
    """One stage of a query."""

    label: str
    spent_ms: float
    share: float  # 0 … 1 of the whole.


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is shown of one answer, or what went wrong."""

    lines: list[Line] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    series_count: int = 0
    shared: str = ""  # The labels that all series have in common; empty for a lone series.
    text: str = ""  # Of an expression that is a text.
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    figures: Mapping[str, int | float] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)
    whole_ms: float = 0.0
    problem: str = ""
    mistake: Mistake | None = None
    drawn: Mapping[str, Any] = field(default_factory=dict)  # What chart.js draws, as /api/v1/chart answers it.


def over_time(answer: QueryAnswer, grid_ms: tuple[int, int, int], whole_ms: float) -> Reading:
    """Per series its last, lowest, mean and highest value, and its values for the chart."""
    labels = answer.labels[:SERIES_COUNT_MAX]
    shared, shorts = short_names(labels)
    offsets = answer.offsets.tolist()
    lines = []
    for index, pairs in enumerate(labels):
        values = answer.value[offsets[index] : offsets[index + 1]]
        finite = values[np.isfinite(values)]
        if finite.size:
            last, low, mean, high = (float(x) for x in (finite[-1], finite.min(), finite.mean(), finite.max()))
            lines.append(Line(index, series_name(pairs), shorts[index], last, low, mean, high))
    return _reading(answer, whole_ms, lines=lines, shared=shared, drawn=aligned(answer, *grid_ms))


def at_one_time(answer: QueryAnswer, whole_ms: float) -> Reading:
    """The values, in the order in which the engine gives them."""
    if answer.kind is AnswerKind.STRING:
        return _reading(answer, whole_ms, text=answer.text)
    if answer.kind is AnswerKind.SCALAR:
        row = Row("a number, of no series", [(exact(answer.value[0]), int(answer.timestamp_ms[0]))])
        return _reading(answer, whole_ms, rows=[row])
    labels = answer.labels[:ROW_COUNT_MAX]
    shared, shorts = short_names(labels)
    offsets = answer.offsets.tolist()
    rows = []
    for index, short in enumerate(shorts):
        end = offsets[index + 1]
        start = max(offsets[index], end - SAMPLE_COUNT_MAX)
        values, times = answer.value[start:end].tolist(), answer.timestamp_ms[start:end].tolist()
        samples = [(exact(value), at_ms) for value, at_ms in zip(values, times, strict=True)]
        rows.append(Row(short, samples, start - offsets[index]))
    return _reading(answer, whole_ms, rows=rows, shared=shared)


def _reading(
    answer: QueryAnswer,
    whole_ms: float,
    *,
    lines: Sequence[Line] = (),
    rows: Sequence[Row] = (),
    shared: str = "",
    text: str = "",
    drawn: Mapping[str, Any] | None = None,
) -> Reading:
    return Reading(
        lines=list(lines),
        rows=list(rows),
        series_count=len(answer.labels),
        shared=shared,
        text=text,
        warnings=answer.warnings,
        infos=answer.infos,
        figures=answer.figures,
        costs=costs(answer.figures, whole_ms),
        whole_ms=whole_ms,
        drawn=drawn or {},
    )


def costs(figures: Mapping[str, int | float], whole_ms: float) -> list[Cost]:
    """The stages of a query, and the way to the query process and back; whole_ms: until the page had the answer."""
    spent = [(label, float(figures.get(f"{name}_ms", 0.0))) for name, label in STAGES.items()]
    spent.append(("The way there and back", max(0.0, whole_ms - float(figures.get("total_ms", 0.0)))))
    total_ms = sum(spent_ms for _, spent_ms in spent) or 1.0
    return [Cost(label, spent_ms, spent_ms / total_ms) for label, spent_ms in spent]


def short_names(labels: Sequence[Mapping[str, str]]) -> tuple[str, list[str]]:
    """What all series have in common, and what tells each of them apart; a lone series keeps its whole name."""
    if len(labels) < 2:
        return "", [series_name(dict(pairs)) for pairs in labels]
    shared = dict(labels[0])
    for pairs in labels[1:]:
        shared = {name: text for name, text in shared.items() if pairs.get(name) == text}
    shorts = []
    for pairs in labels:
        rest = {name: text for name, text in pairs.items() if name not in shared}
        short = series_name(rest)
        # Without a metric name in front the braces say nothing.
        shorts.append(short if METRIC_NAME in rest or not rest else short[1:-1])
    return (series_name(shared) if shared else ""), shorts


def exact(value: float) -> str:
    """A value with all its digits, as PromQL writes it."""
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return f"{int(value)}" if value == int(value) and abs(value) < 1e15 else repr(value)
