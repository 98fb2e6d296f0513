"""Reading: conditions, pages, threads, and a writer that is not there."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.state import AppendEvent, PutDocument, QueueMessage, StateReader, json_path
from appliance.state.errors import BadMutation, Unavailable
from tests.appliance.state.conftest import StateFile

BODIES = {
    "a": {"labels": {"team": "shop", "tier.one": 'x "quoted"'}, "paused": False, "interval_s": 10},
    "b": {"labels": {"team": "shop"}, "paused": True, "interval_s": 10.5, "list": [1, 2]},
    "c": {"labels": {}, "paused": None},
}
WHERE: dict[str, tuple[dict[str, Any] | None, str]] = {
    "all": (None, "a b c"),
    "a text": ({"$.labels.team": "shop"}, "a b"),
    "two conditions": ({"$.labels.team": "shop", "$.paused": True}, "b"),
    "a truth": ({"$.paused": False}, "a"),
    "a whole number": ({"$.interval_s": 10}, "a"),
    "a fraction": ({"$.interval_s": 10.5}, "b"),
    "absent or null": ({"$.paused": None}, "c"),
    "an element": ({"$.list[1]": 2}, "b"),
    "a name with a dot": ({json_path("labels", "tier.one"): 'x "quoted"'}, "a"),
    "nothing like it": ({"$.labels.team": "ops"}, ""),
}


@pytest.mark.parametrize(("where", "want"), WHERE.values(), ids=WHERE.keys())
def test_where(state: StateFile, where: dict[str, Any] | None, want: str) -> None:
    state.writer.apply([PutDocument("check", id_, body) for id_, body in BODIES.items()], "s")
    assert [document.id for document in state.read.list("check", where=where)] == want.split()
    assert state.read.count("check", where=where) == len(want.split())


@pytest.mark.parametrize("path", ["", "team", "$", "$.a; DROP TABLE documents", "$.a'", '$."a', "$..a", "$.a[b]"])
def test_what_is_no_path_is_refused(state: StateFile, path: str) -> None:
    with pytest.raises(BadMutation, match="is not a JSON path"):
        state.read.list("check", where={path: 1})


def test_what_cannot_be_compared_is_refused(state: StateFile) -> None:
    with pytest.raises(BadMutation, match=r"\$.labels is compared with a dict; compare with a text, number or None"):
        state.read.list("check", where={"$.labels": {}})
    with pytest.raises(BadMutation, match="cannot hold quotes"):
        json_path('a"b')


@given(name=st.text(max_size=5), value=st.text(max_size=5))
@example(name="", value="\0")
@example(name="team", value="a\0b")
def test_any_label_is_found_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, value: str) -> None:
    state = StateFile(tmp_path_factory.mktemp("labels") / "state.db")
    try:
        state.writer.apply([PutDocument("check", "a", {"labels": {name: value}})], "s")
        if any(character in '"\\' or character < " " for character in name):
            with pytest.raises(BadMutation, match="cannot hold quotes, backslashes or control characters"):
                json_path("labels", name)
        elif "\0" in value:
            with pytest.raises(BadMutation, match="cannot hold NUL"):
                state.read.count("check", where={json_path("labels", name): value})
        else:
            assert state.read.count("check", where={json_path("labels", name): value}) == 1
    finally:
        state.close()


def test_pages(state: StateFile) -> None:
    state.writer.apply([PutDocument("check", f"{index:02}", {}) for index in range(25)], "s")
    pages = [state.read.list("check", limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert [one.id for page in pages for one in page] == [f"{index:02}" for index in range(25)]
    state.writer.apply([AppendEvent("flip", "a", index, {}) for index in range(25)], "s")
    first = state.read.events("flip", "a", limit=10)
    second = state.read.events("flip", "a", before_seq=first[-1].seq, limit=10)
    assert [event.at_ms for event in (*first, *second)] == list(range(24, 4, -1))


def test_many_are_got_at_once(state: StateFile) -> None:
    state.writer.apply([PutDocument("result", str(index), {"index": index}) for index in range(2_000)], "s")
    ids = [str(index) for index in range(1_990, 2_010)]
    assert {id_: one.body["index"] for id_, one in state.read.get_many("result", ids).items()} == {
        str(index): index for index in range(1_990, 2_000)
    }
    assert state.read.get_many("result", []) == {}


def test_a_reader_sees_what_was_applied_before_it_asks(state: StateFile) -> None:
    for step in range(50):
        state.writer.apply([PutDocument("check", "a", {"step": step})], "s")
        found = state.read.get("check", "a")
        assert found is not None
        assert found.body == {"step": step}


def test_reads_go_on_without_a_writer(state: StateFile) -> None:
    state.writer.apply([PutDocument("check", "a", {}), QueueMessage("m", "hook", 1, {})], "s")
    assert state.read.count("check") == 1
    state.writer.close()
    assert state.read.count("check") == 1
    fresh = StateReader(state.path)
    assert [message.id for message in fresh.messages()] == ["m"]
    fresh.close()
    state.open()


def test_a_reader_cannot_write(state: StateFile) -> None:
    with pytest.raises(Unavailable, match="readonly database"):
        state.read._rows("DELETE FROM documents", ())


def test_no_file_is_told_as_such_and_the_reader_recovers(tmp_path: Path) -> None:
    reader = StateReader(tmp_path / "state.db")
    with pytest.raises(Unavailable, match=r"state\.db cannot be read: .* does the appliance run\?") as refusal:
        reader.get("check", "a")
    assert refusal.value.code == "not_ready"
    assert list(tmp_path.iterdir()) == []
    state = StateFile(tmp_path / "state.db")
    assert reader.get("check", "a") is None
    reader.close()
    state.close()


def test_a_file_that_was_replaced_is_read_from_then_on(state: StateFile, tmp_path: Path) -> None:
    state.writer.apply([PutDocument("check", "old", {})], "s")
    assert state.read.count("check") == 1
    other = StateFile(tmp_path / "other.db")
    other.writer.apply([PutDocument("check", str(index), {}) for index in range(3)], "s")
    other.close()
    state.writer.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{state.path}{suffix}").unlink(missing_ok=True)
    (tmp_path / "other.db").rename(state.path)
    assert state.read.count("check") == 3
    state.open()


def test_threads_read_while_another_writes(state: StateFile) -> None:
    """Goal: each read sees whole lists. Method: a writer keeps two documents equal; four readers compare them."""
    state.writer.apply([PutDocument("pair", name, {"n": 0}) for name in "ab"], "s")
    stop, unequal = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            values = [document.body["n"] for document in state.read.list("pair")]
            if values[0] != values[1]:
                unequal.append(values)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for step in range(200):
        state.writer.apply([PutDocument("pair", name, {"n": step}, audited=False) for name in "ab"], "s")
    stop.set()
    for reader in readers:
        reader.join()
    assert unequal == []


def test_the_newest_messages_come_first_of_one_channel_or_of_one_incident(state: StateFile) -> None:
    for number in range(6):
        channel, incident = ("hook", "mail")[number % 2], ("i", "j")[number // 3]
        state.writer.apply([QueueMessage(f"m{number}", channel, 1, {"incident": {"id": incident}})], "s")
        state.clock.at_ms += 1

    def ids(**asked: Any) -> str:
        return " ".join(message.id for message in state.read.newest_messages(**asked))

    assert ids() == "m5 m4 m3 m2 m1 m0"
    assert ids(limit=2, offset=1) == "m4 m3"
    assert ids(channel="hook") == "m4 m2 m0"
    assert ids(where={json_path("incident", "id"): "j"}) == "m5 m4 m3"
    assert ids(channel="mail", where={json_path("incident", "id"): "i"}) == "m1"
    assert state.read.message_count(channel="mail") == 3
    assert ids(channel="nobody") == ""
