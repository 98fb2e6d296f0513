"""Groups of rules and their alerts, as the scheduler evaluates them; what belongs to another team is left out.

Source of filters and pages: `rules` in web/api/v1/api.go of Prometheus 3.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from flask import Blueprint, Response, request

from tsdb.regex import compiled
from tsdb.sample import Matcher, MatchOp
from web.api.prometheus import arguments
from web.api.prometheus.shape import success
from web.auth.identity import identity
from web.services import services

KIND_BY_TYPE = {"alert": "alerting", "record": "recording"}
INTERNAL = ("id", "team", "trouble")  # What the scheduler says of a group and its document, beyond Prometheus' shape.

Group = dict[str, Any]

bp = Blueprint("prometheus_rules", __name__, url_prefix="/prometheus/api/v1")


@bp.get("/rules")
def rules() -> Response:
    if (type_ := arguments.text("type").lower()) not in ("", *KIND_BY_TYPE):
        raise arguments.invalid("type", f"not supported value {arguments.quoted(type_)}")
    hides_alerts = arguments.truth("exclude_alerts")
    count_max, token = _paging()
    selectors = arguments.match_arguments()
    page: list[Group] = []
    more: dict[str, str] = {}
    for group in _from_token(_groups(), token):
        left = [rule for rule in group["rules"] if _is_asked(rule, type_, selectors)]
        if not left or not _is_named("rule_group[]", group["name"]) or not _is_named("file[]", group["file"]):
            continue
        if count_max and len(page) == count_max:
            more = {"groupNextToken": _token(group)}
            break
        page.append(
            {name: value for name, value in group.items() if name not in INTERNAL}
            | {"rules": [_without_alerts(rule) for rule in left] if hides_alerts else left}
        )
    return success({"groups": page, **more})


@bp.get("/alerts")
def alerts() -> Response:
    return success(
        {"alerts": [alert for group in _groups() for rule in group["rules"] for alert in rule.get("alerts", ())]}
    )


def _groups() -> list[Group]:
    """By file and name, those that the identity may see."""
    found: list[Group] = services().ask("scheduler", "rules").body
    return [group for group in found if identity().sees_team(group["team"])]


def _paging() -> tuple[int, str]:
    """How many groups at most, 0 for all, and the token of the first. Raises: RefusedQuery."""
    limit, token = arguments.text("group_limit"), arguments.text("group_next_token")
    if token and not limit:
        raise arguments.invalid(
            "group_next_token", "group_limit needs to be present in order to paginate over the groups"
        )
    if limit and not re.fullmatch(r"[+-]?[0-9]{1,18}", limit):
        why = f"strconv.ParseInt: parsing {arguments.quoted(limit)}: invalid syntax"
        raise arguments.invalid("group_limit", f"group_limit needs to be a valid number: {why}")
    if limit and int(limit) < 0:
        raise arguments.invalid("group_limit", "group_limit needs to be greater than 0")
    return int(limit or 0), token


def _from_token(groups: list[Group], token: str) -> Iterator[Group]:
    """The groups from the one that a token names. Raises: RefusedQuery, if it is there no more."""
    tokens = [_token(group) for group in groups] if token else []
    if token and token not in tokens:
        shown = token[: arguments.TEXT_SIZE_MAX]
        raise arguments.invalid("group_next_token", f"invalid group_next_token '{shown}'. were rule groups changed?")
    yield from groups[tokens.index(token) if token else 0 :]


def _token(group: Group) -> str:
    """Two teams may have a file of the same name, so its id counts as well."""
    whole = ";".join((group["file"], group["name"], group["id"]))
    return hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest()


def _is_named(argument: str, name: str) -> bool:
    wanted = request.values.getlist(argument)
    return not wanted or name in wanted


def _is_asked(rule: dict[str, Any], type_: str, selectors: Sequence[Sequence[Matcher]]) -> bool:
    """Selectors see the labels as they are written in the rule, templates unexpanded."""
    if type_ and rule["type"] != KIND_BY_TYPE[type_]:
        return False
    labels = rule.get("labels", {})
    fits = not selectors or any(all(_fits(labels, matcher) for matcher in selector) for selector in selectors)
    return fits and _is_named("rule_name[]", rule["name"])


def _fits(labels: dict[str, str], matcher: Matcher) -> bool:
    value = labels.get(matcher.name, "")
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return (value == matcher.value) is (matcher.op is MatchOp.EQUAL)
    return (compiled(matcher.value).fullmatch(value) is not None) is (matcher.op is MatchOp.REGEX)


def _without_alerts(rule: dict[str, Any]) -> dict[str, Any]:
    return rule | {"alerts": None} if "alerts" in rule else rule
