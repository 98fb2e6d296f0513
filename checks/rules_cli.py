"""`henge rules`: rule files of Prometheus, checked and tested without an appliance, loaded into one and taken out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from appliance.commands.options import data_option
from appliance.errors import CannotStart
from appliance.state.model import Document
from appliance.state.mutations import Mutation
from checks.connection import Connection, connected, find
from checks.errors import CheckError
from checks.latest import Latest
from checks.model import DEFAULT_TEAM
from checks.pending import PendingReader
from checks.rules import KIND, RefusedText, checked_groups, document_of, file_of, groups_of
from checks.rules_catalogue import RulesCatalogue
from checks.rules_view import rules_summary, rules_view
from checks.view import latest_from
from tsdb.commands.rules import check, test
from tsdb.rules import BadDocument, Fault, RuleGroup

SUFFIXES = (".yml", ".yaml")
STATE_UNKNOWN = "not evaluated yet"


@click.group()
def rules() -> None:
    """Rule files of Prometheus: check, test, load, list, show and remove them."""


rules.add_command(check)
rules.add_command(test)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one rule file."""

    word: str  # created, changed, unchanged or removed.
    name: str
    detail: str
    mutations: Sequence[Mutation]


@rules.command()
@click.argument("paths", metavar="FILE|DIR…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--team", default=DEFAULT_TEAM, show_default=True, help="Whose rules they are.")
@click.option("--channel", "channels", multiple=True, metavar="NAME", help="Who is told of their alerts; repeat it.")
@click.option("--prune", is_flag=True, help="Remove the team's rule files that are not among these.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@data_option
@click.pass_context
def load(
    context: click.Context,
    paths: tuple[Path, ...],
    team: str,
    channels: tuple[str, ...],
    prune: bool,
    dry_run: bool,
    data: Path | None,
) -> None:
    """Bring rule FILEs, or all *.yml and *.yaml in a DIR, into the appliance: all of them or, if one is bad, none.

    The name of a rule file is the file's without its suffix; one that is there already is replaced. Without --channel
    it keeps its channels. Exit status 1 when a file is bad."""
    texts = _texts(paths)
    if _say_faults(texts):
        context.exit(1)
    with connected(data) as connection:
        changes = list(_changes(connection, texts, team=team, channels=channels, prune=prune))
        mutations = [mutation for change in changes for mutation in change.mutations]
        if mutations and not dry_run:
            connection.state.apply(mutations, actor=connection.actor)
    would = "would be " if dry_run else ""
    for change in changes:
        word = change.word if change.word == "unchanged" else would + change.word
        click.echo(f"{word:<{9 + len(would)}}  {change.name}{change.detail}")


def _texts(paths: Sequence[Path]) -> dict[str, tuple[Path, str]]:
    """Name → path and text. Raises: CannotStart, for what cannot be read; CheckError, for a name that comes twice."""
    found: dict[str, tuple[Path, str]] = {}
    for path in (file for given in paths for file in _files(given)):
        name = path.stem
        if name in found:
            raise CheckError("invalid", f"{found[name][0]} and {path} would both be named {name!r}; rename one", "name")
        try:
            found[name] = (path, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise CannotStart(f"{path} cannot be read: {error}") from error
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not found:
        raise CannotStart(f"{path} holds no file that ends in {' or '.join(SUFFIXES)}")
    return found


def _say_faults(texts: dict[str, tuple[Path, str]]) -> bool:
    """Whether any of the texts is no rule file; each fault is told as `henge rules check` tells it."""
    bad = False
    for path, text in texts.values():
        try:
            checked_groups(text)
        except RefusedText as error:
            bad = True
            for fault in error.faults:
                click.echo(f"{path}:{fault}", err=True)
    if bad:
        click.echo("nothing was changed", err=True)
    return bad


def _changes(
    connection: Connection, texts: dict[str, tuple[Path, str]], *, team: str, channels: Sequence[str], prune: bool
) -> Iterator[Change]:
    """Removals first: they free names. Raises: CheckError."""
    reader = PendingReader(connection.state.read)
    catalogue = RulesCatalogue(reader)
    known = {str(one.body["name"]): one for one in connection.state.read.list(KIND) if file_of(one.body).team == team}
    for name in sorted(known.keys() - texts.keys()) if prune else ():
        removed = catalogue.delete(known[name].id)
        reader.take(removed.mutations)
        yield Change("removed", name, "", removed.mutations)
    for name, (_, text) in texts.items():
        before = known.get(name)
        body: dict[str, Any] = {"name": name, "team": team, "text": text}
        if channels or before is None:
            body["channels"] = list(channels)
        draft = catalogue.create(body) if before is None else catalogue.patch(before.id, body)
        groups = checked_groups(text)
        counted = f"  ({_counts(sum(len(group.rules) for group in groups), len(groups))})"
        if before is not None and len(draft.mutations) == 1 and msgspec.to_builtins(draft.file) == before.body:
            yield Change("unchanged", name, counted, ())
            continue
        reader.take(draft.mutations)
        yield Change("created" if before is None else "changed", name, counted, draft.mutations)


def _counts(rule_count: int, group_count: int) -> str:
    return f"{_number(rule_count, 'rule')} in {_number(group_count, 'group')}"


def _number(count: int, one: str) -> str:
    return f"{count} {one}{'' if count == 1 else 's'}"


@rules.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As the API gives them.")
@data_option
def list_rules(as_json: bool, data: Path | None) -> None:
    """List the rule files by team and name. Changes nothing."""
    with connected(data) as connection:
        found = sorted(connection.state.read.list(KIND), key=lambda one: (one.body["team"], one.body["name"]))
        views = [rules_summary(document, _groups(document)[0]) for document in found]
    if as_json:
        click.echo(json.dumps(views, indent=2))
        return
    for view in views:
        click.echo(_line(view))
    if not views:
        click.echo("there is no rule file yet; bring one with `henge rules load FILE`")


@rules.command()
@click.argument("name_or_id")
@click.option("--text", "as_text", is_flag=True, help="Its text alone, as it was loaded.")
@click.option("--json", "as_json", is_flag=True, help="As the API gives it.")
@data_option
def show(name_or_id: str, as_text: bool, as_json: bool, data: Path | None) -> None:
    """Show the rules of one rule file, and how its alerts stand. Changes nothing."""
    with connected(data) as connection:
        document = _find(connection, name_or_id)
        groups, faults = _groups(document)
        view = rules_view(document, groups)
        results = {one.id: latest_from(one) for one in connection.state.read.list("result")}
    if as_text:
        click.echo(view["text"], nl=not view["text"].endswith("\n"))
        return
    if as_json:
        click.echo(json.dumps(view, indent=2))
        return
    click.echo(_line(view))
    for fault in faults:
        click.echo(f"  cannot be read: {fault}", err=True)
    for group in view["groups"]:
        click.echo(f"  {group['name']}, every {group['interval_s']:g} s")
        for rule in group["rules"]:
            click.echo(f"    {_rule_line(rule, results)}")


def _rule_line(rule: dict[str, Any], results: dict[str, Latest | None]) -> str:
    if rule["type"] == "recording":
        return f"record  {rule['name']}"
    latest = results.get(rule["check_id"])
    stands = latest.state.upper() if latest else STATE_UNKNOWN
    return f"alert   {rule['name']}  check {rule['check_id']}: {stands}"


@rules.command()
@click.argument("name_or_id")
@data_option
def remove(name_or_id: str, data: Path | None) -> None:
    """Remove a rule file and the checks of its alerts. Their open incidents end; what was recorded stays."""
    with connected(data) as connection:
        document = _find(connection, name_or_id)
        draft = RulesCatalogue(connection.state.read).delete(document.id)
        connection.state.apply(draft.mutations, actor=connection.actor)
    click.echo(f"removed {draft.file.name} ({draft.id}) and {_number(len(draft.mutations) - 1, 'check')}")


def _find(connection: Connection, name_or_id: str) -> Document:
    documents = connection.state.read.list(KIND)
    return find(documents, name_or_id, what="rule file", name_of=lambda one: str(one.body.get("name")))


def _groups(document: Document) -> tuple[list[RuleGroup], list[Fault]]:
    """Also of a text that another version of Henge has saved and this one cannot read."""
    try:
        return groups_of(document_of(document)), []
    except BadDocument as error:
        return [], error.faults


def _line(view: dict[str, Any]) -> str:
    told = ", ".join(view["channels"]) or "nobody"
    paused = "  paused" if view["paused"] else ""
    return (
        f"{view['id']}  {view['team']:<10} {view['name']}  —  {_counts(view['rule_count'], view['group_count'])}, "
        f"{view['alert_count']} of them alerts; tells {told}{paused}"
    )
