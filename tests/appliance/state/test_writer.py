"""Lists of mutations: all or none, in their order, durable and audited."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.state import (
    AppendEvent,
    AuditEntry,
    Change,
    DeleteDocument,
    Document,
    Message,
    Mutation,
    PutDocument,
    QueueMessage,
    UpdateMessage,
)
from appliance.state.errors import BadMutation, Conflict, DiskFull, NotFound, StateError, Unavailable
from appliance.state.mutations import BODY_BYTES_MAX, MUTATION_COUNT_MAX
from appliance.state.writer import Writer
from tests.appliance.state.conftest import START_MS, HandClock, StateFile


def test_a_document_is_created_replaced_and_deleted(state: StateFile) -> None:
    assert state.writer.apply([PutDocument("check", "a", {"name": "web"}, unique="web")], "ann") == 1
    state.clock.at_ms += 5
    assert state.writer.apply([PutDocument("check", "a", {"name": "site"}, unique="site")], "bob") == 2
    assert state.read.get("check", "a") == Document(
        kind="check",
        id="a",
        version=2,
        body={"name": "site"},
        created_ms=START_MS,
        updated_ms=START_MS + 5,
        updated_by="bob",
        unique="site",
    )
    assert state.read.by_unique("check", "web") is None
    assert state.writer.apply([DeleteDocument("check", "a")], "ann") == 3
    assert state.read.get("check", "a") is None
    assert [msgspec.structs.replace(entry, hash="") for entry in state.read.audit()] == [
        AuditEntry(seq=3, at_ms=START_MS + 5, actor="ann", kind="check", id="a", before={"name": "site"}, after=None),
        AuditEntry(
            seq=2, at_ms=START_MS + 5, actor="bob", kind="check", id="a", before={"name": "web"}, after={"name": "site"}
        ),
        AuditEntry(seq=1, at_ms=START_MS, actor="ann", kind="check", id="a", before=None, after={"name": "web"}),
    ]


def test_what_is_not_audited_leaves_no_trace(state: StateFile) -> None:
    state.writer.apply([PutDocument("result", "a", {"state": "ok"}, audited=False)], "scheduler")
    state.writer.apply([DeleteDocument("result", "a", audited=False)], "scheduler")
    assert state.read.audit() == []


HAVING = [PutDocument("check", "a", {"n": 1}, unique="web"), PutDocument("check", "b", {"n": 1})]  # Versions 1 and 1.
REFUSED: dict[str, tuple[Mutation, type[StateError], str]] = {
    "a version that is not the present one": (
        PutDocument("check", "a", {}, expected_version=2),
        Conflict,
        "check 'a' is version 1 now, and 2 was expected; read it again first",
    ),
    "one that exists and must not": (
        PutDocument("check", "a", {}, expected_version=0),
        Conflict,
        "check 'a' exists already, as version 1; choose another id, or change that one",
    ),
    "one that is gone": (
        PutDocument("check", "x", {}, expected_version=3),
        Conflict,
        "check 'x' has been deleted since version 3 was read; read again",
    ),
    "a name that is taken": (
        PutDocument("check", "b", {}, unique="web"),
        Conflict,
        "check 'web' exists already; choose another name, or change that one",
    ),
    "deleting what is not there": (
        DeleteDocument("check", "x"),
        NotFound,
        "there is no check 'x'; it may have been deleted meanwhile",
    ),
    "deleting another version": (
        DeleteDocument("check", "a", expected_version=9),
        Conflict,
        "check 'a' is version 1 now, and 9 was expected; read it again first",
    ),
    "a message that is not there": (
        UpdateMessage("x", "delivered", 1, 1),
        NotFound,
        "there is no message 'x' in the outbox; it may be too old and dropped",
    ),
    "an empty id": (PutDocument("check", "", {}), BadMutation, "id '': 0 characters, not 1 … 256"),
    "an empty unique name": (
        PutDocument("check", "b", {}, unique=""),
        BadMutation,
        "unique '': 0 characters, not 1 … 256",
    ),
    "a long subject": (
        AppendEvent("flip", "s" * 257, 1, {}),
        BadMutation,
        f"subject {'s' * 60!r:.60}: 257 characters, not 1 … 256",
    ),
    "a large body": (
        PutDocument("check", "b", {"text": "x" * BODY_BYTES_MAX}),
        BadMutation,
        "the body of check 'b' has 1,048,587 bytes, of at most 1,048,576",
    ),
    "keeping no event": (
        AppendEvent("flip", "a", 1, {}, keep_count=0),
        BadMutation,
        "keep_count 0: at least 1, for the event itself is kept",
    ),
}


@pytest.mark.parametrize(("mutation", "kind", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_mutation_undoes_its_whole_list(
    state: StateFile, mutation: Mutation, kind: type[StateError], text: str
) -> None:
    state.writer.apply(HAVING, "ann")
    before = contents(state)
    others: list[Mutation] = [
        PutDocument("check", "new", {}),
        DeleteDocument("check", "new"),
        AppendEvent("flip", "a", 1, {}),
        QueueMessage("m", "hook", 1, {}),
    ]
    with pytest.raises(kind) as refusal:
        state.writer.apply([*others, mutation, PutDocument("check", "after", {})], "ann")
    assert str(refusal.value) == text
    assert contents(state) == before


def contents(state: StateFile) -> Any:
    """Everything a reader can see."""
    return (
        state.read.list("check"),
        state.read.events(),
        state.read.messages(),
        state.read.audit(),
        state.read.revision(),
    )


def test_a_name_moves_when_it_is_given_up_first(state: StateFile) -> None:
    state.writer.apply(HAVING, "ann")
    state.writer.apply([PutDocument("check", "a", {}), PutDocument("check", "b", {}, unique="web")], "ann")
    found = state.read.by_unique("check", "web")
    assert found is not None
    assert found.id == "b"


def test_kinds_have_names_and_ids_of_their_own(state: StateFile) -> None:
    state.writer.apply([PutDocument(kind, "a", {"kind": kind}, unique="web") for kind in ("check", "channel")], "ann")
    assert [state.read.get(kind, "a").body for kind in ("check", "channel")] == [  # type: ignore[union-attr]
        {"kind": "check"},
        {"kind": "channel"},
    ]


def test_events_are_pruned_per_kind_and_subject_and_never_reuse_a_number(state: StateFile) -> None:
    for step in range(5):
        state.writer.apply([AppendEvent("failure", "a", step, {"step": step}, keep_count=2)], "s")
        state.writer.apply([AppendEvent("failure", "b", step, {}), AppendEvent("flip", "a", step, {})], "s")
    assert [event.body["step"] for event in state.read.events("failure", "a")] == [4, 3]
    assert len(state.read.events("failure", "b")) == len(state.read.events("flip", "a")) == 5
    numbers = [event.seq for event in state.read.events()]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == 15


def test_a_message_goes_through_the_outbox(state: StateFile) -> None:
    state.writer.apply([QueueMessage("m", "hook", START_MS + 10, {"text": "down"})], "s")
    queued = Message(
        id="m",
        channel="hook",
        body={"text": "down"},
        status="pending",
        due_ms=START_MS + 10,
        attempt_count=0,
        last_error="",
        created_ms=START_MS,
        delivered_ms=None,
    )
    assert state.read.messages("pending", due_before_ms=START_MS + 11) == [queued]
    assert state.read.messages("pending", due_before_ms=START_MS + 10) == []
    state.writer.apply([UpdateMessage("m", "pending", START_MS + 60_000, 1, "500 from the receiver")], "s")
    state.writer.apply([UpdateMessage("m", "delivered", START_MS + 60_000, 2, "", START_MS + 60_050)], "s")
    state.writer.apply([QueueMessage("m", "other", 1, {})], "s")  # Asked again after a time-out: it changes nothing.
    assert state.read.message("m") == Message(
        id="m",
        channel="hook",
        body={"text": "down"},
        status="delivered",
        due_ms=START_MS + 60_000,
        attempt_count=2,
        last_error="",
        created_ms=START_MS,
        delivered_ms=START_MS + 60_050,
    )
    assert state.read.messages("pending") == []


def test_each_commit_is_told_with_what_it_touched(state: StateFile) -> None:
    state.writer.apply(
        [PutDocument("check", "a", {}), PutDocument("check", "a", {}), AppendEvent("e", "a", 1, {})], "s"
    )
    state.writer.apply([QueueMessage("m", "hook", 1, {})], "s")
    with pytest.raises(NotFound):
        state.writer.apply([DeleteDocument("check", "x")], "s")
    state.writer.apply([], "s")
    assert state.changes == [
        Change(revision=1, documents=[("check", "a")], events=True),
        Change(revision=2, messages=True),
        Change(revision=3),
    ]


def test_revisions_go_on_after_a_restart(state: StateFile) -> None:
    state.writer.apply([PutDocument("check", "a", {})], "s")
    state.reopen()
    assert state.writer.apply([PutDocument("check", "a", {})], "s") == 2 == state.read.revision()


def test_threads_share_commits_and_a_refused_list_harms_no_neighbour(state: StateFile) -> None:
    """Goal: each list is its own, whoever waited together. Method: 8 threads; every third list is refused."""
    outcomes: dict[tuple[int, int], bool] = {}

    def work(thread: int) -> None:
        for step in range(60):
            lists: list[Mutation] = [PutDocument("check", f"{thread}-{step}", {})]
            if step % 3 == 2:
                lists.append(DeleteDocument("check", "absent"))
            try:
                state.writer.apply(lists, "s")
                outcomes[thread, step] = True
            except NotFound:
                outcomes[thread, step] = False

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {(thread, step): step % 3 != 2 for thread in range(8) for step in range(60)}
    assert {document.id for document in state.read.list("check")} == {
        f"{thread}-{step}" for (thread, step), is_done in outcomes.items() if is_done
    }
    assert state.read.revision() == 320
    touched = [document for change in state.changes for document in change.documents]
    assert len(touched) == len(set(touched)) == 320


def test_what_waits_together_shares_a_commit(state: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: group commit. Method: one commit held up while five more lists come."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(change: Change) -> None:
        state.changes.append(change)
        entered.set()
        assert go_on.wait(10)

    monkeypatch.setattr(state.writer, "_on_change", hold)
    threads = [
        threading.Thread(target=state.writer.apply, args=([PutDocument("check", str(index), {})], "s"))
        for index in range(6)
    ]
    threads[0].start()
    assert entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(state.writer._waiting) < 5:
        assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join()
    assert [change.revision for change in state.changes] == [1, 6]


def test_a_full_disk_refuses_changes_and_reads_go_on(state: StateFile) -> None:
    state.writer.apply([PutDocument("check", "a", {})], "s")
    (pages,) = state.writer._connection.execute("PRAGMA page_count").fetchone()
    state.writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull, match="is full: nothing can be changed until space is freed"):
        state.writer.apply([PutDocument("check", str(index), {"text": "x" * 5000}) for index in range(10)], "s")
    assert state.read.count("check") == 1
    state.writer._connection.execute("PRAGMA max_page_count = 1000000")
    assert state.writer.apply([PutDocument("check", "b", {})], "s") == 2


def test_a_file_that_is_locked_by_another_program_refuses_changes(
    state: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.writer._connection.execute("PRAGMA busy_timeout = 10")
    with sqlite3.connect(state.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"does not take changes: database is locked; see the disk and the log"):
            state.writer.apply([PutDocument("check", "a", {})], "s")
        other.execute("ROLLBACK")
    other.close()
    assert state.writer.apply([PutDocument("check", "a", {})], "s") == 1


def test_lists_have_a_limit(state: StateFile) -> None:
    with pytest.raises(BadMutation, match="50,001 mutations at once, of 50,000 at most"):
        state.writer.apply([PutDocument("check", "a", {})] * (MUTATION_COUNT_MAX + 1), "s")


def test_upkeep_drops_what_is_old_or_too_much(state: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.state.writer.EVENT_COUNT_MAX", 10)
    monkeypatch.setattr("appliance.state.writer.AUDIT_COUNT_MAX", 3)
    state.writer.apply([AppendEvent("flip", "a", 1, {}) for _ in range(12)], "s")
    state.writer.apply([PutDocument("check", "a", {}) for _ in range(5)], "s")
    state.writer.apply([QueueMessage(name, "hook", START_MS, {}) for name in ("old", "new", "pending")], "s")
    state.writer.apply([UpdateMessage("old", "delivered", START_MS, 1), UpdateMessage("pending", "pending", 1, 1)], "s")
    day_91_ms = START_MS + 91 * 86_400_000
    state.writer.apply([UpdateMessage("new", "failed", day_91_ms, 1)], "s")
    state.clock.at_ms = day_91_ms
    state.writer.upkeep()
    assert [event.seq for event in state.read.events()] == list(range(12, 2, -1))
    assert [entry.seq for entry in state.read.audit()] == [5, 4, 3]
    assert {message.id for message in state.read.messages()} == {"new", "pending"}


KINDS = st.sampled_from(["check", "user"])
IDS = st.sampled_from(["a", "b", "c"])
UNIQUES = st.none() | st.sampled_from(["x", "y"])
VERSIONS = st.none() | st.integers(0, 3)
BODIES = st.dictionaries(st.text(max_size=3), st.integers(-5, 5) | st.text(max_size=3) | st.none(), max_size=2)
MUTATIONS = st.one_of(
    st.builds(PutDocument, KINDS, IDS, BODIES, VERSIONS, UNIQUES, st.booleans()),
    st.builds(DeleteDocument, KINDS, IDS, VERSIONS, st.booleans()),
    st.builds(AppendEvent, KINDS, IDS, st.integers(0, 9), BODIES, st.none() | st.integers(1, 2)),
)


class Twin:
    """The same promises, kept by the dumbest means: dictionaries that are copied for each list."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], tuple[int, dict[str, Any], str | None]] = {}
        self.events: list[tuple[str, str, int]] = []
        self.audited_count = 0

    def apply(self, mutations: Sequence[Mutation]) -> bool:
        documents, events, audited_count = dict(self.documents), list(self.events), self.audited_count
        for mutation in mutations:
            if isinstance(mutation, AppendEvent):
                events.append((mutation.kind, mutation.subject, mutation.at_ms))
                same = [index for index, event in enumerate(events) if event[:2] == (mutation.kind, mutation.subject)]
                for index in reversed(same[: -mutation.keep_count] if mutation.keep_count else []):
                    del events[index]
                continue
            assert isinstance(mutation, PutDocument | DeleteDocument)
            key = (mutation.kind, mutation.id)
            version = documents[key][0] if key in documents else 0
            if mutation.expected_version not in (None, version):
                return False
            if isinstance(mutation, DeleteDocument):
                if version == 0:
                    return False
                del documents[key]
            else:
                taken = {(kind, one[2]) for (kind, id_), one in documents.items() if (kind, id_) != key and one[2]}
                if (mutation.kind, mutation.unique) in taken:
                    return False
                documents[key] = (version + 1, mutation.body, mutation.unique)
            audited_count += mutation.audited
        self.documents, self.events, self.audited_count = documents, events, audited_count
        return True


@given(lists=st.lists(st.lists(MUTATIONS, max_size=5), max_size=8), reopen_at=st.integers(0, 8))
def test_the_file_and_its_dumb_twin_agree(
    tmp_path_factory: pytest.TempPathFactory, lists: list[list[Mutation]], reopen_at: int
) -> None:
    state, twin = StateFile(tmp_path_factory.mktemp("twin") / "state.db"), Twin()
    try:
        for index, mutations in enumerate(lists):
            if index == reopen_at:
                state.reopen()
            try:
                state.writer.apply(mutations, "s")
                is_done = True
            except StateError:
                is_done = False
            assert is_done == twin.apply(mutations)
            found = {
                (one.kind, one.id): (one.version, one.body, one.unique)
                for kind in ("check", "user")
                for one in state.read.list(kind)
            }
            assert found == twin.documents
            assert [(one.kind, one.subject, one.at_ms) for one in reversed(state.read.events())] == twin.events
            assert len(state.read.audit()) == twin.audited_count
    finally:
        state.close()


def test_bodies_without_numbers_in_json_become_null(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.db")
    state.writer.apply([PutDocument("result", "a", {"nan": float("nan"), "inf": float("inf"), "big": 2**53})], "s")
    found = state.read.get("result", "a")
    assert found is not None
    assert found.body == {"nan": None, "inf": None, "big": 2**53}
    state.close()


def test_a_writer_can_be_made_without_anybody_listening(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "state.db", HandClock())
    assert writer.apply([PutDocument("check", "a", {})], "s") == 1
    writer.close()
