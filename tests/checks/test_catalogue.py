"""What may be written as a check, and how it is changed, sealed and shown."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.state.mutations import PutDocument
from checks.catalogue import Catalogue, Draft, checked
from checks.errors import CheckError
from checks.latest import latest_body, latest_of, members_of
from checks.members import take_in
from checks.model import Instance, Perfdata, Result, State
from checks.sealed import HIDDEN
from checks.view import check_view
from tests.checks.fakes import MemoryReader, MirrorBox

WEB: dict[str, Any] = {"kind": "http", "name": "web", "options": {"url": "https://example.org/"}}


@pytest.fixture(name="reader")
def reader_fixture() -> MemoryReader:
    reader = MemoryReader()
    reader.apply_all(
        [
            PutDocument(kind="channel", id="h1", body={"kind": "webhook", "name": "hook"}, unique="default/hook"),
            PutDocument(
                kind="channel",
                id="h2",
                body={"kind": "webhook", "name": "shop hook", "labels": {"team": "shop"}},
                unique="shop/shop hook",
            ),
        ]
    )
    return reader


@pytest.fixture(name="catalogue")
def catalogue_fixture(reader: MemoryReader) -> Catalogue:
    return Catalogue(reader, MirrorBox())


def create(catalogue: Catalogue, reader: MemoryReader, body: dict[str, Any]) -> Draft:
    draft = catalogue.create(body)
    reader.apply_all(draft.mutations)
    return draft


def shown(reader: MemoryReader, check_id: str) -> dict[str, Any]:
    document = reader.get("check", check_id)
    assert document is not None
    return check_view(document, reader.get("result", check_id))


def test_it_works(catalogue: Catalogue, reader: MemoryReader) -> None:
    draft = create(catalogue, reader, {**WEB, "channels": ["hook"]})
    view = shown(reader, draft.id)
    assert view | {"interval_s": 60, "max_check_attempts": 3} == view
    assert (view["name"], view["kind"], view["channels"]) == ("web", "http", ["hook"])
    assert (view["state"], view["state_type"], view["last_result"], view["next_run_ms"]) == (
        "pending",
        "hard",
        None,
        None,
    )


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {  # name: (what is changed in WEB, field, words in the message)
    "unknown kind": ({"kind": "htp"}, "kind", "http"),
    "no name": ({"name": ""}, "name", ""),
    "a name of blanks": ({"name": "   "}, "name", "blanks"),
    "a name of two lines": ({"name": "a\nb"}, "name", "line break"),
    "a name too long": ({"name": "x" * 121}, "name", "120"),
    "a bad address": ({"options": {"url": "nonsense"}}, "options.url", ""),
    "no address": ({"options": {}}, "options.url", "required"),
    "an unknown option": ({"options": {"url": "http://x", "methd": "GET"}}, "options.methd", "method"),
    "an interval too short": ({"interval_s": 0.5}, "interval_s", "1"),
    "an interval that is no number": ({"interval_s": float("nan")}, "interval_s", ""),
    "a timeout too long": ({"timeout_s": 601}, "timeout_s", "600"),
    "no attempts": ({"max_check_attempts": 0}, "max_check_attempts", "1"),
    "an unknown field": ({"intervall_s": 5}, "intervall_s", "interval_s"),
    "an unknown channel": ({"channels": ["hok"]}, "channels", "hook"),
    "the channel of another team": ({"channels": ["shop hook"]}, "channels", "default"),
    "a label with a bad name": ({"labels": {"1x": "y"}}, "labels", "1x"),
    "a team with a slash": ({"labels": {"team": "a/b"}}, "labels", "team"),
    "options that are none": ({"options": ["url"]}, "options", ""),
}


@pytest.mark.parametrize(("change", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(catalogue: Catalogue, change: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(CheckError) as caught:
        catalogue.create(WEB | change)
    assert (caught.value.code, caught.value.field) == ("invalid", field)
    assert words in caught.value.message


def test_every_wrong_field_is_named_at_once() -> None:
    _, errors = checked({"kind": "http", "name": "", "options": {}, "interval_s": 0})
    assert {"name", "options.url", "interval_s"} <= errors.keys()


def test_a_name_is_taken_once_per_team(catalogue: Catalogue, reader: MemoryReader) -> None:
    first = create(catalogue, reader, WEB)
    create(catalogue, reader, WEB | {"labels": {"team": "shop"}})
    with pytest.raises(CheckError) as caught:
        catalogue.create(WEB)
    assert (caught.value.code, caught.value.field) == ("conflict", "name")
    catalogue.patch(first.id, {"name": "web", "interval_s": 5})  # Its own name is no conflict.


def test_blanks_around_a_name_and_doubled_channels_go(catalogue: Catalogue) -> None:
    check = catalogue.create(WEB | {"name": " web ", "channels": ["hook", "hook"]}).check
    assert (check.name, check.channels) == ("web", ["hook"])


def test_a_patch_merges_options_and_labels_and_null_takes_away(catalogue: Catalogue, reader: MemoryReader) -> None:
    options = {"url": "https://example.org/", "keyword": "ok", "critical_s": 3}
    draft = create(catalogue, reader, WEB | {"options": options, "labels": {"env": "live", "tier": "1"}})
    changes = {"interval_s": 5, "options": {"keyword": None, "critical_s": None}, "labels": {"env": None, "a": "b"}}
    after = catalogue.patch(draft.id, changes).check
    assert after.options == {"url": "https://example.org/", "critical_s": None}
    assert after.labels == {"tier": "1", "a": "b"}
    assert after.interval_s == 5


def test_a_patch_to_another_kind_starts_with_fresh_options(catalogue: Catalogue, reader: MemoryReader) -> None:
    draft = create(catalogue, reader, WEB)
    after = catalogue.patch(draft.id, {"kind": "tcp", "options": {"host": "example.org", "port": 443}}).check
    assert after.options == {"host": "example.org", "port": 443}


def test_a_change_based_on_an_old_version_carries_that_version(catalogue: Catalogue, reader: MemoryReader) -> None:
    draft = create(catalogue, reader, WEB)
    mutation = catalogue.patch(draft.id, {"interval_s": 5}, expected_version=7).mutations[0]
    assert isinstance(mutation, PutDocument)
    assert mutation.expected_version == 7


def test_secrets_are_sealed_at_rest_hidden_in_answers_and_kept_by_a_change(
    catalogue: Catalogue, reader: MemoryReader
) -> None:
    options = {"url": "https://example.org/", "username": "ann", "password": "geheim"}
    draft = create(catalogue, reader, WEB | {"options": options})
    document = reader.get("check", draft.id)
    assert document is not None
    assert document.body["options"]["password"] == "sealed:miehej"[:0] + "sealed:" + "geheim"[::-1]
    assert shown(reader, draft.id)["options"]["password"] == HIDDEN
    assert catalogue.opened(document).options["password"] == "geheim"
    kept = catalogue.patch(draft.id, {"options": {"password": HIDDEN, "keyword": "x"}})
    assert kept.check.options["password"] == "geheim"
    reader.apply_all(kept.mutations)
    assert catalogue.trial({"options": {"password": HIDDEN}}, check_id=draft.id).options["password"] == "geheim"
    with pytest.raises(CheckError) as caught:
        catalogue.create(WEB | {"name": "other", "options": options | {"password": HIDDEN}})
    assert caught.value.field == "options.password"


def test_what_the_appliance_makes_is_made_once(catalogue: Catalogue, reader: MemoryReader) -> None:
    draft = create(catalogue, reader, {"kind": "push", "name": "backup"})
    made = draft.check.options["secret"]
    assert len(made) >= 20
    assert catalogue.patch(draft.id, {"interval_s": 5}).check.options["secret"] == made


def test_a_trial_needs_no_name_and_no_channel(catalogue: Catalogue) -> None:
    assert catalogue.trial({"kind": "http", "options": {"url": "http://x"}}).kind == "http"
    with pytest.raises(CheckError):
        catalogue.trial({"kind": "http", "options": {}})


def test_a_check_that_is_not_there(catalogue: Catalogue) -> None:
    for ask in (catalogue.document, catalogue.delete, lambda check_id: catalogue.patch(check_id, {})):
        with pytest.raises(CheckError) as caught:
            ask("nowhere")
        assert caught.value.code == "not_found"


def test_delete_and_pause(catalogue: Catalogue, reader: MemoryReader) -> None:
    draft = create(catalogue, reader, WEB)
    reader.apply_all(catalogue.pause(draft.id, paused=True).mutations)
    assert shown(reader, draft.id)["paused"] is True
    reader.apply_all(catalogue.delete(draft.id).mutations)
    assert reader.get("check", draft.id) is None


def test_the_latest_result_is_shown_and_gives_the_machines_back(catalogue: Catalogue, reader: MemoryReader) -> None:
    draft = create(catalogue, reader, WEB)
    result = Result(
        state=State.CRITICAL,
        output="2 of 2 are bad",
        duration_s=0.25,
        at_ms=1_000,
        perfdata=(Perfdata(label="time", value=0.25, unit="s"),),
        instances=(
            Instance(labels={"host": "a"}, state=State.CRITICAL, output="95 > 90", value=95.0),
            Instance(labels={"host": "b"}, state=State.WARNING, output="85 > 80", value=85.0),
        ),
    )
    reading = take_in({}, result, max_check_attempts=3)
    body = latest_body(result, reading, next_run_ms=3_000, late=False)
    reader.apply_all([PutDocument(kind="result", id=draft.id, body=body)])
    view = shown(reader, draft.id)
    assert (view["state"], view["state_type"], view["attempt"], view["next_run_ms"]) == ("critical", "soft", 1, 3_000)
    assert view["last_result"]["output"] == "2 of 2 are bad"
    assert view["last_result"]["perfdata"][0]["label"] == "time"
    assert [instance["state"] for instance in view["instances"]] == ["critical", "warning"]
    assert "machine" not in view["instances"][0]
    assert members_of(latest_of(body)) == reading.members
