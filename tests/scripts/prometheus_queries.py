"""Recorded queries: what Prometheus answered to expressions over a small data set, asked of our engine in process.

A case is an expression with two answers, as a range query and at one time; it passes if both are the same here: values
to a relative tolerance, warnings and errors by their texts. Infos were not recorded.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.scripts.report import Report
from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.errors import RefusedQuery
from tsdb.query import promql
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import STALE_NAN

RELATIVE_TOLERANCE = 1e-9
STATUS = {"bad_data": 400, "not_supported": 400, "execution": 422}
PREFIX = 'invalid parameter "query": '  # Put before a text by the HTTP API, not by the engine.

Row = tuple[tuple[tuple[str, str], ...], list[tuple[int, float]]]


def is_mine(content: Mapping[str, Any]) -> bool:
    return "cases" in content and "dataset" in content


def run(content: Mapping[str, Any], path: Path) -> Report:
    """The data set stands beside the file, under the name that the file gives."""
    source = source_of(path.with_name(content["dataset"].split()[0]))
    report = Report(path.name)
    for case in content["cases"]:
        report.note(f"{path.name}:{case['id']}", *_compared(case, source))
    return report


def source_of(path: Path) -> MemorySeries:
    source = MemorySeries()
    for labels, samples in json.loads(gzip.decompress(path.read_bytes()))["series"]:
        source.add(labels, [(time, float(STALE_NAN) if value == "stale" else value) for time, value in samples])
    return source


def _compared(case: Mapping[str, Any], source: MemorySeries) -> tuple[str | None, str]:
    """(None, "") if both answers are as recorded; else what was recorded, and what came."""
    for kind in ("range", "instant"):
        recorded = case[kind]
        body = recorded["body"]
        try:
            answer = _ask(case["query"], kind, recorded, source)
        except RefusedQuery as error:
            difference = _error_difference(recorded, error)
        else:
            difference = _answer_difference(body, answer)
        if difference is not None:
            return f"{kind} of {case['query']}: {difference[0]}", difference[1]
    return None, ""


def _ask(query: str, kind: str, times: Mapping[str, Any], source: MemorySeries) -> QueryAnswer:
    if kind == "instant":
        return promql.instant(query, round(times["time"] * 1_000), source)
    start_ms, end_ms, step_ms = (round(times[key] * 1_000) for key in ("start", "end", "step"))
    return promql.range_(query, start_ms, end_ms, step_ms, source)


def _error_difference(recorded: Mapping[str, Any], error: RefusedQuery) -> tuple[str, str] | None:
    body, got = recorded["body"], f"{STATUS[error.code]}: {error}"
    if body["status"] == "success":
        return "an answer", got
    expected = f"{recorded['status']}: {body['error'].removeprefix(PREFIX)}"
    return None if expected == got else (expected, got)


def _answer_difference(body: Mapping[str, Any], answer: QueryAnswer) -> tuple[str, str] | None:
    if body["status"] != "success":
        return f"error: {body['error']}", f"{answer.kind} {_shown(rows_of(answer))}"
    if body.get("warnings", []) != answer.warnings:
        return f"warnings {body.get('warnings', [])}", f"{answer.warnings}"
    data = body["data"]
    if data["resultType"] != answer.kind:
        return data["resultType"], answer.kind
    if answer.kind is AnswerKind.STRING:
        return None if data["result"][1] == answer.text else (data["result"][1], answer.text)
    if answer.kind is AnswerKind.SCALAR:
        wanted, got = float(data["result"][1]), float(answer.value[0])
        return None if is_close(wanted, got) else (str(wanted), str(got))
    rows, found = rows_recorded(data["result"]), rows_of(answer)
    return None if is_same(rows, found) else (_shown(rows), _shown(found))


def rows_of(answer: QueryAnswer) -> list[Row]:
    bounds = answer.offsets.tolist()
    samples = list(zip(answer.timestamp_ms.tolist(), answer.value.tolist(), strict=True))
    return [
        (tuple(sorted(labels.items())), samples[bounds[i] : bounds[i + 1]]) for i, labels in enumerate(answer.labels)
    ]


def rows_recorded(result: list[dict[str, Any]]) -> list[Row]:
    return [
        (
            tuple(sorted(row["metric"].items())),
            [(round(time * 1_000), float(value)) for time, value in row.get("values") or [row["value"]]],
        )
        for row in result
    ]


def is_same(wanted: list[Row], got: list[Row]) -> bool:
    """Whatever the order of the series."""
    wanted, got = sorted(wanted), sorted(got)
    return [labels for labels, _ in wanted] == [labels for labels, _ in got] and all(
        [time for time, _ in ours] == [time for time, _ in theirs]
        and all(is_close(a, b) for (_, a), (_, b) in zip(theirs, ours, strict=True))
        for (_, theirs), (_, ours) in zip(wanted, got, strict=True)
    )


def is_close(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE)


def _shown(rows: list[Row]) -> str:
    lines = (f"{dict(labels)} {' '.join(f'{value!r}@{time}' for time, value in samples)}" for labels, samples in rows)
    return "; ".join(lines)[:500] or "nothing"
