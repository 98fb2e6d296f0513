"""`/graphite/render`: targets evaluated, in the form that is asked for."""

from __future__ import annotations

from flask import Blueprint, Response

from tsdb.answer import RenderedSeries
from web.api.graphite import arguments, events, formats, shape
from web.api.graphite.arguments import Asked
from web.auth.guard import Access
from web.auth.roles import Role
from web.services import services

bp = Blueprint("graphite_render", __name__, url_prefix="/graphite")

METHODS = ("GET", "POST", "PUT", "OPTIONS")


@bp.route("/render", methods=METHODS, provide_automatic_options=False)
@bp.route("/render/", methods=METHODS, provide_automatic_options=False)
def render() -> Response:
    asked = arguments.asked()
    if asked.format not in formats.FORMATS:
        there = ", ".join(formats.FORMATS)
        what = f"format: {asked.format[:40]!r}" if asked.format else "without a format an image is meant, which"
        raise arguments.bad(f"{what} cannot be drawn here; add format=json, or another of {there}")
    shape.callback()
    mimetype, write = formats.FORMATS[asked.format]
    body = write(found(asked), asked)
    answer = shape.json_answer(body) if asked.format in formats.JSON_FORMATS else Response(body, mimetype=mimetype)
    answer.headers["Cache-Control"] = _kept(asked)
    return answer


render.access = Access(Role.VIEWER, csrf=False)  # type: ignore[attr-defined]  # A POST here only reads.


def _kept(asked: Asked) -> str:
    if asked.kept_s > 0:
        return f"private, max-age={asked.kept_s}"
    return "max-age=0, no-cache, no-store, must-revalidate, private"


def found(asked: Asked) -> list[RenderedSeries]:
    return services().tsdb.render(
        asked.targets,
        asked.from_text,
        asked.until_text,
        asked.now_s,
        zone=asked.zone,
        x_files_factor=asked.x_files_factor,
        points_max=asked.points_max if asked.format == "json" else None,
        template=asked.template,
        events=_events(asked),
        timeout_s=None,
    )


def _events(asked: Asked) -> list[tuple[int, str, list[str]]]:
    """What events() may count: read only where a target, or a text that is put into one, speaks of it."""
    if not any("events" in text for text in (*asked.targets, *asked.template.values())):
        return []
    return [(event.at_ms // 1_000, event.body["what"], event.body["tags"]) for event in events.noted()]
