"""Prometheus' own evaluation scripts pass, and the runner notices every expectation that is changed."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.scripts.promql import Report, almost_equal, known_exceptions, run_file, run_script
from tests.shared import shared

ALTERED_COUNT = 20


def plain_files() -> list[Path]:
    folder = shared("conformance/promql")
    return sorted(path for path in folder.glob("*.test") if not path.name.endswith(".native.test"))


def failed(report: Report) -> set[str]:
    return {failure["case"] for failure in report.failures}


def test_no_case_fails_but_the_known_exceptions() -> None:
    reports = [run_file(path) for path in plain_files()]
    assert len(reports) == 19
    assert set().union(*map(failed, reports)) == set(known_exceptions())
    assert sum(report.passed for report in reports) >= 450


def test_cases_of_the_native_files_that_we_claim_to_answer_are_right() -> None:
    reports = [run_file(path) for path in sorted(shared("conformance/promql").glob("*.native.test"))]
    assert [report.failures for report in reports if report.failures] == []


def altered(lines: list[str], at: int) -> str | None:
    """The expectation of the case on line `at` with its last value changed; None if it has no plain value."""
    for number in range(at + 1, len(lines)):
        text = lines[number]
        if not text.strip() or text[0] not in " \t":
            return None
        if text.strip().startswith(("expect", "#")):
            continue
        head, _, word = text.rstrip().rpartition(" " if " " in text.strip() else "\t")
        if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", word):
            lines[number] = f"{head} {float(word) * 3 + 1!r}"
            return lines[number]
        return None
    return None


def test_changed_expectations_are_reported_and_nothing_else() -> None:
    """Goal: the runner compares. Method: change the expected value of random cases that pass; it must name those."""
    rng = random.Random(20)
    scripts = {path.name: path.read_text().splitlines() for path in plain_files()}
    passing = {
        name: [i for i, line in enumerate(lines) if re.match(r"eval (instant|range)", line)]
        for name, lines in scripts.items()
        if run_script("\n".join(lines), name).skipped.total() == 0
    }
    places = [(name, at) for name, cases in passing.items() for at in cases]
    rng.shuffle(places)
    wanted: set[str] = set()
    for name, at in places:
        if len(wanted) < ALTERED_COUNT and altered(scripts[name], at) is not None:
            wanted.add(f"{name}:{at + 1}")
    assert len(wanted) == ALTERED_COUNT
    found = set().union(*(failed(run_script("\n".join(lines), name)) for name, lines in scripts.items()))
    assert found - set(known_exceptions()) == wanted


SCRIPT = """
load 10s
  m{a="1"} 1+1x3 _ stale
  h {{schema:0 sum:1 count:1}}

eval instant at 10s m
  m{a="1"} 2

eval range from 0 to 30s step 10s m * 2
  {a="1"} 2 4 6 8

eval instant at 10s sum(m)
  {} 3

eval instant at 10s m + h
  expect fail

eval instant at 10s 1 +
  expect fail msg: 1:4: parse error: unexpected end of input

eval instant at 10s info(m)
  m{a="1"} 2

eval instant at 50s m
"""


def test_a_report_counts_and_names() -> None:
    report = run_script(SCRIPT, "mine.test")
    assert report.passed == 4
    assert dict(report.skipped) == {"native histograms": 1, "the function info()": 1}
    assert report.failures == [{"case": "mine.test:12", "expected": "{} 3.0@10000", "got": "{} 2.0@10000"}]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1.0, 1.0000001, True),
        (1.0, 1.001, False),
        (0.0, 1e-12, False),
        (-0.0, 0.0, True),
        (float("nan"), float("nan"), True),
        (float("inf"), 1e308, False),
        (1e308, -1e308, False),
    ],
)
def test_floats_compare_as_in_prometheus(a: float, b: float, same: bool) -> None:
    assert almost_equal(a, b) is same
