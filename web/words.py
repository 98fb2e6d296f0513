"""Numbers and times as a person reads them; the filters of the templates."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000


def duration(ms: float) -> str:
    """Two units at most: `45 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`."""
    seconds = int(abs(ms)) // 1_000
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours and days < 14 else f"{days} d"


def ago(at_ms: int | None, now_ms: int) -> str:
    if at_ms is None:
        return "never"
    past_ms = now_ms - at_ms
    if abs(past_ms) < 2 * SECOND_MS:
        return "now"
    return f"{duration(past_ms)} ago" if past_ms > 0 else f"in {duration(past_ms)}"


def stamp(at_ms: int | None) -> str:
    """Date and time, UTC, to the second."""
    if at_ms is None:
        return "–"
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(at_ms: int | None, now_ms: int) -> Markup:
    """A time element: how long ago, with the exact time under the pointer; a script keeps it fresh."""
    if at_ms is None:
        return Markup('<span class="muted">never</span>')
    return Markup('<time datetime="{}" title="{} UTC" data-ago>{}</time>').format(
        _iso(at_ms), stamp(at_ms), ago(at_ms, now_ms)
    )


def lasting(at_ms: int | None, now_ms: int) -> Markup:
    """A time element: how long it has been so, kept fresh by a script."""
    if at_ms is None:
        return Markup("–")
    return Markup('<time datetime="{}" title="since {} UTC" data-lasting>{}</time>').format(
        _iso(at_ms), stamp(at_ms), duration(max(0, now_ms - at_ms))
    )


def clock(at_ms: int | None) -> Markup:
    """A time element with the exact time; a script writes it in the reader's time zone."""
    if at_ms is None:
        return Markup("–")
    return Markup('<time datetime="{}" data-local>{} UTC</time>').format(_iso(at_ms), stamp(at_ms))


def latency(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 0.0095:
        return f"{seconds * 1_000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def measured(value: float | None, unit: str) -> str:
    """A number with its unit: seconds and bytes in the size that suits, others as they are."""
    if value is None:
        return "–"
    if unit == "s" and abs(value) < 600:
        return latency(value)
    if unit == "B":
        return size(value)
    return f"{number(value)} {unit}".rstrip()


def size(count_bytes: float | None) -> str:
    if count_bytes is None:
        return "–"
    value = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1_024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 100 else f"{value:.1f} {unit}"
        value /= 1_024
    raise AssertionError(value)


def number(value: float | None) -> str:
    """Thousands separated; four significant digits for fractions."""
    if value is None:
        return "–"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 check`, `2 checks`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def series_name(labels: dict[str, str]) -> str:
    """A series as PromQL writes it."""
    name = labels.get("__name__", "")
    pairs = ", ".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels.items()) if key != "__name__")
    return name + (f"{{{pairs}}}" if pairs else "") or "{}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def door(protocol: str) -> str:
    """The name of a way in for samples, as intake counts it."""
    return {"rows": "Checks", "json": "JSON"}.get(protocol, protocol.replace("_", "-").capitalize())


FILTERS: dict[str, Callable[..., Any]] = {
    "ago": ago,
    "clock": clock,
    "door": door,
    "duration": duration,
    "lasting": lasting,
    "latency": latency,
    "measured": measured,
    "moment": moment,
    "number": number,
    "plural": plural,
    "series_name": series_name,
    "size": size,
    "stamp": stamp,
}
