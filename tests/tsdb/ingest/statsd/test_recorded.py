"""What the real statsd flushed, against our windows: every case but the known exceptions, and no case by chance."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.scripts.report import judged, known_exceptions
from tests.scripts.statsd import KNOWN, run
from tests.shared import shared


def content() -> Any:
    return json.loads(shared("conformance/statsd/cases.json").read_text())


def test_what_was_recorded_is_flushed_alike() -> None:
    report = run(content(), shared("conformance/statsd/cases.json"))
    assert report.passed > 0
    verdict = judged([report], known_exceptions(KNOWN))
    assert verdict.unknown == set(), [one for one in report.failures if one["case"] in verdict.unknown]
    assert verdict.outlived == set(), "these pass now: take them off the list"


def test_twenty_changed_expectations_are_the_twenty_failures() -> None:
    path = shared("conformance/statsd/cases.json")
    changed = content()
    known = {int(case.rpartition(":")[2]) for case in known_exceptions(KNOWN)}
    picked = random.Random(7).sample([at for at in range(len(changed["cases"])) if at not in known], 20)
    for at in picked:
        flushed = random.Random(at).choice(changed["cases"][at]["windows"])["flush"]
        lines = [index for index, line in enumerate(flushed["lines"]) if not line.endswith(("NaN", "Infinity"))]
        line = random.Random(at).choice(lines)
        name, _, value = flushed["lines"][line].rpartition(" ")
        flushed["lines"][line] = f"{name} {float(value) * 2 + 1}"
    before = run(content(), path)
    after = run(changed, path)
    assert after.failed - before.failed == {f"cases.json:{at}" for at in picked}
