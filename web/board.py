"""All checks with how they stand, kept in memory: the overview sorts and searches ten thousand of them per request.

It is a copy of state documents. Every reader compares the revision first; what changed since is read again, by the
ids that the state process named on the bus, or all of it when some of them may have been missed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from appliance.state import Document, StateClient
from checks.catalogue import check_of
from checks.downtimes import Downtime, downtime_of, is_quiet, labels_of_check
from checks.errors import CheckError
from checks.latest import Latest
from checks.model import SEVERITY, Check, State
from checks.view import latest_from

EVERYTHING = 1_000_000  # More documents of one kind than an appliance holds.
PROBLEM_STATES = ("critical", "warning", "unknown")


@dataclass(frozen=True, slots=True)
class Row:
    """One check, with what the lists show of it."""

    id: str
    check: Check
    latest: Latest | None

    @property
    def state(self) -> str:
        return self.latest.state if self.latest else State.PENDING.word

    @property
    def shown_state(self) -> str:
        """What the person reads first: a paused check is neither well nor ill."""
        return "paused" if self.check.paused else self.state

    @property
    def is_problem(self) -> bool:
        return not self.check.paused and self.state in PROBLEM_STATES

    @property
    def severity(self) -> int:
        return SEVERITY[State[self.state.upper()]] if not self.check.paused else -2

    def matches(self, words: str) -> bool:
        """Whether every word occurs in the name, kind, labels or output, whatever its case."""
        text = " ".join(
            (
                self.check.name,
                self.check.kind,
                *(f"{name}={value}" for name, value in self.check.labels.items()),
                *(str(value) for value in self.check.options.values() if isinstance(value, str)),
                self.latest.output if self.latest else "",
            )
        ).casefold()
        return all(word in text for word in words.casefold().split())


@dataclass(frozen=True, slots=True)
class View:
    """The board at one revision. Never changed; a newer one replaces it."""

    revision: int
    rows: dict[str, Row]
    downtimes: tuple[tuple[str, Downtime], ...] = ()
    open_incident_count: int = 0

    def sorted_rows(self, team: str | None = None) -> list[Row]:
        """Worst first, then by name."""
        rows = [row for row in self.rows.values() if team is None or row.check.team == team]
        return sorted(rows, key=lambda row: (-row.severity, row.check.name.casefold()))

    def is_quiet(self, row: Row, at_ms: int) -> bool:
        """Whether a downtime covers the check now."""
        if not self.downtimes:
            return False
        downtimes = (downtime for _, downtime in self.downtimes)
        return is_quiet(downtimes, check_id=row.id, labels=labels_of_check(row.check), at_ms=at_ms)


@dataclass(slots=True)
class Board:
    state: StateClient
    _view: View | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def view(self) -> View:
        """The board at the newest revision."""
        revision = self.state.read.revision()
        found = self._view
        if found is not None and found.revision == revision:
            return found
        with self._lock:
            if self._view is None or self._view.revision < revision:
                self._view = self._read()
            return self._view

    def _read(self) -> View:
        reader = self.state.read
        revision = reader.revision()  # Read first: what changes meanwhile is read again at the next request.
        results = {document.id: document for document in reader.list("result", limit=EVERYTHING)}
        rows = {}
        for document in reader.list("check", limit=EVERYTHING):
            row = row_of(document, results.get(document.id))
            if row is not None:
                rows[row.id] = row
        return View(
            revision=revision,
            rows=rows,
            downtimes=tuple(_downtimes(reader.list("downtime", limit=EVERYTHING))),
            open_incident_count=len(reader.list("incident", where={"$.state": "open"}, limit=EVERYTHING)),
        )


def row_of(check_document: Document, result_document: Document | None) -> Row | None:
    try:
        check = check_of(check_document.body)
    except msgspec.ValidationError:
        return None  # Written by another version of Henge; the check's own page says so.
    return Row(check_document.id, check, latest_from(result_document))


def _downtimes(documents: Iterable[Document]) -> Iterable[tuple[str, Downtime]]:
    for document in documents:
        try:
            yield document.id, downtime_of(document.body)
        except CheckError:
            continue  # As above: a downtime that cannot be read silences nothing.
