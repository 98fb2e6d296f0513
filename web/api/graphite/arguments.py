"""The arguments of the render API: from the address, a form, or JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import request

from web.errors import Refusal
from web.services import services

TARGET_COUNT_MAX = 1_000
KEPT_S_DEFAULT = 60  # As graphite-web has it.
GRAPH_TYPES = ("line", "pie")
EVER_MS = (0, 2**53)  # Both within what the store takes for a time.
_WHOLE = re.compile(r"-?[0-9]{1,9}")
_TEMPLATE = re.compile(r"template\[(.+)\]")
_TRUE = ("", "1", "true", "yes", "on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a render request asks for. points_max: None for all points."""

    targets: list[str]
    from_text: str
    until_text: str
    now_s: int
    zone: str
    x_files_factor: float
    points_max: int | None
    template: dict[str, str]
    leaves_nulls_out: bool
    format: str  # In small letters; empty where an image is meant.
    kept_s: int  # How long the answer may be kept by who asked.


def bad(message: str) -> Refusal:
    return Refusal(400, "bad_request", message)


def texts(name: str) -> list[str]:
    """All values of an argument, those of the address first; `name[]` is written for many, too."""
    return [
        text for source in (request.args, request.form) for key in (name, f"{name}[]") for text in source.getlist(key)
    ]


def text(name: str, default: str = "") -> str:
    """The last value of an argument: of a form before that of the address."""
    found = texts(name)
    return found[-1] if found else default


def is_true(name: str) -> bool:
    found = texts(name)
    return bool(found) and found[-1].lower() in _TRUE


def zone_name() -> str:
    """The zone that is asked for, UTC where there is none of that name."""
    name = text("tz")
    try:
        return ZoneInfo(name).key if name else "UTC"
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"


def whole_number(name: str) -> int | None:
    """A positive number; None for anything else, as graphite-web takes it."""
    found = text(name)
    return int(found) if found.isascii() and found.isdecimal() and int(found[:18]) > 0 else None


def needed(name: str) -> str:
    """Raises: Refusal, where there is nothing."""
    found = text(name)
    if not found:
        raise bad(f"{name} is missing; write {name}=…")
    return found


def number(name: str, default: int) -> int:
    """A whole number. Raises: Refusal."""
    found = text(name)
    if not found:
        return default
    if _WHOLE.fullmatch(found) is None:
        raise bad(f"{name}: {found[:40]!r} is no whole number")
    return int(found)


def now_s() -> int:
    """The time that `now` pretends it is, or that it is."""
    given = text("now")
    if given.isascii() and given.isdecimal() and len(given) < 12:
        return int(given)
    return services().clock.now_ms() // 1_000


def times_s(*names: str) -> list[int | None]:
    """Times as the render API writes them, in seconds; None for those that are not given, or are -1.

    Raises: RefusedQuery."""
    given = {name: found for name in names if (found := text(name)) not in ("", "-1")}
    epochs = services().tsdb.graphite_times(list(given.values()), now_s(), zone=zone_name()) if given else []
    at_s = dict(zip(given, epochs, strict=True))
    return [at_s.get(name) for name in names]


def range_ms() -> tuple[int, int]:
    """From and until, both included; all there is where they are not given."""
    from_s, until_s = times_s("from", "until")
    first_ms, last_ms = EVER_MS
    return (
        first_ms if from_s is None else from_s * 1_000,
        last_ms if until_s is None else until_s * 1_000 + 999,
    )


def asked() -> Asked:
    """Raises: Refusal."""
    targets = [target for target in texts("target") if target.strip()]
    if len(targets) > TARGET_COUNT_MAX:
        raise bad(f"{len(targets):,} targets are more than {TARGET_COUNT_MAX:,}")
    factor = text("xFilesFactor")
    try:
        x_files_factor = float(factor) if factor else 0.0
    except ValueError:
        raise bad(f"xFilesFactor: {factor[:40]!r} is no number") from None
    graph_type()
    return Asked(
        targets=targets,
        from_text=text("from") or "-1d",
        until_text=text("until") or "now",
        now_s=now_s(),
        zone=zone_name(),
        x_files_factor=x_files_factor,
        points_max=whole_number("maxDataPoints"),
        template=_template(),
        leaves_nulls_out=is_true("noNullPoints"),
        format=_format(),
        kept_s=_kept_s(),
    )


def _format() -> str:
    """What is asked for by name, or in one of the two old ways."""
    named = text("format").lower()
    if not named and is_true("rawData"):
        return "raw"
    return "pickle" if not named and is_true("pickle") else named


def _kept_s() -> int:
    if texts("noCache"):
        return 0
    seconds = text("cacheTimeout")
    return int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 9 else KEPT_S_DEFAULT


def graph_type() -> str:
    """Raises: Refusal."""
    found = text("graphType", "line")
    if found not in GRAPH_TYPES:
        raise bad(f"graphType: {found[:40]!r} is not known; there are {', '.join(GRAPH_TYPES)}")
    return found


def _template() -> dict[str, str]:
    found = {}
    for source in (request.args, request.form):
        for key, value in source.items():
            if (name := _TEMPLATE.fullmatch(key)) is not None:
                found[name[1]] = value
    return found
