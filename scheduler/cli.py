"""`henge channel` and `henge downtime`: who is told, and when nobody is."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from appliance.commands.options import data_option
from appliance.state.mutations import DeleteDocument, PutDocument
from appliance.units import duration_ms
from checks import forms
from checks.catalogue import new_id
from checks.channel_catalogue import ChannelCatalogue, channel_view
from checks.channels import KINDS
from checks.connection import Connection, connected, find, pairs, team_of
from checks.downtimes import downtime_of
from checks.errors import CheckError
from scheduler.notify.through_apprise import WHOLE_TIMEOUT_S

STATUS_NOT_DELIVERED = 1


@click.group()
def channel() -> None:
    """Channels: the ways in which people are told."""


@channel.command(name="add")
@click.argument("kind", metavar="KIND")
@click.argument("name")
@click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the kind; repeat it."
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Such as team=shop.")
@data_option
def add_channel(kind: str, name: str, options: tuple[str, ...], labels: tuple[str, ...], data: Path | None) -> None:
    """Add a channel and print its id. Kinds: webhook, email, slack, teams, ntfy, apprise.

    Example: henge channel add webhook hook -o url=https://example.org/hook -o secret=geheim"""
    body = {
        "kind": kind,
        "name": name,
        "options": _typed_options(kind, pairs(options, option="--option")),
        "labels": pairs(labels, option="--label"),
    }
    with connected(data) as connection:
        draft = ChannelCatalogue(connection.state.read, connection.box).create(body)
        connection.state.apply(draft.mutations, actor=connection.actor)
    click.echo(draft.id)


def _typed_options(kind: str, texts: dict[str, str]) -> dict[str, Any]:
    if kind not in KINDS:
        raise CheckError("invalid", f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}", "kind")
    known = [field.name for field in forms.options_fields(KINDS[kind])]
    for name in texts:
        if name not in known:
            raise CheckError("invalid", f"{kind} has no option {name!r}; its options are {', '.join(known)}")
    typed, errors = forms.options_from_form(KINDS[kind], texts)
    if errors:
        name, message = next(iter(errors.items()))
        raise CheckError("invalid", f"option {name}: {message}", f"options.{name}")
    return {name: value for name, value in typed.items() if name in texts}


@channel.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As the API gives them.")
@data_option
def list_channels(as_json: bool, data: Path | None) -> None:
    """List the channels. Changes nothing."""
    with connected(data) as connection:
        views = [channel_view(document) for document in connection.state.read.list("channel")]
    views.sort(key=lambda view: str(view["name"]).casefold())
    if as_json:
        click.echo(json.dumps(views, indent=2))
        return
    for view in views:
        options = ", ".join(f"{name}={value}" for name, value in view["options"].items())
        paused = "  (paused)" if view["paused"] else ""
        click.echo(f"{view['id']}  {team_of(view):<10} {view['kind']:<8} {view['name']}  {options}{paused}")
    if not views:
        click.echo("there is no channel yet; add one with `henge channel add`")


@channel.command(name="test")
@click.argument("name_or_id")
@data_option
def send_test(name_or_id: str, data: Path | None) -> None:
    """Send a test message now and print what the receiver answered. Exit status 1 when it was not delivered."""
    with connected(data) as connection:
        channel_id = _channel_id(connection, name_or_id)
        answer = connection.scheduler.call(
            "test_channel", {"channel_id": channel_id}, timeout_s=WHOLE_TIMEOUT_S + 5
        ).body
    click.echo(f"{'delivered' if answer['delivered'] else 'NOT delivered'}: {answer['detail']}")
    raise SystemExit(0 if answer["delivered"] else STATUS_NOT_DELIVERED)


@channel.command(name="remove")
@click.argument("name_or_id")
@data_option
def remove_channel(name_or_id: str, data: Path | None) -> None:
    """Remove a channel that no check tells any more. What waits to be sent through it is given up."""
    with connected(data) as connection:
        catalogue = ChannelCatalogue(connection.state.read, connection.box)
        draft = catalogue.delete(_channel_id(connection, name_or_id))
        connection.state.apply(draft.mutations, actor=connection.actor)
    click.echo(f"removed {draft.channel.name} ({draft.id})")


def _channel_id(connection: Connection, name_or_id: str) -> str:
    documents = connection.state.read.list("channel")
    return find(documents, name_or_id, what="channel", name_of=lambda one: str(one.body.get("name"))).id


@click.group()
def downtime() -> None:
    """Downtimes: times in which nobody is told."""


@downtime.command(name="add")
@click.option("--check", "check_name", metavar="NAME_OR_ID", help="For one check.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="For all checks with this label; repeat it."
)
@click.option("--from", "start", metavar="TIME", help="Such as 2026-03-01T22:00:00+01:00. Default: now.")
@click.option("--until", "end", metavar="TIME", help="As --from.")
@click.option("--for", "lasting", metavar="DURATION", help="Instead of --until: such as 30m, 2h.")
@click.option("--comment", default="", help="Why.")
@data_option
def add_downtime(
    check_name: str | None,
    labels: tuple[str, ...],
    start: str | None,
    end: str | None,
    lasting: str | None,
    comment: str,
    data: Path | None,
) -> None:
    """Add a downtime and print its id. Checks go on running, and incidents are recorded, but nobody is told."""
    from_ms = _epoch_ms(start, "--from") if start else time.time_ns() // 1_000_000
    if (end is None) == (lasting is None):
        raise CheckError("invalid", "give either --until TIME or --for DURATION", "until_ms")
    until_ms = _epoch_ms(end, "--until") if end else from_ms + _lasting_ms(lasting or "")
    with connected(data) as connection:
        body = {
            "check_id": _check_id(connection, check_name) if check_name else None,
            "matchers": pairs(labels, option="--label"),
            "from_ms": from_ms,
            "until_ms": until_ms,
            "comment": comment,
            "author": connection.actor,
        }
        downtime_of(body)
        downtime_id = new_id()
        connection.state.apply(
            [PutDocument(kind="downtime", id=downtime_id, body=body, expected_version=0)], actor=connection.actor
        )
    click.echo(downtime_id)


def _epoch_ms(text: str, option: str) -> int:
    """Raises: CheckError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CheckError("invalid", f"{option} {text!r} is not a time such as 2026-03-01T22:00:00+01:00") from error
    return round((moment if moment.tzinfo else moment.astimezone()).timestamp() * 1000)


def _lasting_ms(text: str) -> int:
    """Raises: CheckError."""
    try:
        found = duration_ms(text)
    except ValueError as error:
        raise CheckError("invalid", f"--for: {error}") from error
    if found is None:
        raise CheckError("invalid", "--for: a downtime has an end; pause the check instead")
    return found


def _check_id(connection: Connection, name_or_id: str) -> str:
    documents = connection.state.read.list("check")
    return find(documents, name_or_id, what="check", name_of=lambda one: str(one.body.get("name"))).id


@downtime.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As the API gives them.")
@data_option
def list_downtimes(as_json: bool, data: Path | None) -> None:
    """List the downtimes, the next to end first. Changes nothing."""
    with connected(data) as connection:
        reader = connection.state.read
        names = {document.id: str(document.body.get("name")) for document in reader.list("check")}
        bodies = [{"id": document.id, **document.body} for document in reader.list("downtime")]
    bodies.sort(key=lambda body: int(body["until_ms"]))
    if as_json:
        click.echo(json.dumps(bodies, indent=2))
        return
    now_ms = time.time_ns() // 1_000_000
    for body in bodies:
        click.echo(_downtime_line(body, names, now_ms))
    if not bodies:
        click.echo("there is no downtime")


def _downtime_line(body: dict[str, Any], names: dict[str, str], now_ms: int) -> str:
    whom = [f"check {names.get(body['check_id'], body['check_id'])}"] if body.get("check_id") else []
    whom += [f"{name}={value}" for name, value in (body.get("matchers") or {}).items()]
    when = "planned" if now_ms < body["from_ms"] else "now"
    if now_ms >= body["until_ms"]:
        when = "over"
    times = " – ".join(
        datetime.fromtimestamp(body[end] / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC") for end in ("from_ms", "until_ms")
    )
    return f"{body['id']}  {when:<8} {times}  {', '.join(whom)}  {body.get('comment', '')}".rstrip()


@downtime.command(name="remove")
@click.argument("downtime_id")
@data_option
def remove_downtime(downtime_id: str, data: Path | None) -> None:
    """Remove a downtime; if a problem stands, people are told at the next run."""
    with connected(data) as connection:
        if connection.state.read.get("downtime", downtime_id) is None:
            raise CheckError("not_found", f"there is no downtime {downtime_id!r}; `henge downtime list` shows them")
        connection.state.apply([DeleteDocument(kind="downtime", id=downtime_id)], actor=connection.actor)
    click.echo(f"removed {downtime_id}")
