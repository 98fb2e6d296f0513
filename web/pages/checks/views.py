"""The page of one check: how it stands, how it was, what to do about it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import numpy as np
from flask import Blueprint, Response, make_response, render_template, request

from appliance.bus import BusError
from checks import forms
from checks.model import State
from checks.probes.options import OptionError
from checks.rows import DURATION, PERFDATA
from tsdb.errors import TsdbError
from web import htmx
from web.api import downtimes
from web.api.chart import step_of
from web.api.checks import apply, run_now, view_of
from web.auth.guard import safe_target
from web.auth.identity import identity
from web.auth.roles import Role
from web.draw.heartbeat import Beat, bar_with_titles
from web.errors import invalid
from web.history import columns, failure_texts
from web.kit import board, catalogue
from web.pages.ranges import RANGES_MS, asked_range, url_for_range
from web.services import services
from web.words import latency, stamp

bp = Blueprint("checks", __name__, url_prefix="/checks", template_folder="templates")

BEAT_COUNT = 90
EVENT_COUNT = 30
FAILURE_COUNT = 20
SHOWN_FAILURE_COUNT = 5  # The others are folded away.
CHART_COUNT_MAX = 6
YOUNG_MS = 3 * 3_600_000  # A check younger than this would fill half of the usual range at most.
DOWNTIME_HOURS = {"1": "1 hour", "4": "4 hours", "24": "1 day", "168": "1 week"}


@bp.get("/<check_id>")
def page(check_id: str) -> Response:
    """The whole page, or its live part for the poll that it carries."""
    check = view_of(check_id)
    etag = f"{board().view().revision}"
    if (same := htmx.unchanged(etag)) is not None:
        return same
    response = htmx.page_or_partial("checks/page.html", "checks/_update.html", etag=etag, **_content(check))
    response.set_etag(etag)
    return response


def _content(check: dict[str, Any]) -> dict[str, Any]:
    now_ms = services().clock.now_ms()
    is_young = now_ms - check["created_ms"] < YOUNG_MS
    range_name = asked_range("1h" if is_young else "6h")
    return {
        "section": "overview",
        "now_ms": now_ms,
        "check": check,
        "target": target_of(check),
        "push_path": _push_path(check),
        "rule_file": _rule_file(check),
        "state": "paused" if check["paused"] else check["state"],
        "downtimes": _downtimes(check, now_ms),
        "downtime_hours": DOWNTIME_HOURS,
        "events": services().state.read.events(kind="flip", subject=check["id"], limit=EVENT_COUNT),
        "failures": services().state.read.events(kind="failure", subject=check["id"], limit=FAILURE_COUNT),
        "shown_failure_count": SHOWN_FAILURE_COUNT,
        "options": shown_options(check),
        "ranges": list(RANGES_MS),
        "range_name": range_name,
        "range_ms": RANGES_MS[range_name],
        "url_for_range": url_for_range,
        "series_url": "/explore?" + urlencode({"expression": f"{{{_whose(check)}}}", "range": range_name}),
        "charts": charts_of(check, RANGES_MS[range_name]),
        **_past(check, now_ms),
    }


def target_of(check: dict[str, Any]) -> str:
    """What is watched, in a few words: the first required option, else the host."""
    try:
        fields = forms.fields(check["kind"])
    except OptionError:
        return ""
    required = next((field.name for field in fields if field.required), None)
    value = check["options"].get(required) if required else None
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    return str(value) if value is not None else ""


def _rule_file(check: dict[str, Any]) -> str:
    """The name of the rule file that the check belongs to, and in which it is changed; "" for any other."""
    if not check["rules"]:
        return ""
    document = services().state.read.get("rules", check["rules"])
    return str(document.body["name"]) if document else str(check["rules"])


def _push_path(check: dict[str, Any]) -> str:
    """For those who may set up the job that calls it."""
    is_told = check["kind"] == "push" and identity().may(Role.EDITOR)
    return f"/push/{check['options'].get('secret', '')}" if is_told else ""


def shown_options(check: dict[str, Any]) -> list[tuple[str, Any]]:
    """The options that were set, with their labels."""
    try:
        labels = {field.name: field.label for field in forms.fields(check["kind"])}
    except OptionError:
        labels = {}
    return [
        (labels.get(name, name), ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value)
        for name, value in check["options"].items()
        if value not in (None, "", [], {})
    ]


def _downtimes(check: dict[str, Any], now_ms: int) -> list[dict[str, Any]]:
    """The downtimes that cover the check now."""
    view = board().view()
    row = view.rows.get(check["id"])
    if row is None or not view.is_quiet(row, now_ms):
        return []
    return [
        {"id": downtime_id, "until_ms": entry.until_ms, "comment": entry.comment, "author": entry.author}
        for downtime_id, entry in view.downtimes
        if entry.from_ms <= now_ms < entry.until_ms and entry.check_id in (None, check["id"])
    ]


def _past(check: dict[str, Any], now_ms: int) -> dict[str, Any]:
    """The heartbeat bar and the share of good results; without the store, both are left out and the page says so."""
    window_ms = max(24 * 3_600_000, int(check["interval_s"] * 1_000 * (BEAT_COUNT + 2)))
    try:
        times, states, durations = columns(services(), check, now_ms - window_ms, now_ms + 60_000)
    except (TsdbError, BusError) as error:
        services().log.warning("the page of check %s shows no heartbeats: %s", check["id"], error)
        return {"beats": bar_with_titles([], place_count=BEAT_COUNT), "availability": None, "past_problem": str(error)}
    texts = failure_texts(services(), str(check["id"]))
    beats = [
        Beat(at_ms, State(int(state)), _beat_title(at_ms, State(int(state)), duration, texts.get(at_ms)))
        for at_ms, state, duration in zip(
            times[-BEAT_COUNT:].tolist(), states[-BEAT_COUNT:].tolist(), durations[-BEAT_COUNT:].tolist(), strict=True
        )
    ]
    known = states[states != State.UNKNOWN]
    availability = float(np.mean(known != State.CRITICAL)) if known.size else None
    return {
        "beats": bar_with_titles(beats, place_count=BEAT_COUNT),
        "availability": availability,
        "past_problem": "",
    }


def _beat_title(at_ms: int, state: State, duration_s: float, text: str | None) -> str:
    first_line = f": {text.partition(chr(10))[0][:200]}" if text else ""
    return f"{stamp(at_ms)} UTC, {state.word}, {latency(None if duration_s != duration_s else duration_s)}{first_line}"


def charts_of(check: dict[str, Any], range_ms: int) -> list[dict[str, Any]]:
    """What chart.js draws: latency, one chart per unit of perfdata, and for a metric check the metric itself."""
    whose = _whose(check)
    step_ms = max(step_of(0, range_ms), int(check["interval_s"] * 1_000))
    window = f"{max(step_ms, int(check['interval_s'] * 1_500)) // 1_000 or 1}s"
    charts = []
    if check["kind"] == "query":
        charts.append({"title": "Value", "expression": check["options"].get("expression", ""), "unit": "", "label": ""})
    charts.append(
        {
            "title": "Latency",
            "expression": f"avg_over_time({DURATION}{{{whose}}}[{window}])",
            "unit": "s",
            "label": "host",
        }
    )
    perfdata = (check["last_result"] or {}).get("perfdata", [])
    if all(entry["label"] == "time" for entry in perfdata if entry.get("unit") == "s"):
        perfdata = [entry for entry in perfdata if entry.get("unit") != "s"]  # The latency once more.
    for unit in dict.fromkeys(entry.get("unit", "") for entry in perfdata):
        expression = f"avg_over_time({PERFDATA}{{{whose},unit={_quoted(unit)}}}[{window}])"
        names = [entry["label"] for entry in perfdata if entry.get("unit", "") == unit]
        title = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        charts.append({"title": title, "expression": expression, "unit": unit, "label": "label"})
    return charts[:CHART_COUNT_MAX]


def _whose(check: dict[str, Any]) -> str:
    """The matchers of all series of a check."""
    return f"check={_quoted(check['name'])},team={_quoted(check['labels'].get('team', 'default'))}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@bp.post("/<check_id>/run")
def run(check_id: str) -> Response:
    """Run now. By htmx the live part comes back with the new result; without script, the page."""
    check = view_of(check_id)
    run_now(check)
    if not htmx.is_swap():
        return htmx.go_to(f"/checks/{check_id}")
    etag = f"{board().view().revision}"
    return make_response(render_template("checks/_update.html", etag=etag, **_content(view_of(check_id))))


@bp.post("/<check_id>/pause")
def pause(check_id: str) -> Response:
    view_of(check_id)
    apply(catalogue().pause(check_id, paused=True))
    return htmx.go_to(f"/checks/{check_id}")


@bp.post("/<check_id>/resume")
def resume(check_id: str) -> Response:
    view_of(check_id)
    apply(catalogue().pause(check_id, paused=False))
    return htmx.go_to(f"/checks/{check_id}")


@bp.post("/<check_id>/delete")
def delete(check_id: str) -> Response:
    view_of(check_id)
    apply(catalogue().delete(check_id))
    return htmx.go_to("/")


@bp.post("/<check_id>/downtime")
def begin_downtime(check_id: str) -> Response:
    """A downtime from now on for one check."""
    view_of(check_id)
    hours = request.form.get("hours", "1")
    if hours not in DOWNTIME_HOURS:
        raise invalid(f"{hours[:20]!r} is not one of {', '.join(DOWNTIME_HOURS)} hours", field="hours")
    now_ms = services().clock.now_ms()
    downtimes.create(
        {
            "check_id": check_id,
            "from_ms": now_ms,
            "until_ms": now_ms + int(hours) * 3_600_000,
            "comment": request.form.get("comment", "")[:1_000],
        }
    )
    return htmx.go_to(f"/checks/{check_id}")


@bp.post("/downtimes/<downtime_id>/end")
def end_downtime(downtime_id: str) -> Response:
    downtimes.remove(downtimes.get_document(downtime_id))
    return htmx.go_to(safe_target(request.form.get("next", "/incidents")))
