"""How the state file came to its present tables: named steps, each run once and recorded in the file.

A step that has been released is never changed; the next one changes what it made.
"""

from __future__ import annotations

import sqlite3

import sqlite_utils
from sqlite_utils.migrations import Migrations

from appliance.errors import CannotStart
from appliance.state import audit

migrations = Migrations("henge")


@migrations()
def documents_events_messages_audit(db: sqlite_utils.Database) -> None:
    """The first tables."""
    _documents_and_audit(db)
    _events_and_messages(db)
    db.table("revision").create({"id": int, "revision": int}, pk="id", not_null={"revision"}, strict=True)
    db.table("revision").insert({"id": 1, "revision": 0})


@migrations()
def audit_is_a_chain(db: sqlite_utils.Database) -> None:
    """Each entry holds the hash of the one before; secrets that earlier versions kept in entries are taken out.

    Triggers refuse what an append-only table does not do: SQL that goes around the writer fails rather than being found
    later.
    """
    db.execute("ALTER TABLE audit ADD COLUMN origin TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT ''")
    db.execute("CREATE TABLE audit_start (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT")
    audit.chain_anew(db.conn)
    db.execute(
        "CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'entries of the audit are not changed'); END"
    )
    db.execute(
        "CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit WHEN old.seq > (SELECT seq FROM audit_start)"
        " BEGIN SELECT RAISE(ABORT, 'entries of the audit are not removed'); END"
    )


def _documents_and_audit(db: sqlite_utils.Database) -> None:
    db.table("documents").create(
        {
            "kind": str,
            "id": str,
            "version": int,
            "unique_name": str,
            "created_ms": int,
            "updated_ms": int,
            "updated_by": str,
            "body": str,  # Last, because it is long: what stands before it is read without its pages.
        },
        pk=("kind", "id"),
        not_null={"kind", "id", "version", "created_ms", "updated_ms", "updated_by", "body"},
        strict=True,
    )
    db.execute(
        "CREATE UNIQUE INDEX documents_by_unique_name ON documents (kind, unique_name) WHERE unique_name IS NOT NULL"
    )
    db.execute(
        "CREATE TABLE audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, actor TEXT NOT NULL,"
        " kind TEXT NOT NULL, id TEXT NOT NULL, before TEXT, after TEXT) STRICT"
    )
    db.table("audit").create_index(["kind", "id", "seq"], "audit_by_document")


def _events_and_messages(db: sqlite_utils.Database) -> None:
    # AUTOINCREMENT, which sqlite-utils does not write: the seq of a pruned event is never given again.
    db.execute(
        "CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
        " subject TEXT NOT NULL, body TEXT NOT NULL) STRICT"
    )
    db.table("events").create_index(["kind", "subject", "seq"], "events_by_kind_and_subject")
    db.table("events").create_index(["subject", "seq"], "events_by_subject")
    db.table("events").create_index(["kind", "seq"], "events_by_kind")
    db.table("messages").create(
        {
            "id": str,
            "channel": str,
            "status": str,
            "due_ms": int,
            "attempt_count": int,
            "last_error": str,
            "created_ms": int,
            "delivered_ms": int,
            "body": str,
        },
        pk="id",
        not_null={"channel", "status", "due_ms", "attempt_count", "last_error", "created_ms", "body"},
        strict=True,
    )
    db.table("messages").create_index(["status", "due_ms"], "messages_by_status")
    db.table("messages").create_index(["channel", "created_ms"], "messages_by_channel")
    db.table("messages").create_index(["created_ms"], "messages_by_age")


def pending_names(connection: sqlite3.Connection) -> list[str]:
    """The steps that this file still needs. Raises: CannotStart, if a newer Henge has written it."""
    db = sqlite_utils.Database(connection)
    known = {migration.name for migration in migrations.pending(sqlite_utils.Database(memory=True))}
    unknown = [migration.name for migration in migrations.applied(db) if migration.name not in known]
    if unknown:
        raise CannotStart(
            f"the state file was written by a newer Henge (it has had the step {unknown[0]!r}); "
            f"start that version, or restore a file of the folder `backups` beside it"
        )
    return [migration.name for migration in migrations.pending(db)]


def apply_all(connection: sqlite3.Connection) -> None:
    """Run the pending steps, each in a transaction of its own."""
    migrations.apply(sqlite_utils.Database(connection))
