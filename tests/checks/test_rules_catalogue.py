"""Rule files with the checks of their alerts: what is written when one comes, changes and goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance.state.mutations import DeleteDocument, PutDocument
from checks.catalogue import Catalogue, Draft, unique_name
from checks.errors import CheckError
from checks.rules import KIND
from checks.rules_catalogue import RulesCatalogue, RulesDraft
from tests.checks.fakes import MemoryReader, MirrorBox

TEXT = """
groups:
- name: web
  interval: 30s
  labels: {tier: front}
  rules:
  - record: errors:rate5m
    expr: rate(errors_total[5m])
  - alert: Errors
    expr: errors:rate5m > 1
    for: 5m
    labels: {severity: critical, runbook: "{{ $labels.job }}"}
  - {alert: Down, expr: up == 0}
"""


class Files:
    """A catalogue whose drafts are made, over a reader of dicts."""

    def __init__(self) -> None:
        self.reader = MemoryReader()
        self.catalogue = RulesCatalogue(self.reader)
        self.checks = Catalogue(self.reader, MirrorBox())
        self.reader.apply_all(
            [
                PutDocument(
                    kind="channel",
                    id=team,
                    body={"kind": "webhook", "name": "hook", "labels": {"team": team}},
                    unique=unique_name(team, "hook"),
                )
                for team in ("default", "shop")
            ]
        )

    def apply(self, draft: RulesDraft) -> RulesDraft:
        self.reader.apply_all(draft.mutations)
        return draft

    def create(self, **body: Any) -> str:
        return self.apply(self.catalogue.create({"name": "web", "text": TEXT, **body})).id

    def patch(self, rules_id: str, **changes: Any) -> RulesDraft:
        return self.apply(self.catalogue.patch(rules_id, changes))

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Name → body of each check, with its id."""
        return {one.body["name"]: {**one.body, "id": one.id} for one in self.reader.list("check")}


def alerts(*lines: str, group: str = "web") -> str:
    return f"groups:\n- name: {group}\n  rules:\n" + "".join(f"  - {{alert: {line}}}\n" for line in lines)


@pytest.fixture
def files() -> Files:
    return Files()


def test_each_alerting_rule_becomes_a_check(files: Files) -> None:
    rules_id = files.create(channels=["hook"])
    found = files.alerts()
    assert set(found) == {"Errors", "Down"}
    check_id = found["Errors"].pop("id")
    assert len(check_id) == 16
    assert found["Errors"] == {
        "kind": "query",
        "name": "Errors",
        "options": {"expression": "errors:rate5m > 1"},
        "interval_s": 30.0,
        "timeout_s": 10,
        "retry_interval_s": 10,
        "max_check_attempts": 1,
        "labels": {"tier": "front", "severity": "critical", "team": "default"},
        "channels": ["hook"],
        "paused": False,
        "rules": rules_id,
    }


LABELS = {  # name: (labels of the rule, labels of its check beside team)
    "plain text": ("{severity: page}", {"severity": "page"}),
    "a template": ('{host: "{{ $labels.instance }}"}', {}),
    "the rule's team is not the file's": ("{team: other}", {}),
    "an empty one is none": ('{severity: ""}', {}),
    "too long": ("{note: " + "x" * 201 + "}", {}),
    "a name that a check cannot have": ('{"my.label": x}', {}),
    "more than a check can have": (
        "{" + ", ".join(f"a{index:02}: x" for index in range(30)) + "}",
        {f"a{index:02}": "x" for index in range(19)},
    ),
}


@pytest.mark.parametrize(("written", "want"), LABELS.values(), ids=LABELS.keys())
def test_labels_of_the_check(files: Files, written: str, want: dict[str, str]) -> None:
    files.create(text=alerts(f"A, expr: up, labels: {written}"))
    assert files.alerts()["A"]["labels"] == {**want, "team": "default"}


NAMES = {  # name: (checks that there are, alerts of the file, the names of their checks)
    "free": ([], ["A", "B"], ["A", "B"]),
    "taken by a check": (["A"], ["A", "B"], ["web/A", "B"]),
    "taken with the group": (["A", "web/A"], ["A"], ["web/A 2"]),
    "twice in the file": ([], ["A", "A", "A"], ["A", "web/A", "web/A 2"]),
    "too long": ([], ["x" * 200, "x" * 200], ["x" * 120, "web/" + "x" * 116]),
    "a line break": ([], ['"A\\nB"'], ["A B"]),
}


@pytest.mark.parametrize(("taken", "written", "want"), NAMES.values(), ids=NAMES.keys())
def test_names_of_the_checks(files: Files, taken: list[str], written: list[str], want: list[str]) -> None:
    for name in taken:
        body = {"kind": "tcp", "name": name, "options": {"host": "h", "port": 1}}
        files.reader.apply_all(files.checks.create(body).mutations)
    files.create(text=alerts(*(f"{name}, expr: up" for name in written)))
    assert [name for name, body in files.alerts().items() if body["kind"] == "query"] == want


def test_a_change_touches_the_checks_of_changed_rules_alone(files: Files) -> None:
    rules_id = files.create(text=alerts("A, expr: up", "B, expr: up", "C, expr: up"))
    before = files.alerts()
    draft = files.patch(rules_id, text=alerts("New, expr: up", "C, expr: up", "B, expr: up == 0"))
    after = files.alerts()
    documents = [one for one in draft.mutations if isinstance(one, PutDocument | DeleteDocument)]
    assert [(type(one), one.id) for one in documents if one.kind == "check"] == [
        (DeleteDocument, before["A"]["id"]),
        (PutDocument, after["New"]["id"]),
        (PutDocument, before["B"]["id"]),
    ]
    assert after["B"]["options"] == {"expression": "up == 0"}
    assert after["C"] == before["C"]


def test_a_name_that_became_free_goes_to_another_rule_and_a_kept_one_does_not_move(files: Files) -> None:
    rules_id = files.create(text=alerts("A, expr: up", "A, expr: up > 1"))
    second = files.alerts()["web/A"]
    files.patch(rules_id, text=alerts("A, expr: up", group="other") + alerts("A, expr: up").removeprefix("groups:\n"))
    assert files.alerts().keys() == {"A", "other/A"}
    files.patch(rules_id, text=alerts("A, expr: up", group="other"))
    files.patch(rules_id, text=alerts("A, expr: up", group="other") + alerts("A, expr: up").removeprefix("groups:\n"))
    assert files.alerts().keys() == {"A", "other/A"}
    assert second["id"] not in {body["id"] for body in files.alerts().values()}


def test_a_rule_takes_the_name_that_another_gives_free_in_the_same_change(files: Files) -> None:
    rules_id = files.create(text=alerts("A, expr: up"))
    before = files.alerts()["A"]["id"]
    files.patch(rules_id, text=alerts("A, expr: up", group="renamed"))
    (after,) = files.alerts().items()
    assert (after[0], after[1]["id"] != before) == ("A", True)


def test_pausing_channels_and_team_go_on_to_the_checks(files: Files) -> None:
    rules_id = files.create()
    ids = {body["id"] for body in files.alerts().values()}
    files.patch(rules_id, paused=True, channels=["hook"], team="shop")
    found = files.alerts()
    assert {body["id"] for body in found.values()} == ids
    assert all(body["paused"] and body["channels"] == ["hook"] for body in found.values())
    assert all(body["labels"]["team"] == "shop" for body in found.values())
    assert files.reader.by_unique("check", "shop/Down") is not None


def test_deleting_a_file_deletes_its_checks(files: Files) -> None:
    rules_id = files.create()
    draft = files.apply(files.catalogue.delete(rules_id))
    assert all(isinstance(one, DeleteDocument) for one in draft.mutations)
    assert files.alerts() == {}
    assert files.reader.list(KIND) == []


def test_a_check_of_a_rule_cannot_be_changed_by_itself(files: Files) -> None:
    files.create()
    check_id = files.alerts()["Down"]["id"]
    changes: list[Callable[[], Draft]] = [
        lambda: files.checks.patch(check_id, {"interval_s": 5}),
        lambda: files.checks.pause(check_id, paused=True),
        lambda: files.checks.delete(check_id),
    ]
    for change in changes:
        with pytest.raises(CheckError, match="check 'Down' belongs to the rule file 'web'; change it there") as caught:
            change()
        assert caught.value.code == "conflict"


def test_nobody_makes_a_check_of_a_rule_by_hand(files: Files) -> None:
    body = {"kind": "tcp", "name": "a", "options": {"host": "h", "port": 1}, "rules": "0123456789abcdef"}
    with pytest.raises(CheckError, match="leave it out") as caught:
        files.checks.create(body)
    assert caught.value.field == "rules"


def test_other_checks_are_stored_as_before(files: Files) -> None:
    draft = files.checks.create({"kind": "tcp", "name": "a", "options": {"host": "h", "port": 1}})
    (put,) = draft.mutations
    assert isinstance(put, PutDocument)
    assert "rules" not in put.body


REFUSED = {  # name: (changes to a right body, field, words)
    "no name": ({"name": " "}, "name", "more than blanks"),
    "a control character": ({"name": "a\nb"}, "name", "line break"),
    "a bad team": ({"team": "a/b"}, "team", "is not a team"),
    "a team with a line break": ({"team": "a\nb"}, "team", "one line"),
    "a channel that there is not": ({"channels": ["x"]}, "channels", "no channel 'x'; the channels are hook"),
    "an unknown field": ({"labels": {}}, "labels", "there is no option 'labels'"),
    "a text that is none": ({"text": 5}, "text", "is not a text"),
    "a bad text": ({"text": "groups: 5"}, "text", "1: groups is a scalar; it must be a sequence"),
    "too many channels": ({"channels": [str(index) for index in range(21)]}, "channels", "at most 20"),
}


@pytest.mark.parametrize(("changes", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(files: Files, changes: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(CheckError) as caught:
        files.catalogue.create({"name": "web", "text": TEXT, **changes})
    assert caught.value.field == field
    assert words in caught.value.message


def test_names_are_unique_within_a_team(files: Files) -> None:
    first = files.create()
    with pytest.raises(CheckError, match="already; choose another name"):
        files.create()
    files.create(team="shop")
    assert files.patch(first, name="web").id == first
