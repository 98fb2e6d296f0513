"""What a metric is: type, help, unit. Of Henge's own metrics as it knows them, of the others as their senders said."""

from __future__ import annotations

import re

from flask import Blueprint, Response

from tsdb.errors import RefusedQuery
from tsdb.metadata import MetricMetadata
from tsdb.sample import Matcher, MatchOp
from web.api.prometheus import arguments
from web.api.prometheus.shape import success
from web.gathering import gather_metrics
from web.services import services

bp = Blueprint("prometheus_metadata", __name__, url_prefix="/prometheus/api/v1")


@bp.get("/metadata")
def metadata() -> Response:
    limit, per_metric = _number("limit"), _number("limit_per_metric")
    found: dict[str, list[dict[str, str]]] = {}
    for entry in _known(arguments.text("metric") or "", limit):
        if entry.metric not in found and limit is not None and len(found) >= limit:
            continue
        words = {"type": entry.type, "unit": entry.unit, "help": entry.help}
        entries = found.setdefault(entry.metric, [])
        if words not in entries and (per_metric is None or len(entries) < per_metric):
            entries.append(words)
    return success(found)


@bp.get("/targets/metadata")
def targets_metadata() -> Response:
    """Nothing is scraped here, so what senders said belongs to a target without labels, which few matchers match."""
    limit, metric = _number("limit"), arguments.text("metric") or ""
    if (selector := arguments.text("match_target")) and not _matches_no_labels(selector):
        return success([])
    found = [
        {
            "target": {},
            **({} if metric else {"metric": entry.metric}),
            "type": entry.type,
            "help": entry.help,
            "unit": entry.unit,
        }
        for entry in services().tsdb.metadata([metric] if metric else [], limit)
    ]
    return success(found)


def _matches_no_labels(selector: str) -> bool:
    (matchers,) = arguments.named("match_target", lambda: services().tsdb.selectors([selector]))
    return all(_matches_nothing(matcher) for matcher in matchers)


def _matches_nothing(matcher: Matcher) -> bool:
    from tsdb import regex  # Few ask with one, and RE2 takes its room.

    match matcher.op:
        case MatchOp.EQUAL | MatchOp.NOT_EQUAL:
            return (matcher.value == "") == (matcher.op is MatchOp.EQUAL)
    return regex.value_test(matcher.value)(b"") == (matcher.op is MatchOp.REGEX)


def _known(metric: str, limit: int | None) -> list[MetricMetadata]:
    own = {
        sample.name: MetricMetadata(metric=sample.name, type=sample.kind, help=sample.help, unit="")
        for sample in gather_metrics(services())
        if not metric or sample.name == metric
    }
    return [*own.values(), *services().tsdb.metadata([metric] if metric else [], limit)]


def _number(name: str) -> int | None:
    """None: no limit, as for a negative number; zero of `limit_per_metric` is none as well."""
    given = arguments.text(name)
    if not given:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", given):
        raise RefusedQuery(f"{name} must be a number")
    count = int(given)
    return None if count < 0 or (count == 0 and name == "limit_per_metric") else count
