"""`henge trace`: what happens to one check or channel, live."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from appliance.commands.options import data_option
from appliance.errors import CannotStart
from appliance.tracing.tracer import FOR_S_MAX
from appliance.units import duration_ms

if TYPE_CHECKING:
    from appliance.tracing.service import Taken

SERVICE_BY_KIND = {"check": "scheduler", "channel": "scheduler"}
"""Which process sees the things of a kind."""


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            found_ms = duration_ms(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if found_ms is None or not 0 < found_ms <= FOR_S_MAX * 1000:
            self.fail(f"{value!r} is not more than 0s and at most {FOR_S_MAX / 60:g}m", param, ctx)
        return found_ms / 1000


@click.command()
@click.argument("kind", type=click.Choice(sorted(SERVICE_BY_KIND)))
@click.argument("subject")
@click.option(
    "--for", "for_s", type=_Duration(), default="1m", metavar="DURATION", help="How long; 1m by default, at most 10m."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@data_option
def trace(kind: str, subject: str, for_s: float, as_json: bool, data: Path | None) -> None:
    """Show live what happens to one thing, and end by itself. Changes nothing.

    \b
    check NAME|ID            planned, started, found, state, incident, messages
    channel NAME|ID          each attempt, what the receiver answered, the next one

    Ctrl-C ends it. What would be more than 200 events in a second is counted, not shown.
    Exit status 1 when there is no such thing, no appliance runs on the folder, or the process ends meanwhile."""
    from appliance.bus import BusError, BusRefused
    from appliance.commands.running_appliance import Supervisor
    from appliance.tracing.following import Following

    service = SERVICE_BY_KIND[kind]
    run_dir = Supervisor(data).data_dir / "run"
    following = Following(run_dir, service, kind, subject, for_s)
    former = signal.signal(signal.SIGTERM, _end)
    try:
        if not as_json:
            click.echo(f"tracing {kind} {subject or '(all)'} for {for_s:g} s; Ctrl-C ends", err=True)
        for taken in following:
            _show(taken, as_json)
        if not as_json:
            click.echo("the time is over", err=True)
    except KeyboardInterrupt:
        pass
    except (BusRefused, BusError) as error:
        raise CannotStart(f"{service} ended, and the trace with it ({error}); begin it again") from error
    finally:
        signal.signal(signal.SIGTERM, former)
        with contextlib.suppress(KeyboardInterrupt):
            following.close()


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _show(taken: Taken, as_json: bool) -> None:
    for event in taken.events:
        click.echo(_json(event) if as_json else line_of(event))
    if taken.not_shown_count:
        not_shown = {"what": "not_shown", "count": taken.not_shown_count}
        click.echo(_json(not_shown) if as_json else f"… {taken.not_shown_count:,} more not shown")


def _json(event: dict[str, Any]) -> str:
    import msgspec

    return msgspec.json.encode(event).decode()


def line_of(event: dict[str, Any]) -> str:
    """An event for the eyes: local time with milliseconds, what happened, and its fields."""
    seconds, ms = divmod(event["at_ms"], 1000)
    at = time.strftime("%H:%M:%S", time.localtime(seconds))
    fields = "  ".join(
        f"{name}={_word(value)}" for name, value in event.items() if name not in ("at_ms", "what") and value is not None
    )
    return f"{at}.{ms:03d}  {event['what'].replace('_', ' '):<12} {fields}".rstrip()


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return " ".join(f"{name}:{_word(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_word(inner) for inner in value)
    text = str(value).replace("\n", "⏎")
    return f"{text!r}" if " " in text else text
