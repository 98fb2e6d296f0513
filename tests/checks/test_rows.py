"""A result as series: names, labels and values of the contract."""

from __future__ import annotations

import math

import pytest

from checks.model import Check, Metric, Perfdata, Result, State
from checks.rows import PROBE_METRIC_COUNT_MAX, Row, rows

CHECK = Check(kind="http", name="web", labels={"team": "shop", "env": "live"})


def rows_of(result: Result) -> list[Row]:
    kept, refused_count = rows(CHECK, result, host="example.org")
    assert refused_count == 0
    return kept


def written(result: Result) -> dict[str, float]:
    return {dict(labels)["__name__"]: value for labels, at_ms, value in rows_of(result) if at_ms == result.at_ms}


UP = {State.OK: 1.0, State.WARNING: 1.0, State.CRITICAL: 0.0, State.UNKNOWN: None}


@pytest.mark.parametrize(("state", "up"), UP.items(), ids=lambda value: str(value))
def test_up_state_and_duration(state: State, up: float | None) -> None:
    values = written(Result(state=state, output="", duration_s=0.25, at_ms=5_000))
    assert values.get("henge_check_up") == up
    assert values["henge_check_state"] == int(state)
    assert values["henge_check_duration_seconds"] == 0.25


def test_the_labels_are_those_of_the_contract() -> None:
    first = dict(rows_of(Result(state=State.OK, output="", duration_s=0.1, at_ms=1))[0][0])
    assert first == {
        "__name__": "henge_check_up",
        "check": "web",
        "kind": "http",
        "host": "example.org",
        "team": "shop",
    }


def test_perfdata_and_metrics_of_the_probe() -> None:
    result = Result(
        state=State.OK,
        output="",
        duration_s=0.1,
        at_ms=1,
        perfdata=(
            Perfdata(label="/ usage", value=41.5, unit="%"),
            Perfdata(label="unknown", value=None),
            Perfdata(label="nan", value=math.nan),
        ),
        metrics=(Metric(name="node_load1", value=0.5, labels={"host": "other"}),),
    )
    found = {dict(labels)["__name__"]: (dict(labels), value) for labels, _, value in rows_of(result)[3:]}
    assert found == {
        "henge_check_perfdata": (
            {
                "__name__": "henge_check_perfdata",
                "check": "web",
                "host": "example.org",
                "team": "shop",
                "label": "/ usage",
                "unit": "%",
            },
            41.5,
        ),
        "node_load1": ({"__name__": "node_load1", "check": "web", "host": "other", "team": "shop"}, 0.5),
    }


def test_a_number_that_cannot_be_stored_is_counted_and_its_neighbours_kept() -> None:
    result = Result(
        state=State.OK,
        output="",
        duration_s=0.1,
        at_ms=1,
        perfdata=(Perfdata(label="x" * 5_000, value=1.0), Perfdata(label="fine", value=2.0)),
    )
    kept, refused_count = rows(CHECK, result, host="h")
    assert refused_count == 1
    assert [dict(labels).get("label") for labels, _, _ in kept[3:]] == ["fine"]


def test_a_probe_that_floods_is_cut() -> None:
    metrics = tuple(Metric(name="m", value=1.0, labels={"i": str(i)}) for i in range(PROBE_METRIC_COUNT_MAX + 10))
    kept = rows_of(Result(state=State.OK, output="", duration_s=0.1, at_ms=1, metrics=metrics))
    assert len(kept) == 3 + PROBE_METRIC_COUNT_MAX
