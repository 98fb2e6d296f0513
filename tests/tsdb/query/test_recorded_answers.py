"""What Prometheus answered to some five hundred expressions over a small data set, asked of our engine."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.prometheus import KNOWN, run_file
from tests.scripts.report import Report, Verdict, judged, known_exceptions
from tests.shared import shared

FILE = "conformance/prometheus/queries.json.gz"
ALTERED_COUNT = 20


@pytest.fixture(scope="module")
def report() -> Report:
    return run_file(shared(FILE))


def test_our_answers_are_those_of_prometheus(report: Report) -> None:
    assert judged([report], known_exceptions(KNOWN)) == Verdict(set(), set())
    assert report.passed >= 485
    assert not report.skipped


def altered(case: dict[str, Any]) -> bool:
    """Change the last value of an answer; False if it has none."""
    data = case["instant"]["body"].get("data", {})
    rows = data.get("result") or []
    if data.get("resultType") != "vector" or not rows or rows[-1]["value"][1] in ("NaN", "+Inf", "-Inf"):
        return False
    rows[-1]["value"][1] = repr(float(rows[-1]["value"][1]) * 3 + 1)
    return True


def test_changed_answers_are_reported_and_nothing_else(tmp_path: Path) -> None:
    """Goal: the runner compares. Method: change values of random cases that pass; it must name those."""
    content = json.loads(gzip.decompress(shared(FILE).read_bytes()))
    known = known_exceptions(KNOWN)
    rng = random.Random(20)
    content["cases"] = [
        case for case in rng.sample(content["cases"], 80) if f"queries.json.gz:{case['id']}" not in known
    ]
    changed = {f"queries.json.gz:{case['id']}" for case in content["cases"] if altered(case)}
    assert len(changed) >= ALTERED_COUNT
    (tmp_path / content["dataset"].split()[0]).symlink_to(shared(FILE).with_name(content["dataset"].split()[0]))
    path = tmp_path / "queries.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    assert run_file(path).failed == changed


def test_a_file_of_no_known_family_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"frames": []}')
    with pytest.raises(ValueError, match=r"other\.json has the keys frames"):
        run_file(path)
