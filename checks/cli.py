"""`henge check`: what the pages of checks do, from a shell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from appliance.commands.options import data_option
from checks import forms
from checks.catalogue import Catalogue
from checks.connection import Connection, connected, find, pairs, team_of
from checks.errors import CheckError
from checks.model import State
from checks.probes import KINDS
from checks.view import check_view

RUN_MARGIN_S = 10.0
SIGNS = {"ok": "✔", "warning": "▲", "critical": "✖", "unknown": "?", "pending": "…", "paused": "‖"}


@click.group()
def check() -> None:
    """Checks: add, list, show, run and remove them."""


@check.command()
@click.argument("kind", metavar="KIND")
@click.argument("name")
@click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the kind; repeat it."
)
@click.option("--interval", "interval_s", type=float, metavar="SECONDS", help="From one run to the next. Default: 60.")
@click.option(
    "--timeout", "timeout_s", type=float, metavar="SECONDS", help="A run that takes longer failed. Default: 10."
)
@click.option(
    "--retry-interval", "retry_interval_s", type=float, metavar="SECONDS", help="While unconfirmed. Default: 10."
)
@click.option("--attempts", "max_check_attempts", type=int, help="Failures in a row that make it hard. Default: 3.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Such as team=shop; repeat it.")
@click.option("--channel", "channels", multiple=True, metavar="NAME", help="Who is told; repeat it.")
@click.option("--paused", is_flag=True, help="Do not run it yet.")
@data_option
def add(
    kind: str,
    name: str,
    options: tuple[str, ...],
    labels: tuple[str, ...],
    channels: tuple[str, ...],
    paused: bool,
    data: Path | None,
    **numbers: float | None,
) -> None:
    """Add a check and print its id. Kinds: http, tcp, ping, dns, tls, push, nagios, host, query.

    Example: henge check add http web -o url=https://example.org/ --interval 30 --channel hook"""
    body: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "options": typed_options(kind, pairs(options, option="--option")),
        "labels": pairs(labels, option="--label"),
        "channels": list(channels),
        "paused": paused,
        **{field: number for field, number in numbers.items() if number is not None},
    }
    with connected(data) as connection:
        draft = Catalogue(connection.state.read, connection.box).create(body)
        connection.state.apply(draft.mutations, actor=connection.actor)
    click.echo(draft.id)


def typed_options(kind: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Options written as text, typed as the kind wants them. Raises: CheckError, for the first that is wrong."""
    if kind not in KINDS:
        raise CheckError("invalid", f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}", "kind")
    known = {field.name: field for field in forms.fields(kind)}
    for name in texts:
        if name not in known:
            raise CheckError(
                "invalid", f"{kind} has no option {name!r}; its options are {', '.join(known)}", f"options.{name}"
            )
    typed, errors = forms.from_form(kind, texts)
    if errors:
        name, message = next(iter(errors.items()))
        raise CheckError("invalid", f"option {name}: {message}", f"options.{name}")
    return {name: value for name, value in typed.items() if name in texts}


@check.command(name="list")
@click.option("--state", type=click.Choice([state.word for state in State]), help="Only those in this state.")
@click.option("--json", "as_json", is_flag=True, help="As the API gives them.")
@data_option
def list_checks(state: str | None, as_json: bool, data: Path | None) -> None:
    """List the checks, the worst first. Changes nothing."""
    with connected(data) as connection:
        views = [view for view in _views(connection) if state is None or view["state"] == state]
    if as_json:
        click.echo(json.dumps(views, indent=2))
        return
    for view in views:
        click.echo(_line(view))
    if not views:
        click.echo("no check is so" if state else "there is no check yet; add one with `henge check add`")


@check.command()
@click.argument("name_or_id")
@click.option("--json", "as_json", is_flag=True, help="As the API gives it.")
@data_option
def show(name_or_id: str, as_json: bool, data: Path | None) -> None:
    """Show one check with its latest result. Changes nothing."""
    with connected(data) as connection:
        view = _view(connection, name_or_id)
    if as_json:
        click.echo(json.dumps(view, indent=2))
        return
    click.echo(_line(view))
    for line in _details(view):
        click.echo(f"  {line}")


@check.command()
@click.argument("name_or_id")
@data_option
def run(name_or_id: str, data: Path | None) -> None:
    """Run a check now and print what it finds; the result counts like any other.

    Exit status as of a plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
    with connected(data) as connection:
        view = _view(connection, name_or_id)
        timeout_s = view["timeout_s"] + RUN_MARGIN_S
        result = connection.scheduler.call("run", {"check_id": view["id"]}, timeout_s=timeout_s).body
    click.echo(f"{result['state'].upper()}: {result['output']}  ({result['duration_s']:.3f} s)")
    for line in result["transcript"]:
        click.echo(f"  {line}")
    raise SystemExit(int(State[result["state"].upper()]))


@check.command()
@click.argument("name_or_id")
@data_option
def remove(name_or_id: str, data: Path | None) -> None:
    """Remove a check. Its open incidents end; the series and events that it wrote stay."""
    with connected(data) as connection:
        view = _view(connection, name_or_id)
        draft = Catalogue(connection.state.read, connection.box).delete(view["id"])
        connection.state.apply(draft.mutations, actor=connection.actor)
    click.echo(f"removed {view['name']} ({view['id']})")


def _views(connection: Connection) -> list[dict[str, Any]]:
    results = {document.id: document for document in connection.state.read.list("result")}
    views = [check_view(document, results.get(document.id)) for document in connection.state.read.list("check")]
    order = {word: place for place, word in enumerate(("critical", "warning", "unknown", "pending", "ok"))}
    return sorted(views, key=lambda view: (view["paused"], order[view["state"]], view["name"].casefold()))


def _view(connection: Connection, name_or_id: str) -> dict[str, Any]:
    reader = connection.state.read
    document = find(reader.list("check"), name_or_id, what="check", name_of=lambda one: str(one.body.get("name")))
    return check_view(document, reader.get("result", document.id))


def _line(view: dict[str, Any]) -> str:
    word = "paused" if view["paused"] else view["state"]
    soft = " (soft)" if view["state_type"] == "soft" else ""
    result = view["last_result"]
    output = result["output"].partition("\n")[0][:100] if result else "not run yet"
    return (
        f"{SIGNS[word]} {word.upper() + soft:<15} {view['id']}  {team_of(view):<10} "
        f"{view['kind']:<7} {view['name']}  —  {output}"
    )


def _details(view: dict[str, Any]) -> list[str]:
    options = ", ".join(f"{name}={value}" for name, value in view["options"].items())
    lines = [
        f"options   {options or '–'}",
        (
            f"every     {view['interval_s']:g} s, time-out {view['timeout_s']:g} s, "
            f"{view['max_check_attempts']} attempts {view['retry_interval_s']:g} s apart"
        ),
        f"channels  {', '.join(view['channels']) or 'none: nobody is told'}",
    ]
    if view["rules"]:
        lines.append(f"rules     {view['rules']}: `henge rules show` shows the file, and it is changed there")
    if view["since_ms"]:
        lines.append(f"since     {_moment(view['since_ms'])}")
    if view["next_run_ms"]:
        lines.append(f"next run  {_moment(view['next_run_ms'])}{', runs late' if view['late'] else ''}")
    if view["last_result"]:
        lines += view["last_result"]["output"].splitlines()[1:]
        lines += view["last_result"]["transcript"]
    return lines


def _moment(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
