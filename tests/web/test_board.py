"""The board in memory against a board that reads everything: after any changes they show the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from appliance.state import DeleteDocument, Mutation, PutDocument
from appliance.state.model import Change
from tests.web.house import House
from web.board import Board, Changes

CHECK = {"kind": "http", "options": {"url": "http://x/"}}
NOW_MS = 1_790_000_000_000


def latest(state: str) -> dict[str, Any]:
    return {
        "state": state,
        "state_type": "hard",
        "attempt": 1,
        "output": state,
        "duration_s": 0.1,
        "at_ms": NOW_MS,
        "since_ms": NOW_MS,
        "next_run_ms": None,
    }


def change_of(random_: random.Random, present: set[str]) -> Mutation:
    """One plausible mutation; present: the ids of the checks that there are."""
    check_id = f"board-{random_.randrange(12)}"
    choice = random_.randrange(8)
    if choice == 0 and check_id in present:
        present.discard(check_id)
        return DeleteDocument(kind="check", id=check_id)
    if choice <= 3:
        present.add(check_id)
        body = CHECK | {"name": f"{check_id} {random_.randrange(99)}", "paused": random_.random() < 0.2}
        return PutDocument(kind="check", id=check_id, body=body)
    if choice == 4:
        body = {"check_id": check_id, "from_ms": 0, "until_ms": random_.choice([1, 2**40]), "comment": "", "author": ""}
        return PutDocument(kind="downtime", id=f"board-{random_.randrange(3)}", body=body)
    if choice == 5:
        state = random_.choice(["open", "resolved"])
        return PutDocument(kind="incident", id=f"board-{random_.randrange(3)}", body={"state": state})
    word = random_.choice(["ok", "warning", "critical", "unknown", "not a state"])
    body = latest(word) if word != "not a state" else {"written": "by another version"}
    return PutDocument(kind="result", id=check_id, body=body, audited=False)


@pytest.mark.parametrize("seed", range(10))
def test_hints_lead_to_the_same_board_as_reading_everything(fresh_house: House, seed: int) -> None:
    state, random_, present = fresh_house.services.state, random.Random(seed), set[str]()
    changes = Changes()
    followed, dumb = Board(state, changes), Board(state)
    followed.view()
    for _ in range(25):
        mutations = [change_of(random_, present) for _ in range(random_.randrange(1, 4))]
        revision = state.apply(mutations, actor="test")
        named = [(m.kind, m.id) for m in mutations if isinstance(m, PutDocument | DeleteDocument)]
        if random_.random() < 0.1:
            changes.lost()
        else:
            half = random_.randrange(len(named) + 1)  # One commit may come as two hints, with a reader in between.
            changes.add(Change(revision=revision, documents=named[:half]))
            followed.view()
            changes.add(Change(revision=revision, documents=named[half:]))
        got, want = followed.view(), dumb.view()
        assert (got.revision, got.rows, got.open_incident_count) == (
            want.revision,
            want.rows,
            want.open_incident_count,
        ), f"{seed=}"
        assert got.downtimes == want.downtimes
        assert [row.id for row in got.sorted_rows()] == [row.id for row in want.sorted_rows()]


def test_without_any_hint_the_board_is_right_all_the_same(fresh_house: House) -> None:
    state = fresh_house.services.state
    board = Board(state, Changes())
    board.view()
    state.apply([PutDocument(kind="check", id="board-1", body=CHECK | {"name": "quiet"})], actor="test")
    assert board.view().rows["board-1"].check.name == "quiet"
