"""Explore: expressions over stored metrics, as a chart or at one time, with what helps to write them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, make_response, redirect, render_template, request

from appliance.bus import BusError
from tsdb.answer import QueryAnswer
from tsdb.errors import TsdbError
from web.api.prometheus import leaving
from web.errors import refusal_from
from web.pages.explore import vocabulary
from web.pages.explore.asked import ROW_COUNT_MAX, Asked, Expression, View, asked_of_request, field_time
from web.pages.explore.complete import metrics_of, place_of
from web.pages.explore.mistake import mistake_of, utf16_length
from web.pages.explore.reading import Reading, at_one_time, over_time
from web.pages.explore.suggest import as_expression, described, metric_names, suggestions, word_end
from web.pages.ranges import RANGES_MS, url_for_range
from web.services import services

bp = Blueprint("explore", __name__, template_folder="templates")

FIRST_NAMES_COUNT = 200
EXPRESSION_SIZE_MAX = 16 * 1024  # As long as the engine reads.
TIMEOUT_S = 20.0  # Of all expressions of a page together.


@dataclass(frozen=True, slots=True)
class Result:
    """One expression, and what is shown of its answer."""

    row: Expression
    reading: Reading


@bp.get("/explore")
def page() -> Response:
    asked = asked_of_request(services().clock.now_ms())
    if change := request.args.get("do", ""):  # A button beside a row; so the address holds what is shown.
        return make_response(redirect(asked.changed_url(change), 303))
    results = _results(asked)
    names = [] if asked.expressions else metric_names("", FIRST_NAMES_COUNT)
    return make_response(
        render_template(
            "explore/page.html",
            section="explore",
            asked=asked,
            row_count_max=ROW_COUNT_MAX,
            results=results,
            problem_letters={result.row.letter for result in results if result.reading.problem},
            names=names,
            about=described([*names, *_metrics(asked)]),
            metrics=_metrics(asked),
            used=list({word.name: word for text in asked.expressions for word in vocabulary.used_in(text)}.values()),
            ranges=list(RANGES_MS),
            range_ms=RANGES_MS[asked.range_name],
            url_for_range=url_for_range,
            from_text=field_time(asked.start_ms) if asked.is_fixed else "",
            until_text=field_time(asked.end_ms) if asked.is_fixed else "",
            share_url=request.host_url.rstrip("/") + asked.share_url,
            alert_url=alert_url,
            drawn_json=_drawn_json(results),
        )
    )


def alert_url(expression: str) -> str:
    """The form of a check that watches an expression."""
    return "/checks/new/query?" + urlencode({"options.expression": expression})


def _results(asked: Asked) -> list[Result]:
    """Each expression is evaluated once: the table, the chart and the inspector show the same answer."""
    ends_s = time.monotonic() + TIMEOUT_S
    return [Result(row, _read(asked, row, ends_s)) for row in asked.rows if row.is_asked]


def _read(asked: Asked, row: Expression, ends_s: float) -> Reading:
    if asked.problem:
        return Reading(problem=asked.problem)
    began_s = time.monotonic()
    timeout_s = ends_s - began_s
    if timeout_s <= 0:
        return Reading(problem=f"not evaluated: the expressions before it took all of {TIMEOUT_S:.0f} s")
    try:
        answer = leaving.while_here(lambda query_id: _asked_of_store(asked, row.text, timeout_s, query_id))
    except (TsdbError, BusError) as error:
        refusal = refusal_from(error)
        message = refusal.message if refusal else str(error)
        return Reading(problem=message, mistake=mistake_of(row.text, message))
    whole_ms = 1_000 * (time.monotonic() - began_s)
    return at_one_time(answer, whole_ms) if asked.view is View.TABLE else over_time(answer, asked.grid_ms, whole_ms)


def _asked_of_store(asked: Asked, expression: str, timeout_s: float, query_id: str) -> QueryAnswer:
    tsdb = services().tsdb
    if asked.view is View.TABLE:
        return tsdb.query_instant(expression, asked.end_ms, timeout_s=timeout_s, query_id=query_id)
    return tsdb.query_range(expression, *asked.grid_ms, timeout_s=timeout_s, query_id=query_id)


def _metrics(asked: Asked) -> list[str]:
    """The metrics of all expressions, each once."""
    return list(dict.fromkeys(name for text in asked.expressions for name in metrics_of(text)))


def _drawn_json(results: list[Result]) -> str:
    """For chart.js, of each expression that has an answer: its row, its text, and what /api/v1/chart would answer."""
    return msgspec.json.encode(
        [
            {"row": result.row.index, "expression": result.row.text, "answer": result.reading.drawn}
            for result in results
            if result.reading.drawn
        ]
    ).decode()


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
