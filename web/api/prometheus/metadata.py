"""What a metric is: type, help, unit. Known of Henge's own metrics; senders' metadata is not stored."""

from __future__ import annotations

import re

from flask import Blueprint, Response

from tsdb.errors import RefusedQuery
from web.api.prometheus import arguments
from web.api.prometheus.shape import success
from web.gathering import gather_metrics
from web.services import services

bp = Blueprint("prometheus_metadata", __name__, url_prefix="/prometheus/api/v1")


@bp.get("/metadata")
def metadata() -> Response:
    limit, per_metric = _number("limit"), _number("limit_per_metric")
    wanted = arguments.text("metric")
    found: dict[str, list[dict[str, str]]] = {}
    for sample in gather_metrics(services()):
        if (wanted and sample.name != wanted) or sample.name in found:
            continue
        if limit is not None and len(found) >= limit:
            break
        found[sample.name] = [{"type": sample.kind, "unit": "", "help": sample.help}][:per_metric]
    return success(found)


def _number(name: str) -> int | None:
    """None: no limit, as for a negative number; zero of `limit_per_metric` is none as well."""
    given = arguments.text(name)
    if not given:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", given):
        raise RefusedQuery(f"{name} must be a number")
    count = int(given)
    return None if count < 0 or (count == 0 and name == "limit_per_metric") else count
