"""`/graphite/functions` and `/graphite/version`: what the render language knows, for editors of queries."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response

from web.api.graphite import arguments, shape
from web.services import services

bp = Blueprint("graphite_functions", __name__, url_prefix="/graphite")

# Of graphite-web whose functions and answers these are: clients ask by it what there is.
VERSION = "1.2.0"
_INFINITY = msgspec.Raw(b"1e9999")  # A number beyond every float reads as infinity: the word Infinity is no JSON.
# Of one series: what a slice of a pie is worth.
_PIE = {
    name: {
        "name": name,
        "function": f"{name}(series)",
        "description": f"The {name} of the values of a series.",
        "module": "henge",
        "group": "Pie",
        "params": [{"name": "series", "type": "series", "required": True}],
    }
    for name in ("average", "maximum", "minimum")
}


@bp.get("/functions")
@bp.get("/functions/")
def functions() -> Response:
    found = _known()
    if group := arguments.text("group"):
        found = {name: one for name, one in found.items() if one["group"] == group}
    if not arguments.is_true("grouped"):
        return shape.plain_json_of(found)
    by_group: dict[str, dict[str, Any]] = {}
    for name, one in found.items():
        by_group.setdefault(one["group"], {})[name] = one
    return shape.plain_json_of(dict(sorted(by_group.items())))


@bp.get("/functions/<name>")
@bp.get("/functions/<name>/")
def function(name: str) -> Response:
    found = _known().get(name)
    if found is None:
        return shape.plain_json_of({"error": f"there is no function {name[:80]!r}"}, 404)
    return shape.plain_json_of(found)


@bp.get("/version")
@bp.get("/version/")
def version() -> Response:
    return Response(f"{VERSION}\n", mimetype="text/html")


def _known() -> dict[str, Any]:
    if arguments.text("type") == "pie":
        return dict(_PIE)
    found = services().tsdb.graphite_functions()
    for one in found.values():
        for parameter in one["params"]:
            if parameter.get("default") == "Infinity":
                parameter["default"] = _INFINITY
    return found
