"""`/graphite/render`: targets evaluated, in the form that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from flask import Blueprint, Response

from tsdb.answer import RenderedSeries
from web.api.graphite import arguments
from web.api.graphite.arguments import Asked
from web.auth.guard import Access
from web.auth.roles import Role
from web.services import services

bp = Blueprint("graphite_render", __name__, url_prefix="/graphite")


@bp.route("/render", methods=["GET", "POST"])
@bp.route("/render/", methods=["GET", "POST"])
def render() -> Response:
    asked = arguments.asked()
    if asked.format not in ("", "json"):
        raise arguments.bad(f"format: {asked.format[:40]!r} is not known; there is json")
    return Response(json_body(found(asked), leaves_nulls_out=asked.leaves_nulls_out), mimetype="application/json")


render.access = Access(Role.VIEWER, csrf=False)  # type: ignore[attr-defined]  # A POST here only reads.


def found(asked: Asked) -> list[RenderedSeries]:
    return services().tsdb.render(
        asked.targets,
        asked.from_text,
        asked.until_text,
        asked.now_s,
        zone=asked.zone,
        x_files_factor=asked.x_files_factor,
        points_max=asked.points_max,
        template=asked.template,
        timeout_s=None,
    )


def json_body(series: Sequence[RenderedSeries], *, leaves_nulls_out: bool) -> bytes:
    """`[{"target", "tags", "datapoints": [[value, time], …]}, …]`; series without points are left out."""
    parts = [_json_of(one, leaves_nulls_out=leaves_nulls_out) for one in series if one.values.size]
    return b"[" + b", ".join(part for part in parts if part) + b"]"


def _json_of(one: RenderedSeries, *, leaves_nulls_out: bool) -> bytes:
    times = one.start_s + one.step_s * np.arange(one.values.size, dtype=np.int64)
    values = one.values
    if leaves_nulls_out:
        there = ~np.isnan(values)
        if not there.any():
            return b""
        times, values = times[there], values[there]
    head = msgspec.json.encode({"target": one.name, "tags": one.tags})[:-1]
    return head + b',"datapoints":[' + _pairs(values, times) + b"]}"


def _pairs(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], times: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> bytes:
    """`[value,time],…`: the text of both columns is made by msgspec, which writes NaN as null."""
    listed = msgspec.json.encode(list(zip(values.tolist(), times.tolist(), strict=True)))
    return listed[1:-1]
