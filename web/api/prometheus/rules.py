"""Rules and alerts in Prometheus' shape. Henge's checks are no rules, so both are empty."""

from __future__ import annotations

import re

from flask import Blueprint, Response

from web.api.prometheus import arguments
from web.api.prometheus.shape import success

TYPES = ("", "alert", "record")

bp = Blueprint("prometheus_rules", __name__, url_prefix="/prometheus/api/v1")


@bp.get("/rules")
def rules() -> Response:
    if (kind := arguments.text("type").lower()) not in TYPES:
        raise arguments.invalid("type", f"not supported value {arguments.quoted(kind)}")
    arguments.truth("exclude_alerts")
    _check_paging()
    arguments.match_arguments()
    return success({"groups": []})


def _check_paging() -> None:
    """Raises: RefusedQuery."""
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


@bp.get("/alerts")
def alerts() -> Response:
    return success({"alerts": []})
