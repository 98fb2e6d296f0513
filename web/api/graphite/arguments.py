"""The arguments of the render API: from the address, a form, or JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import request

from web.errors import Refusal
from web.services import services

TARGET_COUNT_MAX = 1_000
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
    format: str


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
    now_s = services().clock.now_ms() // 1_000
    now_text = text("now")
    return Asked(
        targets=targets,
        from_text=text("from") or "-1d",
        until_text=text("until") or "now",
        now_s=int(now_text) if now_text.isascii() and now_text.isdecimal() and len(now_text) < 12 else now_s,
        zone=zone_name(),
        x_files_factor=x_files_factor,
        points_max=whole_number("maxDataPoints"),
        template=_template(),
        leaves_nulls_out=is_true("noNullPoints"),
        format=text("format").lower(),
    )


def _template() -> dict[str, str]:
    found = {}
    for source in (request.args, request.form):
        for key, value in source.items():
            if (name := _TEMPLATE.fullmatch(key)) is not None:
                found[name[1]] = value
    return found
