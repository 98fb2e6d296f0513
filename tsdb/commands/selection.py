"""--match, --from and --to: which samples a command means."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import click

from appliance.units import duration_ms

F = TypeVar("F", bound=Callable[..., object])

TIME_MS_MIN, TIME_MS_MAX = 0, 2**53  # Before 1970 there are no samples, and past 2^53 ms no other program counts.


def selection_options(command: F) -> F:
    """match (texts of selectors), from_text, to_text."""
    command = click.option(
        "--to", "to_text", metavar="TIME", help="The last moment, included. As --from; default: to the end."
    )(command)
    command = click.option(
        "--from",
        "from_text",
        metavar="TIME",
        help="The first moment: 2026-01-31T12:00:00Z, epoch seconds, or a time ago such as 6h. Default: all there is.",
    )(command)
    return click.option(
        "--match",
        "match",
        multiple=True,
        required=True,
        metavar="SELECTOR",
        help="""Which series, such as 'up{job="web"}'. May be repeated.""",
    )(command)


def time_range(from_text: str | None, to_text: str | None) -> tuple[int, int]:
    """Both ends included, epoch ms. Raises: BadParameter."""
    now_ms = time.time_ns() // 1_000_000
    start_ms = TIME_MS_MIN if from_text is None else time_ms("--from", from_text, now_ms)
    end_ms = TIME_MS_MAX if to_text is None else time_ms("--to", to_text, now_ms)
    if end_ms < start_ms:
        raise click.BadParameter(f"{to_text!r} is before --from {from_text!r}", param_hint="--to")
    return start_ms, end_ms


def time_ms(option: str, text: str, now_ms: int) -> int:
    """Raises: BadParameter."""
    found_ms = _moment_ms(text, now_ms)
    if found_ms is None or not TIME_MS_MIN <= found_ms <= TIME_MS_MAX:
        raise click.BadParameter(
            f"{text[:60]!r} is no time; write 2026-01-31T12:00:00Z, epoch seconds, or a time ago such as 6h",
            param_hint=option,
        )
    return found_ms


def _moment_ms(text: str, now_ms: int) -> int | None:
    try:
        return round(float(text) * 1_000)
    except (ValueError, OverflowError):
        pass
    try:
        ago_ms = duration_ms(text)
    except ValueError:
        ago_ms = None
    if ago_ms is not None:
        return now_ms - ago_ms
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000)
