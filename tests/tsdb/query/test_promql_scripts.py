"""Prometheus' own evaluation scripts pass, and the runner notices every expectation that is changed."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.scripts.promql import KNOWN, NATIVE, run_file, run_script
from tests.scripts.promql_answers import almost_equal
from tests.scripts.report import Report, Verdict, judged, known_exceptions
from tests.shared import shared

ALTERED_COUNT = 20


def paths() -> list[Path]:
    return sorted(shared("conformance/promql").glob("*.test"))


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return [run_file(path) for path in paths()]


def test_no_case_fails_but_the_known_exceptions_and_they_all_do(reports: list[Report]) -> None:
    assert judged(reports, known_exceptions(KNOWN)) == Verdict(set(), set())


def test_only_what_touches_a_native_histogram_is_skipped(reports: list[Report]) -> None:
    assert {what for report in reports for what in report.skipped} == {NATIVE}
    assert {report.file for report in reports if report.skipped} == {
        report.file for report in reports if report.file.endswith(".native.test")
    }
    assert sum(report.passed for report in reports) >= 760


def test_a_known_exception_that_passes_is_not_forgiven() -> None:
    report = Report("mine.test")
    report.note("mine.test:1", None, "")
    report.note("mine.test:2", "1", "2")
    known = {"mine.test:1": "it failed once", "mine.test:2": "a reason", "other.test:1": "of a file that was not run"}
    assert judged([report], known) == Verdict(set(), {"mine.test:1"})
    assert judged([report], {}) == Verdict({"mine.test:2"}, set())


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
    scripts = {path.name: path.read_text().splitlines() for path in paths() if ".native." not in path.name}
    known = set(known_exceptions(KNOWN))
    places = [
        (name, at)
        for name, lines in scripts.items()
        for at, line in enumerate(lines)
        if re.match(r"eval (instant|range)", line) and f"{name}:{at + 1}" not in known
    ]
    rng.shuffle(places)
    wanted: set[str] = set()
    for name, at in places:
        if len(wanted) < ALTERED_COUNT and altered(scripts[name], at) is not None:
            wanted.add(f"{name}:{at + 1}")
    assert len(wanted) == ALTERED_COUNT
    found = set().union(*(run_script("\n".join(lines), name).failed for name, lines in scripts.items()))
    assert found - known == wanted


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

eval instant at 10s quantile(2, m)
  expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)
  {} +Inf

eval instant at 10s quantile(2, m)
  expect no_warn
  {} +Inf

eval instant at 10s rate(m[20s])
  expect info regex: might not be .* "m"
  {a="1"} 0.1

eval instant at 10s m
  expect warn
  m{a="1"} 2

eval instant at 50s m
"""


def test_a_report_counts_and_names() -> None:
    report = run_script(SCRIPT, "mine.test")
    assert report.passed == 6
    assert dict(report.skipped) == {NATIVE: 1}
    warning = "PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"
    assert report.failures == [
        {"case": "mine.test:12", "expected": "{} 3.0@10000", "got": "{} 2.0@10000"},
        {"case": "mine.test:25", "expected": "no warn", "got": warning},
        {"case": "mine.test:33", "expected": "warn", "got": "none"},
    ]


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
