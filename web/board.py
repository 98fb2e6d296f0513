"""All checks with how they stand, kept in memory: the overview sorts and searches ten thousand of them per request.

It is a copy of state documents. Every reader compares the revision first; what changed since is read again, by the
ids that the state process named on the bus (Changes), or all of it when some of them may have been missed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import msgspec

from appliance.state import Change, Document, StateClient
from checks.catalogue import check_of, private_names
from checks.downtimes import Downtime, downtime_of, is_quiet, labels_of_check
from checks.errors import CheckError
from checks.latest import Latest
from checks.model import SEVERITY, Check, State
from checks.view import latest_from

EVERYTHING = 1_000_000  # More documents of one kind than an appliance holds.
PROBLEM_STATES = ("critical", "warning", "unknown")
KINDS = frozenset({"check", "result", "downtime", "incident"})  # What the board is made of.
HINT_WAIT_S = 0.1  # For hints that are on their way; without them everything is read, which takes longer than this.


class Changes:
    """Which documents changed since the board was last read; fed by whoever follows the hints, in another thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._documents: set[tuple[str, str]] = set()
        self._revision = 0
        self._is_complete = False  # Before the first link nothing is known.

    def add(self, change: Change) -> None:
        with self._condition:
            self._documents.update((kind, document_id) for kind, document_id in change.documents if kind in KINDS)
            self._revision = max(self._revision, change.revision)
            self._condition.notify_all()

    def lost(self) -> None:
        """Some hints were missed: the next reader reads everything."""
        with self._condition:
            self._is_complete = False
            self._condition.notify_all()

    @property
    def is_waiting(self) -> bool:
        """Whether something is to be read again though the revision is known: one commit comes as several hints."""
        with self._condition:
            return bool(self._documents) or not self._is_complete

    def take(self, revision: int) -> set[tuple[str, str]] | None:
        """What changed up to a revision, once; None: everything is to be read."""
        with self._condition:
            self._condition.wait_for(lambda: self._revision >= revision or not self._is_complete, HINT_WAIT_S)
            documents, self._documents = self._documents, set()
            is_known = self._is_complete and self._revision >= revision
            self._is_complete = True
            return documents if is_known else None


@dataclass(frozen=True)
class Row:
    """One check, with what the lists show of it. Never changed, so that what is sorted and searched by is made once."""

    id: str
    check: Check
    latest: Latest | None

    @cached_property
    def state(self) -> str:
        return self.latest.state if self.latest else State.PENDING.word

    @cached_property
    def shown_state(self) -> str:
        """What the person reads first: a paused check is neither well nor ill."""
        return "paused" if self.check.paused else self.state

    @cached_property
    def is_problem(self) -> bool:
        return not self.check.paused and self.state in PROBLEM_STATES

    @cached_property
    def order(self) -> tuple[int, str]:
        """Worst first, then by name."""
        severity = -2 if self.check.paused else SEVERITY[State[self.state.upper()]]
        return -severity, self.check.name.casefold()

    @cached_property
    def _text(self) -> str:
        """What is searched. No secrets: who guesses a part of one must not be told that it is right."""
        private = private_names(self.check.kind)
        return " ".join(
            (
                self.check.name,
                self.check.kind,
                *(f"{name}={value}" for name, value in self.check.labels.items()),
                *(v for name, v in self.check.options.items() if isinstance(v, str) and name not in private),
                self.latest.output if self.latest else "",
            )
        ).casefold()

    def matches(self, words: str) -> bool:
        """Whether every word occurs in the name, kind, labels or output, whatever its case."""
        text = self._text
        return all(word in text for word in words.casefold().split())


@dataclass(frozen=True)
class View:
    """The board at one revision. Never changed; a newer one replaces it."""

    revision: int
    rows: dict[str, Row]
    downtimes: tuple[tuple[str, Downtime], ...] = ()
    open_incident_count: int = 0

    @cached_property
    def _sorted(self) -> list[Row]:
        return sorted(self.rows.values(), key=lambda row: row.order)

    def sorted_rows(self, team: str | None = None) -> list[Row]:
        """Worst first, then by name."""
        return [row for row in self._sorted if team is None or row.check.team == team]

    def is_quiet(self, row: Row, at_ms: int) -> bool:
        """Whether a downtime covers the check now."""
        if not self.downtimes:
            return False
        downtimes = (downtime for _, downtime in self.downtimes)
        return is_quiet(downtimes, check_id=row.id, labels=labels_of_check(row.check), at_ms=at_ms)


@dataclass(slots=True)
class Board:
    """changes None: nobody follows the hints, and everything is read at each new revision."""

    state: StateClient
    changes: Changes | None = None
    _view: View | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def view(self) -> View:
        """The board at the newest revision."""
        revision = self.state.read.revision()
        if self._is_fresh(revision):
            assert self._view is not None
            return self._view
        with self._lock:
            if not self._is_fresh(revision):
                self._view = self._newer(revision)
            assert self._view is not None
            return self._view

    def _is_fresh(self, revision: int) -> bool:
        is_waiting = self.changes is not None and self.changes.is_waiting
        return self._view is not None and self._view.revision >= revision and not is_waiting

    def _newer(self, revision: int) -> View:
        changed = None if self.changes is None else self.changes.take(revision)
        if self._view is None or changed is None or len(changed) > len(self._view.rows) // 2:
            return self._read(revision)
        return self._changed(self._view, changed, revision)

    def _read(self, revision: int) -> View:
        """Everything. The revision was read before: what changes meanwhile is read again at the next request."""
        reader = self.state.read
        results = {document.id: document for document in reader.list("result", limit=EVERYTHING)}
        found = (row_of(document, results.get(document.id)) for document in reader.list("check", limit=EVERYTHING))
        return View(
            revision=revision,
            rows={row.id: row for row in found if row is not None},
            downtimes=self._downtimes(),
            open_incident_count=self._open_incident_count(),
        )

    def _changed(self, view: View, changed: set[tuple[str, str]], revision: int) -> View:
        ids: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for kind, document_id in changed:
            ids[kind].add(document_id)
        rows = dict(view.rows)
        self._read_rows(rows, ids["check"])
        reader = self.state.read
        results = reader.get_many("result", sorted(ids["result"] - ids["check"]))
        for check_id, document in results.items():
            if (row := rows.get(check_id)) is not None:
                rows[check_id] = replace(row, latest=latest_from(document))
        return View(
            revision=revision,
            rows=rows,
            downtimes=self._downtimes() if ids["downtime"] else view.downtimes,
            open_incident_count=self._open_incident_count() if ids["incident"] else view.open_incident_count,
        )

    def _read_rows(self, rows: dict[str, Row], check_ids: set[str]) -> None:
        """Put in, replace or take out the rows of these checks."""
        if not check_ids:
            return
        wanted = sorted(check_ids)
        checks, results = (self.state.read.get_many(kind, wanted) for kind in ("check", "result"))
        for check_id in wanted:
            row = row_of(checks[check_id], results.get(check_id)) if check_id in checks else None
            if row is None:
                rows.pop(check_id, None)
            else:
                rows[check_id] = row

    def _downtimes(self) -> tuple[tuple[str, Downtime], ...]:
        return tuple(_readable(self.state.read.list("downtime", limit=EVERYTHING)))

    def _open_incident_count(self) -> int:
        return self.state.read.count("incident", where={"$.state": "open"})


def row_of(check_document: Document, result_document: Document | None) -> Row | None:
    try:
        check = check_of(check_document.body)
    except msgspec.ValidationError:
        return None  # Written by another version of Henge; the check's own page says so.
    return Row(check_document.id, check, latest_from(result_document))


def _readable(documents: Iterable[Document]) -> Iterable[tuple[str, Downtime]]:
    for document in documents:
        try:
            yield document.id, downtime_of(document.body)
        except CheckError:
            continue  # As above: a downtime that cannot be read silences nothing.
