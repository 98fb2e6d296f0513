"""Explore: an expression over stored metrics, as a chart and as a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

import numpy as np
from flask import Blueprint, Response, make_response, render_template, request

from appliance.bus import BusError
from tsdb.errors import TsdbError
from tsdb.sample import METRIC_NAME
from web.api.chart import SERIES_COUNT_MAX, step_of
from web.errors import refusal_from
from web.pages.ranges import RANGES_MS, asked_range, url_for_range
from web.services import services
from web.words import series_name

bp = Blueprint("explore", __name__, template_folder="templates")

NAME_COUNT_MAX = 50
FIRST_NAMES_COUNT = 200
METRIC_WORD = re.compile(r"[a-zA-Z_:][\w:.]*$", re.ASCII)
PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Line:
    """One series of the table; index is its colour in the chart."""

    index: int
    name: str
    last: float
    lowest: float
    mean: float
    highest: float


@bp.get("/explore")
def page() -> Response:
    expression = request.args.get("expression", "").strip()
    now_ms = services().clock.now_ms()
    range_name = asked_range("1h")
    fixed = _fixed_range()
    start_ms, end_ms = fixed or (now_ms - RANGES_MS[range_name], now_ms)
    lines, series_count, problem = _table(expression, start_ms, end_ms) if expression else ([], 0, "")
    return make_response(
        render_template(
            "explore/page.html",
            section="explore",
            expression=expression,
            lines=lines,
            series_count=series_count,
            problem=problem,
            names=[] if expression else _names("", FIRST_NAMES_COUNT),
            ranges=list(RANGES_MS),
            range_name="" if fixed else range_name,
            range_ms=RANGES_MS[range_name],
            fixed=fixed,
            start_ms=start_ms,
            end_ms=end_ms,
            from_text=_input_text(start_ms) if fixed else "",
            until_text=_input_text(end_ms) if fixed else "",
            step_ms=step_of(start_ms, end_ms),
            url_for_range=url_for_range,
            alert_url="/checks/new/query?" + urlencode({"options.expression": expression}),
        )
    )


def _input_text(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M")


def _fixed_range() -> tuple[int, int] | None:
    """From and until as the form's fields send them, in UTC; None when they are not both there and in order."""
    try:
        moments = [datetime.fromisoformat(request.args[name]) for name in ("from", "until")]
    except (KeyError, ValueError):
        return None
    start_ms, end_ms = (
        round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000) for moment in moments
    )
    return (start_ms, end_ms) if 0 <= start_ms < end_ms else None


def _table(expression: str, start_ms: int, end_ms: int) -> tuple[list[Line], int, str]:
    """Per series its last, lowest, mean and highest value in the range → (lines, how many series, what went wrong)."""
    step_ms = step_of(start_ms, end_ms)
    start_ms, end_ms = start_ms // step_ms * step_ms, end_ms // step_ms * step_ms
    try:
        answer = services().tsdb.query_range(expression, start_ms, end_ms, step_ms, timeout_s=TIMEOUT_S)
    except (TsdbError, BusError) as error:
        refusal = refusal_from(error)
        return [], 0, refusal.message if refusal else str(error)
    lines = []
    offsets = answer.offsets.tolist()
    for index, labels in enumerate(answer.labels[:SERIES_COUNT_MAX]):
        values = answer.value[offsets[index] : offsets[index + 1]]
        finite = values[np.isfinite(values)]
        if finite.size:
            last, low, mean, high = (float(x) for x in (finite[-1], finite.min(), finite.mean(), finite.max()))
            lines.append(Line(index, series_name(labels), last, low, mean, high))
    return lines, len(answer.labels), ""


@bp.get("/explore/names")
def names() -> Response:
    """Completions of the last word of an expression, as options of the field's list."""
    expression = request.args.get("expression", "")
    found = METRIC_WORD.search(expression)
    word = found[0] if found else ""
    if expression and not word:
        options: list[str] = []
    else:
        head = expression[: len(expression) - len(word)]
        options = [head + as_expression(name) for name in _names(word, NAME_COUNT_MAX)]
    return make_response(render_template("explore/_names.html", options=options))


def _names(contains: str, limit: int) -> list[str]:
    """Metric names that hold a text; none while the query process is away."""
    now_ms = services().clock.now_ms()
    try:
        return list(
            services().tsdb.label_values(
                METRIC_NAME, [], now_ms - RANGES_MS["30d"], now_ms + 3_600_000, limit=limit, contains=contains
            )
        )
    except (TsdbError, BusError) as error:
        services().log.warning("no metric names: %s", error)
        return []


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@bp.app_template_filter("as_expression")
def as_expression(name: str) -> str:
    """A metric name as an expression: one of Graphite has dots, and needs the braces."""
    return name if PLAIN_NAME.fullmatch(name) else '{__name__="' + _escaped(name) + '"}'
