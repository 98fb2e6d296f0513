"""What Prometheus 3.5 answered to some five hundred expressions over a small data set, asked of our engine."""

from __future__ import annotations

import gzip
import json
import math
from typing import Any

import pytest

from tests.shared import shared
from tests.tsdb.query.memory_source import MemorySource
from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.errors import NotSupported, RefusedQuery
from tsdb.query import promql
from tsdb.sample import STALE_NAN

RELATIVE_TOLERANCE = 1e-9
STATUS = {"bad_data": 400, "execution": 422}
REFUSED_BY_NAME = {"_ within numbers", "the function info()"}
DIFFERENT = {
    "first_over_time(demo_memory_usage_bytes[10m])": "a function of later versions, which that one does not know",
    "histogram_fraction(0, 0.2, rate(demo_api_request_duration_seconds_bucket[5m]))": "later versions sort the buckets",
}

Row = tuple[tuple[tuple[str, str], ...], list[tuple[int, float]]]


def recorded(name: str) -> Any:
    return json.loads(gzip.decompress(shared(f"conformance/prometheus/{name}").read_bytes()))


@pytest.fixture(scope="module")
def source() -> MemorySource:
    source = MemorySource()
    for labels, samples in recorded("demo_dataset.json.gz")["series"]:
        source.add(labels, [(time, float(STALE_NAN) if value == "stale" else value) for time, value in samples])
    return source


def ask(query: str, kind: str, times: dict[str, Any], source: MemorySource) -> QueryAnswer:
    if kind == "instant":
        return promql.instant(query, round(times["time"] * 1_000), source)
    start_ms, end_ms, step_ms = (round(times[key] * 1_000) for key in ("start", "end", "step"))
    return promql.range_(query, start_ms, end_ms, step_ms, source)


def rows_of(answer: QueryAnswer) -> list[Row]:
    bounds = answer.offsets.tolist()
    samples = list(zip(answer.timestamp_ms.tolist(), answer.value.tolist(), strict=True))
    return sorted(
        (tuple(sorted(labels.items())), samples[bounds[i] : bounds[i + 1]]) for i, labels in enumerate(answer.labels)
    )


def rows_recorded(result: list[dict[str, Any]]) -> list[Row]:
    return sorted(
        (
            tuple(sorted(row["metric"].items())),
            [(round(time * 1_000), float(value)) for time, value in row.get("values") or [row["value"]]],
        )
        for row in result
    )


def is_close(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE)


def is_same(data: dict[str, Any], answer: QueryAnswer) -> bool:
    if data["resultType"] != answer.kind:
        return False
    if answer.kind is AnswerKind.STRING:
        return bool(data["result"][1] == answer.text)
    if answer.kind is AnswerKind.SCALAR:
        return is_close(float(data["result"][1]), float(answer.value[0]))
    wanted, got = rows_recorded(data["result"]), rows_of(answer)
    return [labels for labels, _ in wanted] == [labels for labels, _ in got] and all(
        [time for time, _ in ours] == [time for time, _ in theirs]
        and all(is_close(a, b) for (_, a), (_, b) in zip(theirs, ours, strict=True))
        for (_, theirs), (_, ours) in zip(wanted, got, strict=True)
    )


def difference(query: str, kind: str, expected: dict[str, Any], source: MemorySource) -> str | None:
    body = expected["body"]
    try:
        answer = ask(query, kind, expected, source)
    except NotSupported as refused:
        return None if refused.what in REFUSED_BY_NAME else f"refused: {refused}"
    except RefusedQuery as refused:
        if body["status"] == "success":
            return f"refused: {refused}"
        return None if STATUS[refused.code] == expected["status"] else f"status {STATUS[refused.code]}: {refused}"
    if body["status"] != "success":
        return f"answered, where Prometheus says {body['error']}"
    return None if is_same(body["data"], answer) else f"wanted {body['data']}, got {answer}"


def test_our_answers_are_those_of_prometheus(source: MemorySource) -> None:
    cases = recorded("queries.json.gz")["cases"]
    assert len(cases) > 500
    found = {
        case["query"]: text
        for case in cases
        for kind in ("range", "instant")
        if (text := difference(case["query"], kind, case[kind], source)) is not None
    }
    assert found.keys() == DIFFERENT.keys(), {query: text for query, text in found.items() if query not in DIFFERENT}
