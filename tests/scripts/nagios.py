"""Run conformance files of Nagios against our machine: `python -m tests.scripts.nagios FILE… [--json]`.

A file of state sequences has cases of `kind`, `options` and `steps`; a step is a return code and what Nagios said
after it. Cases with other options or other steps print as skipped with the name of what is missing. The exit status
is 1 if any case failed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from checks.model import State
from checks.state import (
    FLAP_HIGH_PERCENT,
    FLAP_LOW_PERCENT,
    Machine,
    Notice,
    NoticeKind,
    Step,
    Subject,
    advance,
)

WORDS = {
    Subject.SERVICE: {State.OK: "OK", State.WARNING: "WARNING", State.CRITICAL: "CRITICAL", State.UNKNOWN: "UNKNOWN"},
    Subject.HOST: {State.OK: "UP", State.WARNING: "DOWN", State.CRITICAL: "UNREACHABLE", State.UNKNOWN: "DOWN"},
}
NOTICE_WORDS = {
    NoticeKind.PROBLEM: "PROBLEM",
    NoticeKind.RECOVERY: "RECOVERY",
    NoticeKind.FLAPPING_START: "FLAPPINGSTART",
    NoticeKind.FLAPPING_STOP: "FLAPPINGSTOP",
}
HOST_IN_LOG = re.compile(r"(?<=FLAPPING ALERT: )h\d{3}(?=;)")  # The recording's own name of the host.
ANSWERED = {"state", "state_type", "attempt", "percent_state_change", "last_state", "has_problem_id"}
COMPARED = ANSWERED | {"step", "event_handlers", "notifications", "alert", "log"}


def missing_feature(case: Mapping[str, Any]) -> str | None:
    """What a case needs that is not built, or None if we claim to pass it."""
    options = sorted(set(case["options"]) - {"max_check_attempts"})
    if options:
        return f"option {options[0]}"
    for step in case["steps"]:
        if not isinstance(step["step"], int):
            verb, argument = step["step"][:2]
            return f"external command {argument.split(';')[0]}" if verb == "cmd" else f"state of the {verb}"
        unknown = sorted(set(step) - COMPARED)
        if unknown:
            return f"field {unknown[0]}"
    return None


def replay(case: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What our machine says after each step, in the words of the recording."""
    subject = Subject(case["kind"])
    machine = Machine()
    for index, expected in enumerate(case["steps"]):
        code = expected["step"]
        state = State(code) if 0 <= code <= 3 else State.UNKNOWN
        step = advance(
            machine,
            state,
            at_ms=index,
            max_check_attempts=case["options"].get("max_check_attempts", 3),
            subject=subject,
        )
        machine = step.machine
        yield {"step": code} | as_recorded(step, subject, index)


def as_recorded(step: Step, subject: Subject, index: int) -> dict[str, Any]:
    word = WORDS[subject]
    machine = step.machine
    state, state_type = word[machine.state], machine.state_type.value.upper()
    answer: dict[str, Any] = {
        "state": state,
        "state_type": state_type,
        "attempt": machine.attempt,
        "percent_state_change": round(machine.change_percent, 2),
        "last_state": "UP" if subject is Subject.HOST else "OK",
        "has_problem_id": step.is_problem,
    }
    if step.before.state is not State.PENDING:
        answer["last_state"] = word[step.before.state]
    if step.is_logged:
        service = "" if subject is Subject.HOST else "s;"
        answer["event_handlers"] = [[state, state_type, machine.attempt]]
        answer["alert"] = [
            f"{subject.value.upper()} ALERT: H;{service}{state};{state_type};{machine.attempt};out {index}"
        ]
    if step.notices:
        answer["notifications"] = [
            {"type": NOTICE_WORDS[notice.kind], "state": state, "number": notice.number} for notice in step.notices
        ]
    log = [line for notice in step.notices if (line := flapping_line(notice, subject, machine.change_percent))]
    if log:
        answer["log"] = log
    return answer


def flapping_line(notice: Notice, subject: Subject, percent: float) -> str | None:
    is_host = subject is Subject.HOST
    who = f"{subject.value.upper()} FLAPPING ALERT: H;{'' if is_host else 's;'}"
    if notice.kind is NoticeKind.FLAPPING_START:
        compared = f"({percent:.1f}% change {'>' if is_host else '>='} {FLAP_HIGH_PERCENT:.1f}% threshold)"
        return f"{who}STARTED; {subject.value.capitalize()} appears to have started flapping {compared}"
    if notice.kind is NoticeKind.FLAPPING_STOP:
        compared = f"({percent:.1f}% change < {FLAP_LOW_PERCENT:.1f}% threshold)"
        return f"{who}STOPPED; {subject.value.capitalize()} appears to have stopped flapping {compared}"
    return None


def comparable(expected: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded step with the recording's name of the host taken out."""
    answer = dict(expected)
    if "log" in answer:
        answer["log"] = [HOST_IN_LOG.sub("H", line) for line in answer["log"]]
    return answer


def differences(case: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every step of a case on which we and the recording differ."""
    for index, (expected, got) in enumerate(zip(case["steps"], replay(case), strict=True)):
        wanted = comparable(expected)
        names = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
        if names:
            yield {
                "case": case["name"],
                "step": index,
                "expected": {name: wanted.get(name) for name in names},
                "got": {name: got.get(name) for name in names},
            }


def run_file(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    cases = content.get("cases") if isinstance(content, dict) else None
    report: dict[str, Any] = {"file": str(path), "passed": 0, "failed": 0, "skipped": 0, "failures": [], "skips": []}
    if not cases or not all({"kind", "options", "steps"} <= case.keys() for case in cases):
        report["skipped"] = 1
        report["skips"] = [{"case": path.name, "missing": "files of this kind"}]
        return report
    for case in cases:
        missing = missing_feature(case)
        if missing is not None:
            report["skipped"] += 1
            report["skips"].append({"case": case["name"], "missing": missing})
            continue
        failures = list(differences(case))
        report["failed" if failures else "passed"] += 1
        report["failures"] += failures
    return report


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
def main(files: tuple[Path, ...], as_json: bool) -> None:
    reports = [run_file(path) for path in files]
    for report in reports:
        if as_json:
            click.echo(json.dumps(report))
            continue
        click.echo(
            f"{report['file']}: {report['passed']} passed, {report['failed']} failed, {report['skipped']} skipped"
        )
        for skip in report["skips"]:
            click.echo(f"  skipped  {skip['case']}: not built yet: {skip['missing']}")
        for failure in report["failures"]:
            click.echo(
                f"  FAILED   {failure['case']}, step {failure['step']}: "
                f"expected {failure['expected']}, got {failure['got']}"
            )
    sys.exit(1 if any(report["failed"] for report in reports) else 0)


if __name__ == "__main__":
    main()
