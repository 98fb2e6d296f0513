"""`henge rules check` and `test`: rule files of Prometheus, without an appliance. checks/rules_cli.py groups them."""

from __future__ import annotations

import glob
from functools import partial
from pathlib import Path

import click

from appliance.errors import CannotStart
from tsdb.query.rules.document import BadDocument
from tsdb.query.rules.file import read_groups
from tsdb.query.rules.model import RecordingRule, Rule, RuleGroup
from tsdb.query.rules.unit import run_unit_file


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_context
def check(context: click.Context, files: tuple[Path, ...]) -> None:
    """Read rule FILES and say what is wrong, each fault with its line.

    Exit status 1 when there is any."""
    bad = False
    for path in files:
        click.echo(f"Checking {path}")
        try:
            groups = read_groups(_text(path))
        except BadDocument as error:
            bad = True
            click.echo("  FAILED:", err=True)
            for fault in error.faults:
                click.echo(f"  {path}:{fault}", err=True)
            continue
        count = sum(len(group.rules) for group in groups)
        click.echo(f"  SUCCESS: {count} rule{'' if count == 1 else 's'} found")
        for name in _given_twice(groups):
            click.echo(f"  {name}: more than one rule of this name has these labels; their series may collide")
    context.exit(int(bad))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_context
def test(context: click.Context, files: tuple[Path, ...]) -> None:
    """Run unit-test FILES as `promtool test rules` reads them; their rule_files are taken from beside them.

    Exit status 1 when something is not as expected."""
    bad = False
    for path in files:
        click.echo(f"Unit Testing:  {path}")
        try:
            faults = run_unit_file(_text(path), partial(_beside, path))
        except BadDocument as error:
            faults = error.faults
        if not faults:
            click.echo("  SUCCESS")
            continue
        bad = True
        click.echo("  FAILED:", err=True)
        for fault in faults:
            click.echo(f"  {path}:{fault}", err=True)
    context.exit(int(bad))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"{path} cannot be read: {error}") from error


def _beside(path: Path, pattern: str) -> list[tuple[str, str]]:
    """The files that a pattern names, from the folder of the test file on."""
    found = sorted(glob.glob(pattern, root_dir=path.parent))  # noqa: PTH207 - Patterns may be absolute.
    if not found:
        raise CannotStart(f"{path}: no file matches {pattern!r} of rule_files, from {path.parent} on")
    return [(name, _text(path.parent / name)) for name in found]


def _given_twice(groups: list[RuleGroup]) -> list[str]:
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    twice: list[str] = []
    for group in groups:
        for rule in group.rules:
            key = (_kind(rule) + rule.name, tuple(sorted({**group.labels, **rule.labels}.items())))
            if key in seen and rule.name not in twice:
                twice.append(rule.name)
            seen.add(key)
    return twice


def _kind(rule: Rule) -> str:
    return "record " if isinstance(rule, RecordingRule) else "alert "
