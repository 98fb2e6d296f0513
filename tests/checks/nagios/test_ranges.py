"""Ranges and thresholds as the reference module judges them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.nagios.ranges import Range, judge, parse_range
from tests.shared import shared


def oracle() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shared("conformance/nagios/perfdata.json").read_text())
    return found


def test_every_range_of_the_oracle_alerts_alike() -> None:
    cases = [case for case in oracle()["ranges"] if case["valid"] and case["range"]]
    assert len(cases) > 20
    for case in cases:
        found = parse_range(case["range"])
        alerts = {text: found.alerts(float(text)) for text in case["alert"]}
        assert alerts == case["alert"], case["range"]
        assert (found.start, found.end, found.is_inside) == (float(case["start"]), float(case["end"]), case["inside"])
        again = parse_range(str(found))
        assert again == found


def test_every_bad_range_of_the_oracle_is_refused() -> None:
    cases = [case["range"] for case in oracle()["ranges"] if not case["valid"]]
    assert len(cases) > 5
    for text in cases:
        with pytest.raises(ValueError, match=r"range|above"):
            parse_range(text)


def test_thresholds_of_the_oracle_give_the_same_state() -> None:
    cases = oracle()["thresholds"]
    assert len(cases) > 5
    for case in cases:
        warning, critical = (parse_range(case[key]) if case[key] else None for key in ("warning", "critical"))
        assert judge(case["value"], warning=warning, critical=critical) == case["status"], case


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.booleans())
def test_what_is_written_reads_back(start: float, end: float, is_inside: bool) -> None:
    low, high = sorted((round(start, 3), round(end, 3)))
    given_range = Range(low, high, is_inside)
    assert parse_range(str(given_range)) == given_range


def test_open_ends() -> None:
    assert str(parse_range("~:")) == "~:"
    assert parse_range("5:").end == math.inf
