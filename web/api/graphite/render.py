"""`/graphite/render`: targets evaluated, in the form that is asked for, or drawn."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response

from tsdb.answer import RenderedSeries
from web.api.graphite import arguments, events, formats, pictures, shape
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
    shape.callback()
    answer = _picture(asked) if asked.format not in formats.FORMATS else _numbers(asked)
    answer.headers["Cache-Control"] = _kept(asked)
    return answer


def _numbers(asked: Asked) -> Response:
    mimetype, write = formats.FORMATS[asked.format]
    body = write(found(asked, asked.points_max if asked.format == "json" else None), asked)
    return shape.json_answer(body) if asked.format in formats.JSON_FORMATS else Response(body, mimetype=mimetype)


def _picture(asked: Asked) -> Response:
    """Without a format, and for one that nobody knows, graphite-web draws a PNG."""
    if shape.callback():
        raise arguments.bad("jsonp: a picture cannot be handed to a function; add format=json, or leave jsonp out")
    if asked.format in formats.NOT_DRAWN:
        raise arguments.bad(f"format: {asked.format!r} cannot be drawn here; take png or svg")
    look = pictures.wanted(asked)
    targets, given = pictures.given_slices(asked) if look.is_pie else (asked.targets, {})
    evaluated = replace(asked, targets=targets)
    series = found(evaluated, None if look.is_pie else pictures.points_max()) if evaluated.targets else []
    svg = pictures.svg(series, look, given, len(asked.targets))
    return pictures.answer(svg, "svg" if asked.format == "svg" else "png")


render.access = Access(Role.VIEWER, csrf=False)  # type: ignore[attr-defined]  # A POST here only reads.


def _kept(asked: Asked) -> str:
    if asked.kept_s > 0:
        return f"private, max-age={asked.kept_s}"
    return "max-age=0, no-cache, no-store, must-revalidate, private"


def found(asked: Asked, points_max: int | None) -> list[RenderedSeries]:
    return services().tsdb.render(
        asked.targets,
        asked.from_text,
        asked.until_text,
        asked.now_s,
        zone=asked.zone,
        x_files_factor=asked.x_files_factor,
        points_max=points_max,
        template=asked.template,
        events=_events(asked),
        timeout_s=None,
    )


def _events(asked: Asked) -> list[tuple[int, str, list[str]]]:
    """What events() may count: read only where a target, or a text that is put into one, speaks of it."""
    if not any("events" in text for text in (*asked.targets, *asked.template.values())):
        return []
    return [(event.at_ms // 1_000, event.body["what"], event.body["tags"]) for event in events.noted()]
