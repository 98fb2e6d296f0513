"""Reading the state file, in any process and thread, also while its writer is down."""

# ruff: noqa: S608 - The statements are put together from constants of ours; values go as parameters.

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance.state.audit import Head, Verdict, verify
from appliance.state.errors import BadMutation, Unavailable
from appliance.state.model import AuditEntry, Document, Event, Message, MessageStatus

LIMIT_MAX = 100_000
_MESSAGE = "id, channel, body, status, due_ms, attempt_count, last_error, created_ms, delivered_ms"
_DOCUMENT = "kind, id, version, body, created_ms, updated_ms, updated_by, unique_name"
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_PATH = re.compile(r"\$(\.(\w+|\"[^\"]*\")|\[\d+\])+", re.ASCII)

Documents = list[Document]  # Within the class, `list` is the method.
Events = list[Event]
Messages = list[Message]
Audit = list[AuditEntry]
Rows = list[tuple[Any, ...]]


def json_path(*names: str) -> str:
    """The path to a value inside of a body: `$."labels"."team"`.

    Raises: BadMutation, for names that JSON writes with a backslash: SQLite does not find them.
    """
    for name in names:
        if '"' in name or "\\" in name or any(character < " " for character in name):
            raise BadMutation(f"{name!r}: a name to look for cannot hold quotes, backslashes or control characters")
    return "$" + "".join(f'."{name}"' for name in names)


class StateReader:
    """A handle on the state file. Each call sees one moment of it, at least as new as every answered apply()."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[tuple[int, sqlite3.Connection]] = []  # With the inode that each has open.

    def get(self, kind: str, id: str) -> Document | None:  # noqa: A002 - As the document calls it.
        rows = self._rows(f"SELECT {_DOCUMENT} FROM documents WHERE kind = ? AND id = ?", (kind, id))
        return _document(rows[0]) if rows else None

    def get_many(self, kind: str, ids: Sequence[str]) -> dict[str, Document]:
        """The documents that exist of these ids, by id."""
        rows = self._rows(
            f"SELECT {_DOCUMENT} FROM documents WHERE kind = ? AND id IN (SELECT value FROM json_each(?))",
            (kind, msgspec.json.encode(list(ids)).decode()),
        )
        return {row[1]: _document(row) for row in rows}

    def by_unique(self, kind: str, unique: str) -> Document | None:
        rows = self._rows(f"SELECT {_DOCUMENT} FROM documents WHERE kind = ? AND unique_name = ?", (kind, unique))
        return _document(rows[0]) if rows else None

    def list(
        self,
        kind: str,
        *,
        where: Mapping[str, Any] | None = None,
        greatest_first: str | None = None,
        limit: int = LIMIT_MAX,
        offset: int = 0,
    ) -> Documents:
        """The documents of a kind by id, those whose values at the JSON paths of where are equal to the given ones.

        where: such as {"$.labels.team": "shop", "$.paused": False}; None is an absent value or null.
        greatest_first: the JSON path of the value by which they come instead, such as "$.started_at_ms".
        """
        condition, parameters = _condition(where)
        order = "id" if greatest_first is None else "json_extract(body, ?) DESC, id"
        rows = self._rows(
            f"SELECT {_DOCUMENT} FROM documents WHERE kind = ?{condition} ORDER BY {order} LIMIT ? OFFSET ?",
            (kind, *parameters, *_given(greatest_first), limit, offset),
        )
        return [_document(row) for row in rows]

    def count(self, kind: str, *, where: Mapping[str, Any] | None = None) -> int:
        condition, parameters = _condition(where)
        ((count,),) = self._rows(f"SELECT count(*) FROM documents WHERE kind = ?{condition}", (kind, *parameters))
        return int(count)

    def events(
        self, kind: str | None = None, subject: str | None = None, before_seq: int | None = None, limit: int = 100
    ) -> Events:
        """The newest first; the next page by before_seq, the seq of the last one."""
        rows = self._rows(
            "SELECT seq, at_ms, kind, subject, body FROM events"
            + _all_of({"kind = ?": kind, "subject = ?": subject, "seq < ?": before_seq})
            + " ORDER BY seq DESC LIMIT ?",
            (*_given(kind, subject, before_seq), limit),
        )
        return [Event(seq=row[0], at_ms=row[1], kind=row[2], subject=row[3], body=_decode(row[4])) for row in rows]

    def messages(
        self, status: MessageStatus | None = None, due_before_ms: int | None = None, limit: int = 100
    ) -> Messages:
        """The messages of the outbox that are due first, first."""
        rows = self._rows(
            f"SELECT {_MESSAGE} FROM messages"
            + _all_of({"status = ?": status, "due_ms < ?": due_before_ms})
            + " ORDER BY due_ms, id LIMIT ?",
            (*_given(status, due_before_ms), limit),
        )
        return [_message(row) for row in rows]

    def newest_messages(
        self, *, channel: str | None = None, where: Mapping[str, Any] | None = None, limit: int = 100, offset: int = 0
    ) -> Messages:
        """The messages of the outbox that were made last, first, whatever became of them; where as in list()."""
        condition, parameters = _condition(where)
        rows = self._rows(
            f"SELECT {_MESSAGE} FROM messages WHERE {'1' if channel is None else 'channel = ?'}{condition}"
            " ORDER BY created_ms DESC, id DESC LIMIT ? OFFSET ?",
            (*_given(channel), *parameters, limit, offset),
        )
        return [_message(row) for row in rows]

    def message_count(self, *, channel: str) -> int:
        """How many messages of a channel are on record."""
        ((count,),) = self._rows("SELECT count(*) FROM messages WHERE channel = ?", (channel,))
        return int(count)

    def message(self, id: str) -> Message | None:  # noqa: A002 - As the message calls it.
        rows = self._rows(
            f"SELECT {_MESSAGE} FROM messages WHERE id = ?",
            (id,),
        )
        return _message(rows[0]) if rows else None

    def audit(
        self,
        limit: int = 100,
        *,
        kind: str | None = None,
        id: str | None = None,  # noqa: A002
        actor: str | None = None,
        before_seq: int | None = None,
    ) -> Audit:
        """The newest first; the next page by before_seq, the seq of the last one."""
        rows = self._rows(
            "SELECT seq, at_ms, actor, origin, kind, id, hash, before, after FROM audit"
            + _all_of({"kind = ?": kind, "id = ?": id, "actor = ?": actor, "seq < ?": before_seq})
            + " ORDER BY seq DESC LIMIT ?",
            (*_given(kind, id, actor, before_seq), limit),
        )
        return [_audit_entry(row) for row in rows]

    def verify_audit(self, heads: Sequence[Head] = ()) -> Verdict:
        """Follow the chain of the audit; see audit.verify."""
        with self._connection() as connection:
            connection.execute("BEGIN")  # One moment of the file, also while the oldest entries are dropped.
            verdict = verify(connection, heads)
            connection.execute("COMMIT")
            return verdict

    def revision(self) -> int:
        ((revision,),) = self._rows("SELECT revision FROM revision", ())
        return int(revision)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _rows(self, statement: str, parameters: Sequence[Any]) -> Rows:
        """Raises: Unavailable, when there is no file that can be read."""
        with self._connection() as connection:
            return connection.execute(statement, parameters).fetchall()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses, to the file that lies there now: a restored one is another file."""
        try:
            inode = self._path.stat().st_ino
            connection = self._take(inode) or self._opened()
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(
                f"the state file {self._path} cannot be read: {error}; does the appliance run?"
            ) from error
        try:
            yield connection
        except sqlite3.Error as error:
            connection.close()
            raise Unavailable(f"the state file {self._path} cannot be read: {error}; see the log") from error
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append((inode, connection))

    def _take(self, inode: int) -> sqlite3.Connection | None:
        with self._lock:
            while self._idle:
                found_inode, connection = self._idle.pop()
                if found_inode == inode:
                    return connection
                connection.close()
        return None

    def _opened(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=2.0, isolation_level=None)
        connection.execute("PRAGMA query_only = ON")
        return connection


def _condition(where: Mapping[str, Any] | None) -> tuple[str, list[Any]]:
    """The text to append to a WHERE, and its parameters.

    Raises: BadMutation, for a path that is none, and for a value that SQLite does not find.
    """
    text, parameters = "", []
    for path, value in (where or {}).items():
        if not _PATH.fullmatch(path):
            raise BadMutation(f"{path!r} is not a JSON path such as $.labels.team; build it with json_path()")
        if not isinstance(value, str | int | float | None):
            raise BadMutation(f"{path} is compared with a {type(value).__name__}; compare with a text, number or None")
        if isinstance(value, str) and "\0" in value:  # SQLite ends a text that it takes out of JSON there.
            raise BadMutation(f"{path} is compared with {value!r:.100}; a text to look for cannot hold NUL")
        text += " AND json_extract(body, ?) IS ?"
        parameters += [path, value]
    return text, parameters


def _all_of(value_by_condition: Mapping[str, Any]) -> str:
    conditions = [condition for condition, value in value_by_condition.items() if value is not None]
    return " WHERE " + " AND ".join(conditions) if conditions else ""


def _given(*values: Any) -> list[Any]:
    return [value for value in values if value is not None]


def _audit_entry(row: tuple[Any, ...]) -> AuditEntry:
    return AuditEntry(
        seq=row[0],
        at_ms=row[1],
        actor=row[2],
        origin=row[3],
        kind=row[4],
        id=row[5],
        hash=row[6],
        before=None if row[7] is None else _decode(row[7]),
        after=None if row[8] is None else _decode(row[8]),
    )


def _document(row: tuple[Any, ...]) -> Document:
    return Document(
        kind=row[0],
        id=row[1],
        version=row[2],
        body=_decode(row[3]),
        created_ms=row[4],
        updated_ms=row[5],
        updated_by=row[6],
        unique=row[7],
    )


def _message(row: tuple[Any, ...]) -> Message:
    return Message(
        id=row[0],
        channel=row[1],
        body=_decode(row[2]),
        status=row[3],
        due_ms=row[4],
        attempt_count=row[5],
        last_error=row[6],
        created_ms=row[7],
        delivered_ms=row[8],
    )
