"""Rule files of Prometheus: list, create, read, change, delete, and try without saving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from appliance.state import Document
from checks.model import DEFAULT_TEAM
from checks.rules import KIND, checked_groups, file_of
from checks.rules_catalogue import RulesCatalogue, RulesDraft
from checks.rules_view import rules_summary, rules_view
from web.api.bodies import body, body_object
from web.api.checks import expected_version, refuse_team
from web.api.paging import asked_page, list_response
from web.auth.guard import needs
from web.auth.identity import identity
from web.auth.roles import Role
from web.board import EVERYTHING
from web.errors import json_response, not_found
from web.kit import parsed_rules
from web.rules_health import live_groups, with_health
from web.rules_trial import Trial
from web.services import services

bp = Blueprint("api_rules", __name__, url_prefix="/api/v1/rules")


class RulesTrial(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A text to be tried."""

    text: str


def catalogue() -> RulesCatalogue:
    return RulesCatalogue(services().state.read)


def documents() -> list[Document]:
    """By name; of the identity's team."""
    found = services().state.read.list(KIND, limit=EVERYTHING)
    return sorted(
        (entry for entry in found if identity().sees_team(file_of(entry.body).team)),
        key=lambda entry: str(entry.body["name"]).casefold(),
    )


def get_document(rules_id: str) -> Document:
    found = services().state.read.get(KIND, rules_id)
    if found is None or not identity().sees_team(file_of(found.body).team):
        raise not_found("rule file", rules_id)
    return found


def _apply(draft: RulesDraft) -> str:
    refuse_team(draft.file.team, field="team")
    services().state.apply(list(draft.mutations), actor=identity().actor)
    return draft.id


def create(body: Mapping[str, Any]) -> str:
    """Store a rule file with its checks and give its id. Raises: CheckError, Refusal."""
    return _apply(catalogue().create({"team": identity().team or DEFAULT_TEAM, **body}))


def change(rules_id: str, changes: Mapping[str, Any], *, expected_version: int | None = None) -> None:
    """Replace fields of a rule file. Raises: CheckError, Refusal."""
    _apply(catalogue().patch(get_document(rules_id).id, changes, expected_version=expected_version))


def remove(rules_id: str) -> None:
    """Delete a rule file and its checks."""
    _apply(catalogue().delete(get_document(rules_id).id))


def view_of(rules_id: str) -> dict[str, Any]:
    """As it was written and read and, as far as the scheduler answers, how its rules do."""
    document = get_document(rules_id)
    return with_health(rules_view(document, parsed_rules().of(document).groups), live_groups(services()))


def try_text(text: str) -> list[dict[str, Any]]:
    """What each rule of a text would do now. Raises: RefusedText."""
    return Trial(services()).groups(checked_groups(text))


@bp.get("")
def list_rules() -> Response:
    """By name, without their texts; `?team=` and `?name=` narrow the list."""
    page = asked_page()
    teams, names = request.args.getlist("team"), request.args.getlist("name")
    found = [
        entry
        for entry in documents()
        if (not teams or entry.body["team"] in teams) and (not names or entry.body["name"] in names)
    ]
    shown = found[page.offset : page.offset + page.limit]
    return list_response([rules_summary(entry, parsed_rules().of(entry).groups) for entry in shown], page, len(found))


@bp.post("")
def create_rules() -> Response:
    """Each alerting rule becomes a check; a text that promtool refuses is refused with its words."""
    rules_id = create(body_object())
    return json_response(view_of(rules_id), 201, Location=f"/api/v1/rules/{rules_id}")


@bp.get("/<rules_id>")
def get_rules(rules_id: str) -> Response:
    """With its text, what was read in it and, as far as the scheduler answers, how its rules do."""
    view = view_of(rules_id)
    response = json_response(view)
    response.set_etag(str(view["version"]))
    return response


@bp.patch("/<rules_id>")
def change_rules(rules_id: str) -> Response:
    """Rules that stay keep their checks. With If-Match, refused when someone else changed the file since."""
    change(rules_id, body_object(), expected_version=expected_version())
    return json_response(view_of(rules_id))


@bp.delete("/<rules_id>")
def delete_rules(rules_id: str) -> Response:
    """Its checks go with it, and their incidents end."""
    remove(rules_id)
    return json_response({"deleted": rules_id})


@bp.post("/try")
@needs(Role.EDITOR)
def try_rules() -> Response:
    """Evaluate each rule of a text once, without writing anything."""
    return json_response({"groups": try_text(body(RulesTrial).text)})
