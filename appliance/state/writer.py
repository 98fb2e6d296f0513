"""The one writer: lists of mutations become transactions; what waits at the same moment shares a commit."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance.clock import Clock
from appliance.state import audit, safekeeping
from appliance.state.errors import Conflict, DiskFull, NotFound, StateError, Unavailable
from appliance.state.model import Change
from appliance.state.mutations import (
    AppendEvent,
    DeleteDocument,
    Mutation,
    PutDocument,
    QueueMessage,
    UpdateMessage,
    body_json,
    check,
)

EVENT_COUNT_MAX = 1_000_000  # About 300 MB. The oldest go first.
MESSAGE_KEEP_MS = 90 * 86_400_000  # Of messages that are delivered or given up.

AUDIT_COUNT_MAX = audit.COUNT_MAX

log = logging.getLogger(__name__)

_PUT = """
    INSERT INTO documents (kind, id, version, unique_name, created_ms, updated_ms, updated_by, body)
    VALUES (?1, ?2, 1, ?3, ?4, ?4, ?5, ?6)
    ON CONFLICT (kind, id) DO UPDATE SET version = version + 1, unique_name = ?3, updated_ms = ?4, updated_by = ?5,
        body = ?6
"""
_PRUNE_EVENTS = """
    DELETE FROM events WHERE kind = ?1 AND subject = ?2 AND seq <=
        (SELECT seq FROM events WHERE kind = ?1 AND subject = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)
"""


class _Waiting:
    """A list of mutations whose caller waits, and what came of it."""

    def __init__(self, mutations: Sequence[Mutation], actor: str, origin: str) -> None:
        self.mutations = mutations
        self.actor = actor
        self.origin = origin
        self.revision: int | None = None  # None: not committed yet.
        self.error: Exception | None = None


class Writer:
    """The only object that changes the state file. Thread-safe.

    on_change is called after each commit, in the thread that committed, before its callers are answered.
    """

    def __init__(self, path: Path, clock: Clock, on_change: Callable[[Change], None] = lambda change: None) -> None:
        """Raises: CannotStart."""
        self.path = path
        self._clock = clock
        self._on_change = on_change
        self._connection = safekeeping.open_for_writing(path, clock.now_ms())
        self._revision = int(self._connection.execute("SELECT revision FROM revision").fetchone()[0])
        self._begin_audit(clock.now_ms())
        self._write_lock = threading.Lock()
        self._waiting_lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    @property
    def revision(self) -> int:
        """How many lists of mutations have been applied since the file was made."""
        return self._revision

    def _begin_audit(self, now_ms: int) -> None:
        """Compare the chain with the head kept beside the file, and bring that one up to date. Raises: CannotStart."""
        try:
            with self._transaction():
                audit.note_loss(self._connection, self.path.parent, now_ms)
        except sqlite3.Error as error:  # A full disk: the next start notes it, as the head beside stays as it is.
            log.error("the audit of %s was not compared with its head: %s", self.path, error)
            self._head = audit.head_of(self._connection)
            return
        self._head = audit.head_of(self._connection)
        if audit.read_head(self.path.parent) != self._head:
            audit.write_head(self.path.parent, self._head)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def apply(self, mutations: Sequence[Mutation], actor: str, origin: str = "") -> int:
        """Apply all mutations or none; when this returns, they are on disk. Returns the new revision.

        Raises: Conflict, NotFound, BadMutation; Unavailable, when the disk does not take it.
        """
        check(mutations, actor, origin)
        waiting = _Waiting(mutations, actor, origin)
        with self._waiting_lock:
            self._waiting.append(waiting)
        with self._write_lock:
            # Whoever held the lock before may have committed this list together with its own.
            if waiting.revision is None and waiting.error is None:
                with self._waiting_lock:
                    group, self._waiting = self._waiting, []
                self._commit(group)
        if waiting.error is not None:
            raise waiting.error
        assert waiting.revision is not None
        return waiting.revision

    def _commit(self, group: list[_Waiting]) -> None:
        """One transaction for all lists of a group, each within its own savepoint: a refused one stops no other."""
        now_ms = self._clock.now_ms()
        revision = self._revision
        applied: list[_Waiting] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for waiting in group:
                self._connection.execute("SAVEPOINT one")
                try:
                    _apply_all(self._connection, waiting, now_ms)
                    applied.append(waiting)
                except StateError as error:
                    waiting.error = error
                    self._connection.execute("ROLLBACK TO one")
                self._connection.execute("RELEASE one")
            revision += len(applied)
            if applied:
                self._connection.execute("UPDATE revision SET revision = ?", (revision,))
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - Each caller of the group is told; none is left without an answer.
            self._roll_back()
            told = _refusal(self.path, error) if isinstance(error, sqlite3.Error) else error
            for waiting in group:
                waiting.error = waiting.error or told
            return
        self._revision = revision
        self._keep_head()
        for waiting in applied:
            waiting.revision = revision
        if applied:
            self._on_change(_change(revision, applied))

    def _keep_head(self) -> None:
        """After a commit: the head beside the file follows the chain, so that a tail cannot be cut unseen."""
        head = audit.head_of(self._connection)
        if head != self._head:
            self._head = head
            audit.write_head(self.path.parent, head)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def upkeep(self) -> None:
        """Drop what is too old or too much, and back the file up once a day.

        Raises: Unavailable, OSError, sqlite3.Error.
        """
        now_ms = self._clock.now_ms()
        newest = f"SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET {EVENT_COUNT_MAX}"  # noqa: S608 - ours.
        self._execute(f"DELETE FROM events WHERE seq <= ({newest})", ())  # noqa: S608
        self._prune_audit()
        self._execute(
            "DELETE FROM messages WHERE status != 'pending' AND max(due_ms, created_ms) < ?",
            (now_ms - MESSAGE_KEEP_MS,),
        )
        if safekeeping.backup_is_due(self.path, now_ms):
            safekeeping.back_up(self.path, now_ms, "daily")
            # A log that leaves this machine makes the head one that nobody here can take back.
            log.info("the head of the audit is %s", self._head.text)

    def _prune_audit(self) -> None:
        with self._write_lock:
            try:
                with self._transaction():
                    audit.prune(self._connection, AUDIT_COUNT_MAX)
            except sqlite3.Error as error:
                raise _refusal(self.path, error) from error

    def compact(self) -> None:
        """Move what the log of SQLite holds into the file, and empty the log."""
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)", ())

    def _execute(self, statement: str, parameters: tuple[Any, ...]) -> None:
        with self._write_lock:
            try:
                self._connection.execute(statement, parameters).fetchall()
            except sqlite3.Error as error:
                raise _refusal(self.path, error) from error

    def close(self) -> None:
        with self._write_lock:
            self._connection.close()


def _apply_all(connection: sqlite3.Connection, waiting: _Waiting, now_ms: int) -> None:
    """Raises: StateError; sqlite3.Error, for troubles of the disk."""
    for mutation in waiting.mutations:
        match mutation:
            case PutDocument():
                _put(connection, mutation, waiting, now_ms)
            case DeleteDocument():
                _delete(connection, mutation, waiting, now_ms)
            case AppendEvent():
                _append(connection, mutation)
            case QueueMessage():
                connection.execute(
                    "INSERT INTO messages (id, channel, status, due_ms, attempt_count, last_error, created_ms, body)"
                    " VALUES (?, ?, 'pending', ?, 0, '', ?, ?) ON CONFLICT (id) DO NOTHING",
                    (mutation.id, mutation.channel, mutation.due_ms, now_ms, body_json(mutation.id, mutation.body)),
                )
            case UpdateMessage():
                _update_message(connection, mutation)


def _put(connection: sqlite3.Connection, mutation: PutDocument, waiting: _Waiting, now_ms: int) -> None:
    what = f"{mutation.kind} {mutation.id!r}"
    body = body_json(what, mutation.body)
    before = None
    if mutation.audited or mutation.expected_version is not None:
        found = _found(connection, mutation.kind, mutation.id)
        before = found[1] if found else None
        _expect(what, mutation.expected_version, found[0] if found else 0)
    try:
        connection.execute(_PUT, (mutation.kind, mutation.id, mutation.unique, now_ms, waiting.actor, body))
    except sqlite3.IntegrityError as error:
        raise Conflict(
            f"{mutation.kind} {mutation.unique!r} exists already; choose another name, or change that one"
        ) from error
    if mutation.audited:
        _audit(connection, mutation, waiting, now_ms, (before, body))


def _delete(connection: sqlite3.Connection, mutation: DeleteDocument, waiting: _Waiting, now_ms: int) -> None:
    what = f"{mutation.kind} {mutation.id!r}"
    found = _found(connection, mutation.kind, mutation.id)
    if found is None:
        raise NotFound(f"there is no {what}; it may have been deleted meanwhile")
    _expect(what, mutation.expected_version, found[0])
    connection.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (mutation.kind, mutation.id))
    if mutation.audited:
        _audit(connection, mutation, waiting, now_ms, (found[1], None))


def _found(connection: sqlite3.Connection, kind: str, id_: str) -> tuple[int, str] | None:
    """The version and the body of a document."""
    row: tuple[int, str] | None = connection.execute(
        "SELECT version, body FROM documents WHERE kind = ? AND id = ?", (kind, id_)
    ).fetchone()
    return row


def _expect(what: str, expected_version: int | None, version: int) -> None:
    """version: 0, if there is none. Raises: Conflict."""
    if expected_version is None or expected_version == version:
        return
    if expected_version == 0:
        raise Conflict(f"{what} exists already, as version {version}; choose another id, or change that one")
    if version == 0:
        raise Conflict(f"{what} has been deleted since version {expected_version} was read; read again")
    raise Conflict(f"{what} is version {version} now, and {expected_version} was expected; read it again first")


def _audit(
    connection: sqlite3.Connection,
    mutation: PutDocument | DeleteDocument,
    waiting: _Waiting,
    now_ms: int,
    bodies: tuple[str | None, str | None],
) -> None:
    audit.append(connection, now_ms, waiting.actor, waiting.origin, (mutation.kind, mutation.id), bodies)


def _append(connection: sqlite3.Connection, mutation: AppendEvent) -> None:
    connection.execute(
        "INSERT INTO events (at_ms, kind, subject, body) VALUES (?, ?, ?, ?)",
        (mutation.at_ms, mutation.kind, mutation.subject, body_json(f"event {mutation.kind!r}", mutation.body)),
    )
    if mutation.keep_count is not None:
        connection.execute(_PRUNE_EVENTS, (mutation.kind, mutation.subject, mutation.keep_count))


def _update_message(connection: sqlite3.Connection, mutation: UpdateMessage) -> None:
    updated = connection.execute(
        "UPDATE messages SET status = ?, due_ms = ?, attempt_count = ?, last_error = ?, delivered_ms = ? WHERE id = ?",
        (
            mutation.status,
            mutation.due_ms,
            mutation.attempt_count,
            mutation.last_error,
            mutation.delivered_ms,
            mutation.id,
        ),
    )
    if updated.rowcount != 1:
        raise NotFound(f"there is no message {mutation.id!r} in the outbox; it may be too old and dropped")


def _change(revision: int, applied: Sequence[_Waiting]) -> Change:
    mutations = [mutation for waiting in applied for mutation in waiting.mutations]
    documents = {(one.kind, one.id): None for one in mutations if isinstance(one, PutDocument | DeleteDocument)}
    return Change(
        revision=revision,
        documents=list(documents),
        messages=any(isinstance(one, QueueMessage | UpdateMessage) for one in mutations),
        events=any(isinstance(one, AppendEvent) for one in mutations),
    )


def _refusal(path: Path, error: sqlite3.Error) -> Exception:
    """What a caller is told of a trouble of the disk.

    A damaged file is an AssertionError: the process must end, for the next start checks the file and restores it.
    """
    if safekeeping.is_damage(error):
        return AssertionError(f"{path} is damaged: {error}")
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return DiskFull(f"the disk of {path.parent} is full: nothing can be changed until space is freed")
    return Unavailable(f"the state file {path} does not take changes: {error}; see the disk and the log")
