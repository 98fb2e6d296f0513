"""The chain of the audit: what verify finds of each thing that can be done to the file, and what entries hold."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlite_utils
from click.testing import CliRunner

from appliance.cli import henge
from appliance.state import DeleteDocument, PutDocument, migrations
from appliance.state.audit import FIRST, HEAD_FILE_NAME, Head, entry_hash, read_head
from appliance.state.differences import ABSENT, Difference, differences
from appliance.state.model import AuditEntry
from tests.appliance.state.conftest import StateFile

COUNT = 6


@pytest.fixture
def chain(state: StateFile) -> StateFile:
    """Six entries: five creations and a deletion; the writer is closed."""
    for index in range(COUNT - 1):
        state.writer.apply([PutDocument("check", f"c{index}", {"n": index})], "user:ann", "192.0.2.7")
    state.writer.apply([DeleteDocument("check", "c0")], "user:ann", "192.0.2.7")
    state.writer.close()
    return state


def run(state: StateFile, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(henge, ["audit", *arguments, "--data", str(state.path.parent)])
    return result.exit_code, result.output


def tamper(*statements: str) -> Callable[[StateFile], None]:
    """Run SQL as somebody who takes the triggers away first."""

    def do(state: StateFile) -> None:
        with contextlib.closing(sqlite3.connect(state.path)) as connection, connection:
            connection.execute("DROP TRIGGER audit_is_not_changed")
            connection.execute("DROP TRIGGER audit_is_not_shortened")
            for statement in statements:
                connection.execute(statement)

    return do


def write_anew(state: StateFile) -> None:
    """Entry 4 tells another story, and the hashes from there on fit."""
    tamper("UPDATE audit SET actor = 'user:bob' WHERE seq = 4")(state)
    with contextlib.closing(sqlite3.connect(state.path)) as connection, connection:
        rows = connection.execute(
            "SELECT seq, at_ms, actor, origin, kind, id, before, after, hash FROM audit ORDER BY seq"
        ).fetchall()
        previous = FIRST
        for *fields, _ in rows:
            previous = entry_hash(previous, fields)
            connection.execute("UPDATE audit SET hash = ? WHERE seq = ?", (previous, fields[0]))


INSERT = "INSERT INTO audit (seq, at_ms, actor, kind, id, hash) VALUES ({}, 1, 'x', 'check', 'y', '{}')"
TAMPERED: dict[str, tuple[Callable[[StateFile], None], str]] = {
    **{
        f"{column} changed": (
            tamper(f"UPDATE audit SET {column} = {value} WHERE seq = 3"),
            "broken at entry 3: entry 3 does not follow from entry 2",
        )
        for column, value in {
            "at_ms": "1",
            "actor": "'user:bob'",
            "origin": "''",
            "kind": "'user'",
            "id": "'c9'",
            "before": "'{}'",
            "after": "NULL",
            "hash": f"'{'0' * 64}'",
        }.items()
    },
    "a row removed": (tamper("DELETE FROM audit WHERE seq = 3"), "broken at entry 4: entry 3 removed"),
    "rows removed": (tamper("DELETE FROM audit WHERE seq IN (3, 4)"), "broken at entry 5: entries 3 … 4 removed"),
    "two rows exchanged": (
        tamper(
            "UPDATE audit SET seq = 99 WHERE seq = 3",
            "UPDATE audit SET seq = 3 WHERE seq = 4",
            "UPDATE audit SET seq = 4 WHERE seq = 99",
        ),
        "broken at entry 3:",
    ),
    "a row inserted": (tamper(INSERT.format(0, "0" * 64)), "broken at entry 0:"),
    "a row added": (tamper(INSERT.format(7, "1" * 64)), "broken at entry 7:"),
    "the beginning cut": (tamper("DELETE FROM audit WHERE seq < 3"), "broken at entry 3: entries 1 … 2 removed"),
    "the beginning cut as if by age": (
        tamper(
            "UPDATE audit_start SET seq = 2, hash = (SELECT hash FROM audit WHERE seq = 2)",
            "DELETE FROM audit WHERE seq < 3",
        ),
        "broken at entry 3: 4 entries are left and 100,000 are kept: entries up to 2 were removed",
    ),
    "the tail cut": (tamper("DELETE FROM audit WHERE seq > 4"), "broken at entry 5: the entries 5 … 6 were there once"),
    "everything cut": (tamper("DELETE FROM audit"), "broken at entry 1: the entries 1 … 6 were there once"),
    "written anew": (write_anew, "broken at entry 6: entry 6 is not the one that the head 6:"),
}


@pytest.mark.parametrize(("change", "want"), TAMPERED.values(), ids=TAMPERED.keys())
def test_the_first_broken_entry_is_named(chain: StateFile, change: Callable[[StateFile], None], want: str) -> None:
    assert run(chain, "verify")[0] == 0
    change(chain)
    status, output = run(chain, "verify")
    assert status == 1
    assert want in output


def test_a_whole_chain_is_told_with_its_head(chain: StateFile) -> None:
    head = read_head(chain.path.parent)
    assert head is not None
    assert run(chain, "verify") == (0, f"6 entries hold together\n{head.text}\n")
    assert run(chain, "verify", "--head", head.text)[0] == 0
    status, output = run(chain, "verify", "--head", f"4:{'a' * 64}")
    assert (status, "entry 4 is not the one that the head 4:aaa" in output) == (1, True)
    assert "is not SEQ:HASH" in run(chain, "verify", "--head", "4:short")[1]


def test_without_the_head_beside_verify_says_what_it_cannot_see(chain: StateFile) -> None:
    (chain.path.parent / HEAD_FILE_NAME).unlink()
    tamper("DELETE FROM audit WHERE seq > 4")(chain)
    status, output = run(chain, "verify")
    assert status == 0
    assert "note: there is no audit.head beside the state file: a cut tail cannot be seen" in output


def test_the_file_refuses_to_change_or_shorten_the_audit(chain: StateFile) -> None:
    with contextlib.closing(sqlite3.connect(chain.path)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="are not changed"):
            connection.execute("UPDATE audit SET actor = 'x'")
        with pytest.raises(sqlite3.IntegrityError, match="are not removed"):
            connection.execute("DELETE FROM audit WHERE seq = 6")


def test_a_lost_tail_becomes_an_entry_at_the_next_start(chain: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    before = read_head(chain.path.parent)
    assert before is not None
    tamper("DELETE FROM audit WHERE seq > 4")(chain)
    chain.open()
    (noted,) = chain.read.audit(kind="audit")
    assert noted.after == {"had": before.text, "has": f"4:{chain.read.audit(before_seq=5, limit=1)[0].hash}"}
    assert (noted.seq, noted.actor) == (5, "state")
    assert "the audit ends with entry 4, but entry 6 was in it" in caplog.text
    status, output = run(chain, "verify")
    assert status == 0
    assert "note: entry 5 records that entries before it are lost" in output
    chain.reopen()
    assert len(chain.read.audit(kind="audit")) == 1, "it was noted twice"


def test_a_head_that_is_older_than_the_chain_is_no_fault(state: StateFile) -> None:
    state.writer.apply([PutDocument("check", "a", {})], "s")
    older = (state.path.parent / HEAD_FILE_NAME).read_text()
    state.writer.apply([PutDocument("check", "b", {})], "s")
    (state.path.parent / HEAD_FILE_NAME).write_text(older)
    state.reopen()
    assert state.read.audit(kind="audit") == []
    assert read_head(state.path.parent) == Head(2, state.read.audit(limit=1)[0].hash)


@pytest.mark.parametrize("content", ["", "5", "x:y", "5:" + "0" * 63, "\udcff"])
def test_a_head_that_cannot_be_read_stops_nothing(state: StateFile, content: str) -> None:
    state.writer.apply([PutDocument("check", "a", {})], "s")
    (state.path.parent / HEAD_FILE_NAME).write_bytes(content.encode("utf-8", "surrogateescape"))
    state.reopen()
    assert read_head(state.path.parent) == Head(1, state.read.audit()[0].hash)


def test_a_head_that_cannot_be_written_stops_no_change(state: StateFile, caplog: pytest.LogCaptureFixture) -> None:
    (state.path.parent / f"{HEAD_FILE_NAME}.partial").mkdir()
    state.writer.apply([PutDocument("check", "a", {})], "s")
    assert state.read.get("check", "a") is not None
    assert "the head of the audit could not be written" in caplog.text


def test_the_chain_goes_on_behind_what_was_dropped(state: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.state.writer.AUDIT_COUNT_MAX", 3)
    monkeypatch.setattr("appliance.state.audit.COUNT_MAX", 3)
    for index in range(5):
        state.writer.apply([PutDocument("check", f"c{index}", {})], "s")
        state.writer.upkeep()
    assert [entry.seq for entry in state.read.audit()] == [5, 4, 3]
    verdict = state.read.verify_audit()
    assert (verdict.entry_count, verdict.fault) == (3, None)


def test_the_hash_is_the_one_of_the_format_page() -> None:
    """Worked by hand from docs/format/audit.md."""
    texts = (b"1", b"1700000000000", "user:änn".encode(), b"", b"check", b"a", None, b"{}")
    content = b"henge-audit-1" + bytes(32)
    for text in texts:
        content += b"\xff" * 8 if text is None else len(text).to_bytes(8, "little") + text
    want = hashlib.sha256(content).hexdigest()
    assert entry_hash(FIRST, (1, 1_700_000_000_000, "user:änn", "", "check", "a", None, "{}")) == want


def test_secrets_are_hidden_and_that_they_changed_is_not(state: StateFile) -> None:
    def put(kind: str, body: dict[str, object]) -> AuditEntry:
        state.writer.apply([PutDocument(kind, "a", body)], "s")
        return state.read.audit(limit=1)[0]

    put("user", {"name": "ann", "password_hash": "$argon2id$one", "role": "admin"})
    same = put("user", {"name": "ann", "password_hash": "$argon2id$one", "role": "viewer"})
    assert differences(same) == [Difference("role", "admin", "viewer")]
    other = put("user", {"name": "ann", "password_hash": "$argon2id$two", "role": "viewer"})
    assert differences(other) == [Difference("password_hash", "(hidden)", "(hidden, changed)")]
    made = put("channel", {"options": {"secret": "sealed:abc", "to": ["sealed:x", "b"]}})
    assert made.after == {"options": {"secret": "(hidden)", "to": ["(hidden)", "b"]}}
    state.writer.apply([DeleteDocument("user", "a")], "s")
    gone = state.read.audit(limit=1)[0]
    assert gone.before == {"name": "ann", "password_hash": "(hidden)", "role": "viewer"}
    stored = state.path.parent / "copy.db"
    with contextlib.closing(sqlite3.connect(stored)) as copy:
        state.writer._connection.backup(copy)
        (text,) = copy.execute("SELECT group_concat(coalesce(before, '') || coalesce(after, '')) FROM audit").fetchone()
    assert "argon2id" not in text
    assert "sealed:" not in text


def test_a_file_from_before_the_chain_gets_its_hashes_and_loses_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    first = migrations.migrations.pending(sqlite_utils.Database(memory=True))[0]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        db = sqlite_utils.Database(connection)
        connection.execute("PRAGMA application_id = 0x48454E47")
        migrations.migrations.apply(db, stop_before="audit_is_a_chain")
        assert [migration.name for migration in migrations.migrations.applied(db)] == [first.name]
        connection.executemany(
            "INSERT INTO audit (seq, at_ms, actor, kind, id, before, after) VALUES (?, 1, 's', 'user', 'a', ?, ?)",
            [(seq, None, '{"password_hash":"$argon2id$old"}') for seq in (41, 42, 44)],
        )
    state = StateFile(path)
    try:
        assert [entry.after for entry in state.read.audit()] == [{"password_hash": "(hidden)"}] * 3
        assert state.read.verify_audit().entry_count == 3
        state.writer.apply([PutDocument("check", "a", {})], "s")
        verdict = state.read.verify_audit()
        assert (verdict.entry_count, verdict.head.seq, verdict.fault) == (4, 45, None)
    finally:
        state.close()


def test_list_says_who_from_where_and_what(chain: StateFile) -> None:
    status, output = run(chain, "list", "--limit", "2")
    assert status == 0
    newest, before = output.splitlines()
    assert newest.split("  ")[-4:] == ["user:ann", "192.0.2.7", "deleted check c0", f"n: 0 → {ABSENT}"]
    assert f"created check c4  n: {ABSENT} → 4" in before
    assert run(chain, "list", "--kind", "user") == (0, "")
    assert '"origin":"192.0.2.7"' in run(chain, "list", "--json", "--actor", "user:ann")[1]
