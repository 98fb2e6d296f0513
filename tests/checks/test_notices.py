"""What becomes of notices: a table of events and of states of jobs."""

from __future__ import annotations

import pytest

from appliance.state import AppendEvent, PutDocument
from checks.annotations import DATA_CHARS_MAX, KEPT_COUNT, TAG_CHARS_MAX, TAG_COUNT_MAX, WHAT_CHARS_MAX
from checks.model import OUTPUT_BYTES_MAX, Check
from checks.notices import outcome_of
from tsdb.notices import Happening, JobState

NOW_MS = 1_700_000_000_000
CHECKS = [
    ("1", Check(kind="push", name="backup")),
    ("2", Check(kind="push", name="nightly", labels={"team": "shop"})),
    ("3", Check(kind="push", name="nightly", labels={"team": "ops"})),
    ("4", Check(kind="http", name="web")),
]
STATES = {  # name: (notices; beats by check, unwanted reasons by place)
    "a state": ([JobState("backup", 0, "done")], {"1": ("ok", "done", NOW_MS)}, {}),
    "all states": ([JobState("backup", 1), JobState("backup", 2)], {"1": ("critical", "", NOW_MS)}, {}),
    "not known": ([JobState("backup", 3)], {"1": ("unknown", "", NOW_MS)}, {}),
    "of a while ago": ([JobState("backup", 0, at_ms=NOW_MS - 5)], {"1": ("ok", "", NOW_MS - 5)}, {}),
    "of the future is of now": ([JobState("backup", 0, at_ms=NOW_MS + 5)], {"1": ("ok", "", NOW_MS)}, {}),
    "no such check": ([JobState("nobody", 0), JobState("backup", 0)], {"1": ("ok", "", NOW_MS)}, {0: "unknown_check"}),
    "a check of another kind": ([JobState("web", 0)], {}, {0: "unknown_check"}),
    "two teams": ([JobState("nightly", 0)], {}, {0: "ambiguous_check"}),
    "one of two teams": ([JobState("nightly", 0, tags=("a", "team:ops"))], {"3": ("ok", "", NOW_MS)}, {}),
    "no such team": ([JobState("backup", 0, tags=("team:ops",))], {}, {0: "unknown_check"}),
    "a long text": ([JobState("backup", 0, "x" * 10_000)], {"1": ("ok", "x" * OUTPUT_BYTES_MAX, NOW_MS)}, {}),
}


@pytest.mark.parametrize(("notices", "beats", "reasons"), STATES.values(), ids=STATES.keys())
def test_states_of_jobs_are_beats(
    notices: list[JobState], beats: dict[str, tuple[str, str, int]], reasons: dict[int, str]
) -> None:
    mutations, unwanted = outcome_of(notices, CHECKS, NOW_MS)
    found = {}
    for put in mutations:
        assert isinstance(put, PutDocument)
        assert put.kind == "beat"
        found[put.id] = (put.body["state"], put.body["output"], put.body["at_ms"])
    assert found == beats
    assert {one.index: one.reason for one in unwanted} == reasons


def test_events_are_annotations_within_their_limits() -> None:
    long = Happening("w" * 2_000, "d" * 5_000, ("t" * 200,) * 40, at_ms=7)
    (first, second), unwanted = outcome_of([Happening("deploy", "42", ("env:prod",)), long], CHECKS, NOW_MS)
    assert isinstance(first, AppendEvent)
    assert isinstance(second, AppendEvent)
    assert (first.kind, first.subject, first.at_ms, first.keep_count) == ("annotation", "graphite", NOW_MS, KEPT_COUNT)
    assert first.body == {"what": "deploy", "data": "42", "tags": ["env:prod"]}
    assert second.at_ms == 7
    assert second.body == {
        "what": "w" * WHAT_CHARS_MAX,
        "data": "d" * DATA_CHARS_MAX,
        "tags": ["t" * TAG_CHARS_MAX] * TAG_COUNT_MAX,
    }
    assert unwanted == []
