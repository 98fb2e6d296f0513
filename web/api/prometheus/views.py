"""The endpoints. Arguments come in the address or, by POST, in a form; both may be mixed."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from flask import Blueprint, Response, request

from tsdb.client import SERIES_COUNT_MAX
from tsdb.errors import RefusedQuery
from tsdb.sample import Matcher
from web.api.prometheus.shape import answer_response, success
from web.auth.guard import Access
from web.auth.roles import Role
from web.services import services

bp = Blueprint("prometheus", __name__, url_prefix="/prometheus/api/v1")

POINT_COUNT_MAX = 11_000  # Per series, as in Prometheus: more than any screen is wide.
TIMEOUT_S_MAX = 600.0  # The query process allows as much as query.timeout says.
TIME_MS_MIN, TIME_MS_MAX = -(2**53), 2**53
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_UNIT_MS = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
READ = Access(Role.VIEWER, csrf=False)  # A POST here only reads; its answer is closed to other sites.


def argument(name: str) -> str:
    """A required argument."""
    value = request.values.get(name, "")
    if not value:
        raise RefusedQuery(f'invalid parameter "{name}": it is missing')
    return value


def parse_time_ms(name: str, default_ms: int) -> int:
    """Epoch seconds with a fraction, or RFC 3339."""
    text = request.values.get(name, "").strip()
    if not text:
        return default_ms
    try:
        time_ms = round(float(text) * 1_000)
    except (ValueError, OverflowError):
        time_ms = _rfc3339_ms(name, text)
    if not TIME_MS_MIN <= time_ms <= TIME_MS_MAX:
        raise RefusedQuery(f'invalid parameter "{name}": {text[:60]!r} is too far from now')
    return time_ms


def _rfc3339_ms(name: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedQuery(
            f'invalid parameter "{name}": cannot parse {text[:60]!r} to a valid timestamp (epoch seconds or RFC 3339)'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)  # noqa: UP017 - datetime.UTC reads as a class here.
    return round(moment.timestamp() * 1_000)


def parse_duration_ms(name: str, text: str) -> int:
    """Seconds as a number, or Prometheus' durations: 5m, 1h30m."""
    try:
        return round(float(text) * 1_000)
    except (ValueError, OverflowError):
        pass
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise RefusedQuery(f'invalid parameter "{name}": cannot parse {text[:60]!r} to a valid duration')
    return sum(int(count or 0) * unit_ms for count, unit_ms in zip(found.groups(), _UNIT_MS, strict=True))


def timeout_s() -> float | None:
    """None: as long as query.timeout allows."""
    text = request.values.get("timeout", "")
    if not text:
        return None
    return max(0.001, min(parse_duration_ms("timeout", text) / 1_000, TIMEOUT_S_MAX))


@bp.route("/query", methods=["GET", "POST"])
def query() -> Response:
    time_ms = parse_time_ms("time", services().clock.now_ms())
    return answer_response(services().tsdb.query_instant(argument("query"), time_ms, timeout_s=timeout_s()))


@bp.route("/query_range", methods=["GET", "POST"])
def query_range() -> Response:
    expression = argument("query")
    argument("start"), argument("end")
    start_ms, end_ms = parse_time_ms("start", 0), parse_time_ms("end", 0)
    step_ms = parse_duration_ms("step", argument("step"))
    if step_ms > TIME_MS_MAX:
        raise RefusedQuery(f'invalid parameter "step": {argument("step")[:60]!r} is longer than any range')
    if end_ms < start_ms:
        raise RefusedQuery('invalid parameter "end": end timestamp must not be before start time')
    if step_ms <= 0:
        raise RefusedQuery(
            'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
            "Try a positive integer"
        )
    if (end_ms - start_ms) // step_ms > POINT_COUNT_MAX:
        raise RefusedQuery(
            f"exceeded maximum resolution of {POINT_COUNT_MAX:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return answer_response(services().tsdb.query_range(expression, start_ms, end_ms, step_ms, timeout_s=timeout_s()))


def match_arguments(*, required: bool) -> list[list[Matcher]]:
    texts = request.values.getlist("match[]")
    if required and not texts:
        raise RefusedQuery("no match[] parameter provided")
    return services().tsdb.selectors(texts) if texts else []


def limit() -> int:
    text = request.values.get("limit", "")
    if not text:
        return SERIES_COUNT_MAX
    if not text.isdecimal() or len(text) > 18:
        raise RefusedQuery(f'invalid parameter "limit": {text[:60]!r} is not a whole number of at least 0')
    return min(int(text) or SERIES_COUNT_MAX, SERIES_COUNT_MAX)


def time_range() -> tuple[int, int]:
    start_ms, end_ms = parse_time_ms("start", TIME_MS_MIN), parse_time_ms("end", TIME_MS_MAX)
    if end_ms < start_ms:
        raise RefusedQuery('invalid parameter "end": end timestamp must not be before start time')
    return start_ms, end_ms


@bp.route("/series", methods=["GET", "POST"])
def series() -> Response:
    found = services().tsdb.series(match_arguments(required=True), *time_range(), limit=limit())
    return success([dict(labels) for labels in found])


@bp.route("/labels", methods=["GET", "POST"])
def labels() -> Response:
    return success(services().tsdb.label_names(match_arguments(required=False), *time_range(), limit=limit()))


@bp.route("/label/<name>/values", methods=["GET"])
def label_values(name: str) -> Response:
    name = _unescaped_label(name)
    return success(services().tsdb.label_values(name, match_arguments(required=False), *time_range(), limit=limit()))


def _unescaped_label(name: str) -> str:
    """`U__my_2e_label` stands for `my.label` (Prometheus 3, "values escaping")."""
    if not name.startswith("U__"):
        return name
    return re.sub(
        r"__|_([0-9a-fA-F]{1,6})_", lambda found: "_" if found[0] == "__" else chr(int(found[1], 16)), name[3:]
    )


for _view in (query, query_range, series, labels):
    _view.access = READ  # type: ignore[attr-defined]
