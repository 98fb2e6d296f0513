"""A message as words for people: a subject for the lock screen, and a text that answers what one asks at 3 a.m."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

LATE_AFTER_S = 60.0


def subject(body: Mapping[str, Any]) -> str:
    """One line: how bad, what, why."""
    incident = body["incident"]
    title = str(incident["title"])
    if body["event"] == "resolved":
        what = title.partition(": ")[2].partition(" — ")[0] or title
        return f"RESOLVED: {what} — was {str(incident.get('worst') or 'a problem').upper()} for {_lasted(incident)}"
    return title


def text(body: Mapping[str, Any], *, now_ms: int) -> str:
    """The whole story: since when, the last OK, what was found, where to look, and when this was sent if late."""
    return "\n".join(_lines(body, now_ms))


def _lines(body: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    incident, check = body["incident"], body["check"]
    if body["event"] == "test":
        yield str(body["output"])
        return
    late_s = (now_ms - body["at_ms"]) / 1000
    if late_s > LATE_AFTER_S:
        yield f"This message is late: it is about {moment(body['at_ms'])}, {duration(late_s)} ago."
    output = str(body["output"]).strip()
    if output:
        yield output
    yield ""
    yield f"Check: {check['name']} ({check['kind']}), team {check['labels'].get('team', 'default')}"
    if incident.get("instance"):
        yield "Instance: " + ", ".join(f"{name}={value}" for name, value in sorted(incident["instance"].items()))
    yield f"Since: {moment(incident['started_at_ms'])}"
    if incident["resolved_at_ms"] is not None:
        yield f"Until: {moment(incident['resolved_at_ms'])}, after {_lasted(incident)}"
    if incident.get("last_ok_ms") is not None and incident["resolved_at_ms"] is None:
        yield f"Last OK: {moment(incident['last_ok_ms'])}"
    yield f"Page: {body['link']}"


def _lasted(incident: Mapping[str, Any]) -> str:
    end_ms = incident["resolved_at_ms"]
    return duration(((end_ms if end_ms is not None else incident["started_at_ms"]) - incident["started_at_ms"]) / 1000)


def moment(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """Two units at most: "14 s", "3 min 20 s", "2 h 5 min", "4 d 1 h"."""
    left_s = max(0, round(seconds))
    parts: list[tuple[int, str]] = []
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left_s = divmod(left_s, size_s)
        if count or parts or unit == "s":
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count or len(parts) == 1)
