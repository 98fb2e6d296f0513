"""Explore: an expression over stored metrics, as a chart or at one time, with what helps to write one."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, render_template, request

from appliance.bus import BusError
from tsdb.errors import TsdbError
from web.errors import refusal_from
from web.pages.explore import vocabulary
from web.pages.explore.asked import Asked, View, asked_of_request, field_time
from web.pages.explore.complete import place_of
from web.pages.explore.mistake import mistake_of, utf16_length
from web.pages.explore.reading import Reading, at_one_time, over_time
from web.pages.explore.suggest import as_expression, metric_names, suggestions, word_end
from web.pages.ranges import RANGES_MS, url_for_range
from web.services import services

bp = Blueprint("explore", __name__, template_folder="templates")

FIRST_NAMES_COUNT = 200
EXPRESSION_SIZE_MAX = 16 * 1024  # As long as the engine reads.
TIMEOUT_S = 20.0


@bp.get("/explore")
def page() -> Response:
    asked = asked_of_request(services().clock.now_ms())
    return make_response(
        render_template(
            "explore/page.html",
            section="explore",
            asked=asked,
            reading=_read(asked) if asked.expression else Reading(problem=asked.problem),
            names=[] if asked.expression else metric_names("", FIRST_NAMES_COUNT),
            used=vocabulary.used_in(asked.expression),
            ranges=list(RANGES_MS),
            range_ms=RANGES_MS[asked.range_name],
            url_for_range=url_for_range,
            from_text=field_time(asked.start_ms) if asked.is_fixed else "",
            until_text=field_time(asked.end_ms) if asked.is_fixed else "",
            share_url=request.host_url.rstrip("/") + asked.share_url,
            alert_url="/checks/new/query?" + urlencode({"options.expression": asked.expression}),
        )
    )


def _read(asked: Asked) -> Reading:
    if asked.problem:
        return Reading(problem=asked.problem)
    tsdb, began_s = services().tsdb, time.monotonic()
    try:
        if asked.view is View.TABLE:
            answer = tsdb.query_instant(asked.expression, asked.end_ms, timeout_s=TIMEOUT_S)
        else:
            answer = tsdb.query_range(asked.expression, *asked.grid_ms, timeout_s=TIMEOUT_S)
    except (TsdbError, BusError) as error:
        refusal = refusal_from(error)
        message = refusal.message if refusal else str(error)
        return Reading(problem=message, mistake=mistake_of(asked.expression, message))
    whole_ms = 1_000 * (time.monotonic() - began_s)
    return at_one_time(answer, whole_ms) if asked.view is View.TABLE else over_time(answer, whole_ms)


@bp.get("/explore/functions")
def functions() -> Response:
    """All functions and aggregations, each with a sentence."""
    families: dict[str, list[vocabulary.Word]] = {}
    for word in vocabulary.WORDS.values():
        families.setdefault(word.family, []).append(word)
    return make_response(render_template("explore/functions.html", section="explore", families=families))


@bp.get("/explore/complete")
def complete() -> Response:
    """What may follow at the cursor of an expression, which a script counts in UTF-16 units; without it, at the end."""
    expression = request.args.get("expression", "").replace("\r\n", "\n")[:EXPRESSION_SIZE_MAX]
    cursor = request.args.get("cursor", type=int)
    head = expression if cursor is None else _first_units(expression, cursor)
    tail = expression[len(head) :]
    place = place_of(head, tail)
    end = word_end(place, head, tail)
    return make_response(
        render_template(
            "explore/_completions.html",
            suggestions=suggestions(place, tail),
            start=utf16_length(expression[: place.start]),
            end=utf16_length(expression[:end]),
        )
    )


def _first_units(text: str, count: int) -> str:
    """The beginning of a text, so many UTF-16 units long."""
    return text.encode("utf-16-le", "surrogatepass")[: 2 * max(0, count)].decode("utf-16-le", "ignore")


bp.add_app_template_filter(as_expression, "as_expression")
