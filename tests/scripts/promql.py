"""Run Prometheus' evaluation scripts against our engine: `python -m tests.scripts.promql FILE… [--json]`.

Each file runs on its own memory. What is not built prints as skipped with its name. Known exceptions stand in
promql.known beside this file, with a reason each: they count as failed, only the exit status forgives them.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from tests.scripts.promql_script import Clear, Command, Evaluation, Load, Series, commands
from tests.tsdb.query.memory_source import MemorySource
from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.errors import NotSupported, RefusedQuery
from tsdb.query import promql
from tsdb.query.promql import Options
from tsdb.sample import METRIC_NAME

KNOWN = Path(__file__).with_suffix(".known")
# Prometheus' own harness runs with the feature on that drops metric names from the answer only.
OPTIONS = Options(late_name_removal=True)
RELATIVE_TOLERANCE = 1e-6
SMALLEST_NORMAL = 2.0**-1022
AROUND_MS = 60_000  # An instant case is run as a range query from a minute before to a minute after, as well.
DEPENDS_ON_RANGE = re.compile(r"\b(?:step|range|start|end)\(\)")

Row = tuple[str, tuple[tuple[int, float], ...]]
"""A label set in text, and its samples."""


@dataclass(slots=True)
class Report:
    """What became of the cases of one file."""

    file: str
    passed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)

    def as_json(self) -> str:
        counts = {"file": self.file, "passed": self.passed, "failed": len(self.failures)}
        return json.dumps(counts | {"skipped": self.skipped.total(), "failures": self.failures})


class Skipped(Exception):
    """A case needs something that is not built; the text names it."""


@dataclass(slots=True)
class Section:
    """What is loaded since the last `clear`, and what was left out."""

    source: MemorySource = field(default_factory=MemorySource)
    native_names: set[str] = field(default_factory=set)
    has_start_times: bool = False

    def load(self, command: Load) -> None:
        for series in command.series:
            assert series.labels is not None, series
            name = series.labels.get(METRIC_NAME, "")
            if series.is_native:
                self.native_names.add(name)
            elif series.has_start_times:
                self.has_start_times = True
            else:
                times = range(0, len(series.points) * command.interval_ms, command.interval_ms)
                points = zip(times, series.points, strict=True)
                self.source.add(series.labels, [(time, value) for time, value in points if value is not None])
            if command.makes_native:
                self.native_names.add(re.sub("_(bucket|count|sum)$", "", name))

    def missing_for(self, case: Evaluation) -> str | None:
        if case.annotations:
            return "annotations"
        if any(series.is_native for series in case.series):
            return "native histograms"
        words = set(re.findall(r"[A-Za-z_:][\w:]*", case.expression))
        if words & self.native_names or (self.native_names and "__name__" in words):
            return "native histograms"
        return "start timestamps" if self.has_start_times else None


def run_file(path: Path) -> Report:
    return run_script(path.read_text(), path.name)


def run_script(script: str, name: str) -> Report:
    report, section = Report(name), Section()
    for command in commands(script):
        if isinstance(command, Evaluation):
            _run_case(command, section, report)
        else:
            section = _prepared(command, section)
    return report


def _prepared(command: Command, section: Section) -> Section:
    if isinstance(command, Clear):
        return Section()
    assert isinstance(command, Load), command
    section.load(command)
    return section


def _run_case(case: Evaluation, section: Section, report: Report) -> None:
    missing = section.missing_for(case)
    if missing is not None:
        report.skipped[missing] += 1
        return
    try:
        expected, got = _compared(case, section)
    except NotSupported as error:
        report.skipped[error.what] += 1
        return
    if expected is None:
        report.passed += 1
    else:
        report.failures.append({"case": f"{report.file}:{case.line}", "expected": expected, "got": got})


def _compared(case: Evaluation, section: Section) -> tuple[str | None, str]:
    """(None, "") when all is as expected, else what was expected and what came."""
    try:
        answer = _ask(case, section)
        around = _ask_around(case, section, answer)
    except NotSupported:
        raise
    except RefusedQuery as error:
        if not case.fails:
            return _shown(expected_rows(case)), f"error: {error}"
        wanted = case.message and case.message != str(error)
        if wanted or (case.message_pattern and not re.search(case.message_pattern, str(error))):
            return f"error: {case.message or case.message_pattern}", f"error: {error}"
        return None, ""
    if case.fails:
        return "an error", _shown(rows_of(answer))
    if case.text is not None:
        same = answer.kind is AnswerKind.STRING and answer.text == case.text
        return (None, "") if same else (case.text, answer.text)
    wanted_rows = expected_rows(case)
    if not _same(wanted_rows, rows_of(answer), is_ordered=case.is_ordered):
        return _shown(wanted_rows), _shown(rows_of(answer))
    if around is not None and not _same(wanted_rows, around, is_ordered=False):
        return _shown(wanted_rows), f"as a range query: {_shown(around)}"
    return None, ""


def _ask(case: Evaluation, section: Section) -> QueryAnswer:
    if case.step_ms is None:
        return promql.instant(case.expression, case.start_ms, section.source, options=OPTIONS)
    return promql.range_(case.expression, case.start_ms, case.end_ms, case.step_ms, section.source, options=OPTIONS)


def _ask_around(case: Evaluation, section: Section, answer: QueryAnswer) -> list[Row] | None:
    """The same moment out of a range query; None where that is no question."""
    is_moment = case.step_ms is None and answer.kind in (AnswerKind.VECTOR, AnswerKind.SCALAR)
    if not is_moment or DEPENDS_ON_RANGE.search(case.expression):
        return None
    at_ms = case.start_ms
    times = (at_ms - AROUND_MS, at_ms + AROUND_MS, AROUND_MS)
    around = promql.range_(case.expression, *times, section.source, options=OPTIONS)
    rows = [(labels, tuple(sample for sample in samples if sample[0] == at_ms)) for labels, samples in rows_of(around)]
    rows = [row for row in rows if row[1]]
    return [("", samples) for _, samples in rows] if answer.kind is AnswerKind.SCALAR else rows


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


def _same(expected: list[Row], got: list[Row], *, is_ordered: bool) -> bool:
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


def _shown(rows: list[Row]) -> str:
    lines = [f"{labels} {' '.join(f'{value!r}@{time}' for time, value in samples)}".strip() for labels, samples in rows]
    return "; ".join(lines) or "nothing"


def known_exceptions() -> dict[str, str]:
    """Case → the reason why it cannot pass yet."""
    lines = KNOWN.read_text().splitlines() if KNOWN.exists() else []
    entries = (line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    return {case: reason.strip() for case, reason in entries}


def _lines(report: Report, known: dict[str, str]) -> Iterator[str]:
    yield f"{report.file}: {report.passed} passed, {len(report.failures)} failed, {report.skipped.total()} skipped"
    for what, count in report.skipped.most_common():
        yield f"  skipped {count}: {what}"
    for failure in report.failures:
        yield f"  failed {failure['case']}: expected {failure['expected']}; got {failure['got']}"
        if failure["case"] in known:
            yield f"    known: {known[failure['case']]}"


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
def main(files: tuple[Path, ...], as_json: bool) -> None:
    """Run evaluation scripts. Exit status 1 if a case failed that is not a known exception."""
    known = known_exceptions()
    reports = [run_file(path) for path in files]
    for report in reports:
        for line in [report.as_json()] if as_json else _lines(report, known):
            click.echo(line)
    raise SystemExit(any(failure["case"] not in known for report in reports for failure in report.failures))


if __name__ == "__main__":
    main()
