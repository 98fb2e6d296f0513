"""The appliance itself: its processes, what comes in, what is refused, and the room that is left."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from markupsafe import Markup

from web import htmx
from web.draw.meter import meter
from web.rates import rates
from web.services import services
from web.system_report import report

EXAMPLE_COUNT = 3

bp = Blueprint("system", __name__, template_folder="templates")


@bp.get("/system")
def page() -> Response:
    """The whole page, or its live part for the poll that it carries."""
    found = report(services())
    return htmx.page_or_partial(
        "system/page.html",
        "system/_live.html",
        section="system",
        report=found,
        rates=rates().of(found["accepted"], services().clock.monotonic_s()),
        rows=_rows(found),
        refusals=_refusals(found),
        disk_meter=meter(found["disk"]["used_bytes"], found["disk"]["total_bytes"], label="disk used"),
        head_meter=_head_meter(found),
        config=services().config,
        now_ms=found["now_ms"],
        host_url=request.host_url.rstrip("/"),
    )


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The process tree: the supervisor's children, with how much waits before each."""
    return [entry | {"queue_count": (entry.get("queue") or {}).get("queue_count")} for entry in found["processes"]]


def _refusals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per protocol and reason, most first, with lines as they came where intake kept some."""
    examples: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in (found["intake"] or {}).get("recent_refusals", []):
        examples.setdefault((entry["protocol"], entry["reason"]), []).append(entry)
    rows = [
        {
            "protocol": protocol,
            "reason": reason,
            "count": count,
            "examples": examples.get((protocol, reason), [])[:EXAMPLE_COUNT],
        }
        for protocol, reasons in found["refused"].items()
        for reason, count in reasons.items()
        if count
    ]
    return sorted(rows, key=lambda row: -row["count"])


def _head_meter(found: dict[str, Any]) -> Markup | None:
    if not found["store"]:
        return None
    return meter(found["store"]["head_bytes"], services().config.store.head_bytes_max, label="memory for new samples")
