"""What graphite-web answered, against our functions: every case but the known exceptions, and no case by chance."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from tests.scripts.graphite import FAMILIES, KNOWN
from tests.scripts.report import Report, judged, known_exceptions
from tests.shared import shared
from tsdb.query.graphite.registry import FUNCTIONS


def content_of(name: str) -> Any:
    return json.loads(shared(f"conformance/graphite/{name}").read_text())


def ran(name: str, content: Any) -> Report:
    return FAMILIES[name].run(content, shared(f"conformance/graphite/{name}"))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "http.json"])  # Which wants an appliance.
def test_what_was_recorded_is_answered_alike(name: str) -> None:
    report = ran(name, content_of(name))
    assert report.passed > 0
    verdict = judged([report], known_exceptions(KNOWN))
    assert verdict.unknown == set(), [one for one in report.failures if one["case"] in verdict.unknown]
    assert verdict.outlived == set(), "these pass now: take them off the list"


def test_twenty_changed_expectations_are_the_twenty_failures() -> None:
    content = content_of("render.json")
    before = ran("render.json", content)
    changed = copy.deepcopy(content)
    answered = [
        case
        for case in changed["cases"]
        if set(case["functions"]) <= FUNCTIONS.keys()
        and "params" not in case
        and "volatile" not in case
        and f"render.json:{case['id']}" not in before.failed
        and any(one["values"] for one in case.get("expected", []))
    ]
    picked = random.Random(7).sample(answered, 20)
    for case in picked:
        values = next(one["values"] for one in case["expected"] if one["values"])
        values[-1] = 1.0 if values[-1] is None else 2 * values[-1] + 1
    after = ran("render.json", changed)
    assert after.failed - before.failed == {f"render.json:{case['id']}" for case in picked}
