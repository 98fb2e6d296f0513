"""Answers as rows of text and samples, compared as Prometheus' own harness compares them."""

from __future__ import annotations

import json
import math
import re

from tests.scripts.promql_script import Evaluation, Expectation, Series
from tsdb.answer import AnswerKind, QueryAnswer

RELATIVE_TOLERANCE = 1e-6
SMALLEST_NORMAL = 2.0**-1022

Row = tuple[str, tuple[tuple[int, float], ...]]
"""A label set in text, and its samples."""


def expected_rows(case: Evaluation) -> list[Row]:
    start_ms, step_ms = case.start_ms, case.step_ms or 1
    if case.range_ms is not None:
        start_ms, _, step_ms = case.range_ms
    return [row for series in case.series if (row := _expected_row(series, start_ms, step_ms))[1]]


def _expected_row(series: Series, start_ms: int, step_ms: int) -> Row:
    samples = [(start_ms + i * step_ms, value) for i, value in enumerate(series.points) if value is not None]
    return _label_text(series.labels), tuple(samples)


def rows_of(answer: QueryAnswer) -> list[Row]:
    if answer.kind is AnswerKind.STRING:
        return [(f"string {answer.text!r}", ())]
    samples = list(zip(answer.timestamp_ms.tolist(), answer.value.tolist(), strict=True))
    if answer.kind is AnswerKind.SCALAR:
        return [("", tuple(samples))]
    bounds = answer.offsets.tolist()
    return [(_label_text(labels), tuple(samples[bounds[i] : bounds[i + 1]])) for i, labels in enumerate(answer.labels)]


def _label_text(labels: dict[str, str] | None) -> str:
    return (
        "" if labels is None else json.dumps({name: value for name, value in labels.items() if value}, sort_keys=True)
    )


def same_rows(expected: list[Row], got: list[Row], *, is_ordered: bool) -> bool:
    if not is_ordered:
        expected, got = sorted(expected, key=lambda row: row[0]), sorted(got, key=lambda row: row[0])
    if [labels for labels, _ in expected] != [labels for labels, _ in got]:
        return False
    return all(
        len(wanted) == len(found) and all(map(_same_sample, wanted, found))
        for (_, wanted), (_, found) in zip(expected, got, strict=True)
    )


def _same_sample(expected: tuple[int, float], got: tuple[int, float]) -> bool:
    return expected[0] == got[0] and almost_equal(expected[1], got[1])


def almost_equal(a: float, b: float) -> bool:
    """As Prometheus compares: relative to both; NaN equals NaN; only zero is near zero."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return False
    if a == 0 or b == 0 or abs(a) + abs(b) < SMALLEST_NORMAL:
        return abs(a - b) < RELATIVE_TOLERANCE * SMALLEST_NORMAL
    return abs(a / 2 - b / 2) / (abs(a) / 2 + abs(b) / 2) < RELATIVE_TOLERANCE


def shown(rows: list[Row]) -> str:
    lines = [f"{labels} {' '.join(f'{value!r}@{time}' for time, value in samples)}".strip() for labels, samples in rows]
    return "; ".join(lines) or "nothing"


def annotations_missed(case: Evaluation, answer: QueryAnswer) -> tuple[str, list[str]] | None:
    """What is expected of warnings and infos and not so, with what came; None when all is as expected.

    Each expected text must come, and where some are expected nothing else may.
    """
    for kind, texts in (("warn", answer.warnings), ("info", answer.infos)):
        wanted = [expected for expected in case.annotations if expected.kind == kind]
        if any(expected.kind == f"no_{kind}" for expected in case.annotations) and texts:
            return f"no {kind}", texts
        missed = [expected for expected in wanted if not any(_is_met(expected, text) for text in texts)]
        if missed:
            return f"{kind} {missed[0].message or missed[0].pattern}".strip(), texts
        if wanted and not all(any(_is_met(expected, text) for expected in wanted) for text in texts):
            return f"{kind} and no other", texts
    return None


def _is_met(expected: Expectation, text: str) -> bool:
    if expected.message:
        return text == expected.message
    return re.search(expected.pattern, text) is not None
