"""The appliance itself: its processes, what comes in, what is refused, and the room that is left."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from markupsafe import Markup

from appliance import crashes
from web import htmx
from web.auth.guard import needs
from web.auth.roles import Role
from web.draw.meter import meter
from web.errors import Refusal
from web.rates import rates
from web.services import services
from web.system_report import report
from web.words import number, size

EXAMPLE_COUNT = 3
UDP_BUFFER_BYTES_WANTED = 8 * 2**20  # As the listeners ask for.
# Numbers of the store that are shown only when they are not nought, and what they count.
GIVEN_UP = {
    "rolled_for_space": "{} windows of raw samples before their time",
    "dropped_for_space": "{} blocks of rollups before their time",
    "dropped_without_rollup": "{} windows without a rollup",
}
DAMAGES = {
    "quarantined_frames": "{} frames of the log in quarantine",
    "quarantined_blocks": "{} blocks in quarantine",
    "damaged_blocks": "{} blocks damaged in part",
    "missing_blocks": "{} blocks that somebody has removed",
    "quarantined_tombstones": "{} deletes in quarantine, whose samples are visible again",
    "lost_samples": "{} samples lost",
    "damaged_reads": "{} reads met damage",
}
FOREVER_DAYS = 100 * 365

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
        budget_meter=_budget_meter(found),
        forecast=_forecast(found["store"]) if found["store"] else "",
        given_up=_counted(found["store"], GIVEN_UP),
        damages=_counted(found["store"], DAMAGES),
        refused_queries=", ".join(
            f"{number(count)} {reason.replace('_', ' ')}" for reason, count in found["queries"]["refused"].items()
        ),
        udp_cure=udp_cure(found["dropped"], (found["intake"] or {}).get("udp_buffer_bytes", {})),
        crashes=crashes.reports(services().config.data_dir),
        config=services().config,
        now_ms=found["now_ms"],
        host_url=request.host_url.rstrip("/"),
    )


@bp.get("/system/crashes/<name>")
@needs(Role.ADMIN)
def crash(name: str) -> Response:
    """One report, to be read or kept. It is text that a process wrote, and never a page."""
    text = crashes.read(services().config.data_dir, name)
    if text is None:
        raise Refusal(404, "not_found", f"there is no report of a crash called {name!r}")
    return Response(text, content_type="text/plain; charset=utf-8")


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


def udp_cure(dropped: dict[str, float], granted_bytes: dict[str, int]) -> str:
    """What helps against datagrams that the kernel dropped, in a sentence; empty, if none were.

    granted_bytes: the buffers that the kernel gave, by listener.
    """
    given = [granted_bytes[name] for name, count in dropped.items() if count and name in granted_bytes]
    if given and min(given) < UDP_BUFFER_BYTES_WANTED:
        return (
            f"They came while the socket's buffer was full; {size(min(given))} is all that the kernel allows. "
            f"Allow more with sysctl -w net.core.rmem_max={UDP_BUFFER_BYTES_WANTED}, then henge reload."
        )
    if any(dropped.values()):
        return "They came faster than they could be read; let senders put several metrics into a packet, or use TCP."
    return ""


def _head_meter(found: dict[str, Any]) -> Markup | None:
    if not found["store"]:
        return None
    return meter(found["store"]["head_bytes"], services().config.store.head_bytes_max, label="memory for new samples")


def _budget_meter(found: dict[str, Any]) -> Markup | None:
    if not found["store"]:
        return None
    return meter(found["store"]["disk_bytes"], found["store"]["disk_bytes_max"], label="disk budget used")


def _forecast(store: dict[str, Any]) -> str:
    """What becomes of the budget, in a sentence."""
    if not store["disk_bytes_per_day"]:
        return "nothing is in blocks yet to judge by"
    grows = f"{size(store['disk_bytes_per_day'])} a day"
    if store["disk_days_until_full"] is None:
        return f"{grows}; enough: samples leave by age before it is full"
    if store["disk_days_until_full"] > FOREVER_DAYS:
        return f"{grows}; lasts for more than {FOREVER_DAYS // 365} years"
    full = f"full in {_days(store['disk_days_until_full'])}" if store["disk_days_until_full"] else "full"
    return f"{grows}; {full}, raw samples then reach back {_days(store['disk_raw_days'])}"


def _days(days: float) -> str:
    hours = round(days * 24)
    if hours < 48:
        return f"{hours} h"
    return f"{days:,.0f} days" if days < 730 else f"{days / 365:,.0f} years"


def _counted(store: dict[str, Any] | None, words: dict[str, str]) -> list[str]:
    return [text.format(number(store[key])) for key, text in words.items() if store and store.get(key)]
