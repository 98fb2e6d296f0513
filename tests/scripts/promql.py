"""Run Prometheus' evaluation scripts against our engine: `python -m tests.scripts.promql [FILE…] [--json]`.

Without a file, all of the shared folder. Each file runs on its own memory. Cases that touch a native histogram, which
the store does not hold, are skipped and counted; all others pass, or stand in promql.known beside this file.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from tests.scripts.promql_answers import Row, annotations_missed, expected_rows, rows_of, same_rows, shown
from tests.scripts.promql_script import Clear, Evaluation, commands
from tests.scripts.promql_section import Section
from tests.scripts.report import Report, known_exceptions, told
from tests.shared import SHARED
from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.errors import RefusedQuery
from tsdb.query import promql
from tsdb.query.promql import Options

KNOWN = Path(__file__).with_suffix(".known")
FOLDER = SHARED / "conformance" / "promql"
# Prometheus' own harness runs with the feature on that drops metric names from the answer only.
OPTIONS = Options(late_name_removal=True)
AROUND_MS = 60_000  # An instant case is run as a range query from a minute before to a minute after, as well.
DEPENDS_ON_RANGE = re.compile(r"\b(?:step|range|start|end)\(\)")
NATIVE = "touches a native histogram"


def run_file(path: Path) -> Report:
    return run_script(path.read_text(), path.name)


def run_script(script: str, name: str) -> Report:
    report, section = Report(name), Section()
    for command in commands(script):
        if isinstance(command, Clear):
            section = Section()
        elif not isinstance(command, Evaluation):
            section.load(command)
        elif section.touches_native(command):
            report.skipped[NATIVE] += 1
        else:
            report.note(f"{name}:{command.line}", *_compared(command, section))
    return report


def _compared(case: Evaluation, section: Section) -> tuple[str | None, str]:
    """(None, "") when all is as expected, else what was expected and what came."""
    try:
        answer = _ask(case, section)
        around = _ask_around(case, section, answer)
    except RefusedQuery as error:
        if not case.fails:
            return shown(expected_rows(case)), f"error: {error}"
        wanted = case.message and case.message != str(error)
        if wanted or (case.message_pattern and not re.search(case.message_pattern, str(error))):
            return f"error: {case.message or case.message_pattern}", f"error: {error}"
        return None, ""
    if case.fails:
        return "an error", shown(rows_of(answer))
    missed = annotations_missed(case, answer)
    if missed is not None:
        return missed[0], "; ".join(missed[1]) or "none"
    if case.text is not None:
        same = answer.kind is AnswerKind.STRING and answer.text == case.text
        return (None, "") if same else (case.text, answer.text)
    wanted_rows = expected_rows(case)
    if not same_rows(wanted_rows, rows_of(answer), is_ordered=case.is_ordered):
        return shown(wanted_rows), shown(rows_of(answer))
    if around is not None and not same_rows(wanted_rows, around, is_ordered=False):
        return shown(wanted_rows), f"as a range query: {shown(around)}"
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


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
def main(files: tuple[Path, ...], as_json: bool) -> None:
    """Run evaluation scripts, by default all. Exit status 1 if a case fails that is not a known exception, or if a
    known exception passes."""
    paths = files or sorted(FOLDER.glob("*.test"))
    if not paths:
        raise click.ClickException(f"{FOLDER} holds no script: place the folder `shared` beside the checkout")
    told([run_file(path) for path in paths], known_exceptions(KNOWN), as_json=as_json)


if __name__ == "__main__":
    main()
