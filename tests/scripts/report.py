"""What the conformance runners print, and which failures they forgive.

Known exceptions stand beside a runner in a file `NAME.known`, one a line: the case, then the reason why it cannot pass.
They count as failed; only the exit status forgives them. It does not forgive one that passes: the list only shrinks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click


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

    @property
    def failed(self) -> set[str]:
        return {failure["case"] for failure in self.failures}

    def note(self, case: str, expected: str | None, got: str) -> None:
        """Count one case; expected is None if it passed."""
        if expected is None:
            self.passed += 1
        else:
            self.failures.append({"case": case, "expected": expected, "got": got})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is not forgiven: failures that nobody knows of, and known ones that did not happen."""

    unknown: set[str]
    outlived: set[str]

    @property
    def is_good(self) -> bool:
        return not self.unknown and not self.outlived


def known_exceptions(path: Path) -> dict[str, str]:
    """Case → the reason why it cannot pass."""
    lines = path.read_text().splitlines() if path.exists() else []
    entries = (line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    return {case: reason.strip() for case, reason in entries}


def judged(reports: Sequence[Report], known: Mapping[str, str]) -> Verdict:
    """Cases are named `file:number`; of files that were not run, nothing is said."""
    failed = set().union(*(report.failed for report in reports))
    files = {report.file for report in reports}
    return Verdict(failed - known.keys(), {case for case in known.keys() - failed if case.rpartition(":")[0] in files})


def told(reports: Sequence[Report], known: Mapping[str, str], *, as_json: bool) -> None:
    """Print the reports, and end the process: with status 1 if something is not forgiven."""
    for report in reports:
        for line in [report.as_json()] if as_json else _lines(report, known):
            click.echo(line)
    verdict = judged(reports, known)
    if not as_json:
        for case in sorted(verdict.outlived):
            click.echo(f"no longer fails {case}: take it out of the list of known exceptions")
    raise SystemExit(not verdict.is_good)


def _lines(report: Report, known: Mapping[str, str]) -> Iterator[str]:
    yield f"{report.file}: {report.passed} passed, {len(report.failures)} failed, {report.skipped.total()} skipped"
    for what, count in report.skipped.most_common():
        yield f"  skipped {count}: {what}"
    for failure in report.failures:
        if failure["case"] in known:
            yield f"  known {failure['case']}: {known[failure['case']]}"
        else:
            yield f"  failed {failure['case']}: expected {failure['expected']}; got {failure['got']}"
