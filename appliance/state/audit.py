"""The audit as a chain: each entry holds the SHA-256 of the one before it and of its own bytes.

Layout: docs/format/audit.md, which also says what the chain proves and what it cannot.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

log = logging.getLogger(__name__)

FORMAT = b"henge-audit-1"
NULL_LENGTH = (2**64 - 1).to_bytes(8, "little")  # In place of the length of a text that is null.
FIRST = "0" * 64  # The hash before the first entry.
HEAD_FILE_NAME = "audit.head"
LOSS_KIND, LOSS_ID = "audit", "chain"  # The entry that records that entries before it are gone.

COUNT_MAX = 100_000  # Entries that are kept; about 100 MB when each tells of a large document.

HIDDEN = "(hidden)"
HIDDEN_CHANGED = "(hidden, changed)"
SEALED_MARK = "sealed:"  # How sealed options begin, of any kind, at any depth.
SECRET_FIELDS: Mapping[str, frozenset[str]] = {
    "user": frozenset({"password_hash"}),
    "second_factor": frozenset({"secret", "recovery"}),
}
_ENTRY = "seq, at_ms, actor, origin, kind, id, before, after"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Head(NamedTuple):
    """The last entry of a chain."""

    seq: int
    hash: str

    @property
    def text(self) -> str:
        return f"{self.seq}:{self.hash}"


class Fault(NamedTuple):
    """The first thing that is wrong; seq: the entry at which it shows."""

    seq: int
    text: str


class Verdict(NamedTuple):
    """entry_count: entries that hold together, up to head. losses: seqs of entries that record a loss before them."""

    entry_count: int
    head: Head
    fault: Fault | None
    losses: list[int]


def entry_hash(previous: str, fields: Sequence[int | str | None]) -> str:
    """SHA-256 over the format's name, the hash before and the fields, each behind its length in bytes."""
    digest = hashlib.sha256(FORMAT + bytes.fromhex(previous))
    for field in fields:
        if field is None:
            digest.update(NULL_LENGTH)
            continue
        encoded = str(field).encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def redacted(kind: str, before: str | None, after: str | None) -> tuple[str | None, str | None]:
    """Both bodies without secrets. That a secret changed is still seen; what it was is not."""
    old = None if before is None else _decode(before)
    new = None if after is None else _decode(after)
    secret = SECRET_FIELDS.get(kind, frozenset())
    return _json(_without_secrets(old, old, secret)), _json(_without_secrets(new, new if old is None else old, secret))


def _without_secrets(value: Any, was: Any, secret: frozenset[str]) -> Any:
    """value with every secret hidden; was: what stood in its place before."""
    if isinstance(value, dict):
        parts = was if isinstance(was, dict) else {}
        return {
            name: _hidden(part, parts.get(name))
            if name in secret and part not in (None, "")
            else _without_secrets(part, parts.get(name), secret)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [
            _without_secrets(part, old, secret)
            for part, old in itertools.zip_longest(value, was[: len(value)] if isinstance(was, list) else ())
        ]
    if isinstance(value, str) and value.startswith(SEALED_MARK):
        return _hidden(value, was)
    return value


def _hidden(value: Any, other: Any) -> str:
    return HIDDEN if value == other else HIDDEN_CHANGED


def _json(body: dict[str, Any] | None) -> str | None:
    return None if body is None else msgspec.json.encode(body).decode()


def head_of(connection: sqlite3.Connection) -> Head:
    """The last entry; of an audit without entries, what came before the first."""
    row = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    if row is None:
        row = connection.execute("SELECT seq, hash FROM audit_start").fetchone()
    return Head(*row)


def append(
    connection: sqlite3.Connection, at_ms: int, actor: str, origin: str, document: tuple[str, str], bodies: Any
) -> None:
    """Add an entry within the transaction of what it tells. document: (kind, id); bodies: (before, after) as JSON."""
    last = head_of(connection)
    before, after = redacted(document[0], *bodies)
    fields = (last.seq + 1, at_ms, actor, origin, *document, before, after)
    connection.execute(
        f"INSERT INTO audit ({_ENTRY}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - ours.
        (*fields, entry_hash(last.hash, fields)),
    )


def prune(connection: sqlite3.Connection, count_max: int = COUNT_MAX) -> None:
    """Drop all but the newest entries, and keep the hash that the first of them builds on; within a transaction."""
    row = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1 OFFSET ?", (count_max,)).fetchone()
    if row is not None:
        connection.execute("UPDATE audit_start SET seq = ?, hash = ?", row)
        connection.execute("DELETE FROM audit WHERE seq <= ?", (row[0],))


def chain_anew(connection: sqlite3.Connection) -> None:
    """Give the entries of a file from before the chain their hashes, and take the secrets out of them."""
    first = connection.execute("SELECT min(seq) FROM audit").fetchone()[0]
    previous = FIRST
    connection.execute("INSERT INTO audit_start (id, seq, hash) VALUES (1, ?, ?)", ((first or 1) - 1, FIRST))
    rows = connection.execute(f"SELECT {_ENTRY} FROM audit ORDER BY seq").fetchall()  # noqa: S608
    for row in rows:
        before, after = redacted(row[4], row[6], row[7])
        previous = entry_hash(previous, (*row[:6], before, after))
        connection.execute(
            "UPDATE audit SET before = ?, after = ?, hash = ? WHERE seq = ?", (before, after, previous, row[0])
        )


def verify(connection: sqlite3.Connection, heads: Sequence[Head] = ()) -> Verdict:
    """Follow the chain to its first broken entry. heads: entries that must be in it, such as the head kept beside.

    Raises: sqlite3.Error.
    """
    last = Head(*connection.execute("SELECT seq, hash FROM audit_start").fetchone())
    start, count = last, 0
    losses: list[int] = []
    hash_by_seq = {start.seq: start.hash}
    wanted = {head.seq for head in heads}
    for *fields, found in connection.execute(f"SELECT {_ENTRY}, hash FROM audit ORDER BY seq"):  # noqa: S608
        seq = int(fields[0])
        if entry_hash(last.hash, fields) != found:
            return Verdict(count, last, Fault(seq, _broken(seq, last.seq)), losses)
        last, count = Head(seq, found), count + 1
        if seq in wanted:
            hash_by_seq[seq] = found
        if (fields[4], fields[5]) == (LOSS_KIND, LOSS_ID):
            losses.append(seq)
    if start.hash != FIRST and count < COUNT_MAX:
        text = f"{count:,} entries are left and {COUNT_MAX:,} are kept: entries up to {start.seq} were removed"
        return Verdict(0, start, Fault(start.seq + 1, text), losses)
    for head in heads:
        if head.seq > last.seq:
            text = f"the entries {last.seq + 1} … {head.seq} were there once (head {head.text:.20}…) and are gone"
            return Verdict(count, last, Fault(last.seq + 1, text), losses)
        if head.seq >= start.seq and hash_by_seq.get(head.seq) != head.hash:
            text = f"entry {head.seq} is not the one that the head {head.text:.20}… names: the chain was written anew"
            return Verdict(count, last, Fault(head.seq, text), losses)
    return Verdict(count, last, None, losses)


def _broken(seq: int, last_seq: int) -> str:
    if seq > last_seq + 1:
        missing = f"entry {last_seq + 1}" if seq == last_seq + 2 else f"entries {last_seq + 1} … {seq - 1}"
        return f"{missing} removed: entry {seq} does not follow from entry {last_seq}"
    return f"entry {seq} does not follow from entry {last_seq}: it was changed or inserted, or the one before it was"


def read_head(data_dir: Path) -> Head | None:
    """The head that is kept beside the state file; None, if there is none that can be read."""
    try:
        return parsed_head((data_dir / HEAD_FILE_NAME).read_text(encoding="utf-8").partition("\n")[0])
    except (OSError, ValueError):
        return None


def parsed_head(text: str) -> Head:
    """Raises: ValueError, for what is not SEQ:HASH."""
    seq, _, found = text.strip().partition(":")
    if not re.fullmatch(r"[0-9]{1,18}", seq) or not re.fullmatch(r"[0-9a-fA-F]{64}", found):
        raise ValueError(f"{text[:80]!r} is not SEQ:HASH, as `henge audit verify` prints it")
    return Head(int(seq), found.lower())


def write_head(data_dir: Path, head: Head) -> None:
    """Replace the head beside. It is not synced: after a power cut it may be older than the file, which is no fault."""
    target = data_dir / HEAD_FILE_NAME
    partial = target.with_name(target.name + ".partial")
    try:
        fd = os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            stream.write(f"{head.text}\n")
        partial.replace(target)
    except OSError as error:
        log.error("the head of the audit could not be written to %s: %s; the next change tries again", target, error)


def note_loss(connection: sqlite3.Connection, data_dir: Path, now_ms: int) -> None:
    """If the head beside knows entries that the file has not, say so in the chain itself; within a transaction.

    A restored backup is one reason, a cut tail another; the entry stays, so that somebody can ask which.
    """
    kept, last = read_head(data_dir), head_of(connection)
    if kept is None:
        return
    row = connection.execute("SELECT hash FROM audit WHERE seq = ?", (kept.seq,)).fetchone()
    start = connection.execute("SELECT seq FROM audit_start").fetchone()
    if kept.seq <= last.seq and (kept.seq <= start[0] or row == (kept.hash,)):
        return
    log.error(
        "the audit ends with entry %d, but entry %d was in it (%s): a backup was restored, or its tail was cut",
        last.seq,
        kept.seq,
        kept.hash,
    )
    after = msgspec.json.encode({"had": kept.text, "has": last.text}).decode()
    append(connection, now_ms, "state", "", (LOSS_KIND, LOSS_ID), (None, after))
