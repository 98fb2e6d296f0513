"""Checks: list, create, read, change, delete, run now, try without saving, and what the runs found."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, request

from appliance.bus import BusError
from checks.catalogue import Draft, private_names
from checks.errors import CheckError
from checks.model import DEFAULT_TEAM, Check
from checks.sealed import HIDDEN
from checks.view import check_view
from tsdb.errors import QueryFailed, QueryTimeout, RefusedQuery, TsdbError
from web.api.bodies import body_object
from web.api.paging import asked_page, list_response
from web.auth.guard import require
from web.auth.identity import identity
from web.auth.roles import Role
from web.errors import Refusal, invalid, json_response, not_found
from web.history import results
from web.kit import board, catalogue
from web.services import services

bp = Blueprint("api_checks", __name__, url_prefix="/api/v1/checks")

PARSE_TIMEOUT_S = 2.0
RUN_MARGIN_S = 10.0  # Beyond the check's own time-out: for the queue before it and the way.
COMMAND_KINDS = frozenset({"nagios"})  # They run programs of this machine, which is the power of an administrator.


def refuse_commands(kind: str) -> None:
    """Raises: Refusal 403, unless the identity may have this machine run programs."""
    if kind in COMMAND_KINDS and not identity().may(Role.ADMIN):
        raise Refusal(
            403, "forbidden", f"a {kind} check runs a program on this machine; this needs the role admin", field="kind"
        )


def refuse_team(team: str, *, field: str = "labels.team") -> None:
    """Raises: Refusal 403, when the identity belongs to another team."""
    if not identity().sees_team(team):
        raise Refusal(403, "forbidden", f"this token belongs to team {identity().team!r}, not {team!r}", field=field)


def refuse_wrong_expression(check: Check) -> None:
    """Raises: CheckError, for an expression that can never be answered; the query process says what is wrong with it.

    It is asked about 1970, where nothing is stored: only the expression counts, not what the data are like.
    """
    if check.kind != "query":
        return
    try:
        services().tsdb.query_instant(str(check.options["expression"]), 0, timeout_s=PARSE_TIMEOUT_S)
    except (QueryFailed, QueryTimeout):
        return
    except RefusedQuery as error:
        field = "options.expression"
        raise CheckError("invalid", str(error), field, errors={field: str(error)}) from error
    except (TsdbError, BusError) as error:
        services().log.info("the expression of check %r was not looked at: %s", check.name, error)


def with_team(body: dict[str, Any]) -> dict[str, Any]:
    """A token of a team creates in its team, without having to say so."""
    team = identity().team
    labels = body.get("labels", {})
    if team is None or team == DEFAULT_TEAM or not isinstance(labels, dict) or "team" in labels:
        return body
    return {**body, "labels": {**labels, "team": team}}


def apply(draft: Draft) -> None:
    services().state.apply(list(draft.mutations), actor=identity().actor)


def view_of(check_id: str) -> dict[str, Any]:
    """Raises: Refusal 404, also for a check of a team that the identity does not see."""
    reader = services().state.read
    document = reader.get("check", check_id)
    if document is None:
        raise not_found("check", check_id)
    view = check_view(document, reader.get("result", check_id))
    if not identity().sees_team(view["labels"].get("team", DEFAULT_TEAM)):
        raise not_found("check", check_id)
    return readable(view)


def readable(view: dict[str, Any]) -> dict[str, Any]:
    """The view as the identity may read it: who may not change a check need not know what it sends or is called by."""
    if identity().may(Role.EDITOR):
        return view
    private = private_names(view["kind"])
    options = {
        name: (dict.fromkeys(value, HIDDEN) if isinstance(value, dict) else HIDDEN)
        if name in private and value
        else value
        for name, value in view["options"].items()
    }
    return view | {"options": options}


@bp.get("")
def list_checks() -> Response:
    """`?q=` words, `?state=`, `?kind=`, `?team=` narrow the list; the worst come first."""
    page = asked_page()
    rows = board().view().sorted_rows(identity().team)
    words = request.args.get("q", "")
    wanted = {name: request.args.getlist(name) for name in ("state", "kind", "team", "name")}
    rows = [
        row
        for row in rows
        if (not words or row.matches(words))
        and (not wanted["state"] or row.shown_state in wanted["state"] or row.state in wanted["state"])
        and (not wanted["kind"] or row.check.kind in wanted["kind"])
        and (not wanted["team"] or row.check.team in wanted["team"])
        and (not wanted["name"] or row.check.name in wanted["name"])
    ]
    reader = services().state.read
    items = []
    for row in rows[page.offset : page.offset + page.limit]:
        document = reader.get("check", row.id)
        if document is not None:
            items.append(readable(check_view(document, reader.get("result", row.id))))
    return list_response(items, page, len(rows))


@bp.post("")
def create_check() -> Response:
    body = with_team(body_object())
    refuse_commands(str(body.get("kind")))
    draft = catalogue().create(body)
    refuse_team(draft.check.team)
    refuse_wrong_expression(draft.check)
    apply(draft)
    return json_response(view_of(draft.id), 201, Location=f"/api/v1/checks/{draft.id}")


@bp.get("/<check_id>")
def get_check(check_id: str) -> Response:
    view = view_of(check_id)
    response = json_response(view)
    response.set_etag(str(view["version"]))
    return response


@bp.patch("/<check_id>")
def change_check(check_id: str) -> Response:
    """With If-Match, the change is refused when someone else changed the check since."""
    refuse_commands(view_of(check_id)["kind"])
    body = body_object()
    draft = catalogue().patch(check_id, body, expected_version=expected_version())
    refuse_commands(draft.check.kind)
    refuse_team(draft.check.team)
    if "options" in body:
        refuse_wrong_expression(draft.check)
    apply(draft)
    return json_response(view_of(check_id))


def expected_version() -> int | None:
    """The version that a change is made of, by If-Match. Raises: Refusal 422."""
    text = request.headers.get("If-Match", "").strip().strip('"')
    if not text or text == "*":
        return None
    if not text.isdecimal() or len(text) > 18:
        raise invalid(
            f'If-Match is {text[:40]!r}; it must be the version that you have read, such as "3"', field="If-Match"
        )
    return int(text)


@bp.delete("/<check_id>")
def delete_check(check_id: str) -> Response:
    view_of(check_id)
    apply(catalogue().delete(check_id))
    return json_response({"deleted": check_id})


@bp.get("/<check_id>/results")
def list_results(check_id: str) -> Response:
    """State and duration of past runs, newest first, as stored; the text is kept for failures and changes only."""
    view = view_of(check_id)
    page = asked_page()
    found = results(services(), view, page=page, end_ms=_end_ms())
    return list_response(found.items, page, found.total_count)


def _end_ms() -> int:
    text = request.args.get("end_ms", "")
    if not text:
        return services().clock.now_ms() + 60_000
    if not text.isdecimal() or len(text) > 15:
        raise invalid(f"end_ms is {text[:40]!r}; it must be epoch milliseconds", field="end_ms")
    return int(text)


@bp.post("/<check_id>/run")
def run_check(check_id: str) -> Response:
    return json_response(run_now(view_of(check_id)))


def run_now(view: dict[str, Any]) -> Any:
    """The result of a run that starts now; of a check of a rule, its group's."""
    timeout_s = float(view["timeout_s"]) + RUN_MARGIN_S
    return services().ask("scheduler", "run", {"check_id": view["id"]}, timeout_s=timeout_s).body


@bp.post("/try")
def try_check() -> Response:
    """Run a body without saving it. With "id", hidden secrets are those of that check."""
    require(Role.EDITOR)
    body = with_team(body_object())
    check_id = body.pop("id", None)
    if check_id is not None:
        view_of(str(check_id))
    return json_response(try_body(body, check_id=check_id))


def try_body(body: dict[str, Any], *, check_id: str | None = None) -> Any:
    """The result of a run of a check that is not saved. Raises: CheckError, Refusal."""
    refuse_commands(str(body.get("kind")))
    check: Check = catalogue().trial(body, check_id=check_id)
    refuse_commands(check.kind)  # A version of a stored check need not say its kind.
    refuse_team(check.team)
    timeout_s = check.timeout_s + RUN_MARGIN_S
    return services().ask("scheduler", "try", msgspec.to_builtins(check), timeout_s=timeout_s).body
