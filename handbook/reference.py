"""The pages of the reference, made from the tables that the code itself works by: what is new there is new here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click

from appliance.cli import COMMANDS, henge
from appliance.settings import SETTINGS
from checks.channels import KINDS as CHANNELS
from checks.forms import Field, fields, options_fields
from checks.probes import KINDS as PROBES
from checks.probes import probe
from handbook.declared import errors, metrics
from handbook.interface import interface_page
from tsdb.query.graphite import functions as _families  # Importing it fills the registry.
from tsdb.query.graphite.registry import FUNCTIONS as GRAPHITE
from tsdb.query.graphite.registry import NO_DEFAULT, Parameter
from web.pages.explore.vocabulary import FAMILIES as PROMQL

assert _families is not None


def reference_pages() -> Mapping[str, str]:
    """file name: text, of every page of the reference."""
    return {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "api.md": interface_page(),
        "check-kinds.md": check_kinds_page(),
        "channel-kinds.md": channel_kinds_page(),
        "promql-functions.md": promql_page(),
        "graphite-functions.md": graphite_page(),
        "metrics.md": metrics_page(),
        "errors.md": errors_page(),
    }


def settings_page() -> str:
    parts = [
        "# All settings",
        (
            "The file is `henge.toml` in the data folder; the environment goes before the file, `--set` before both. "
            "What some of them mean at length: [settings](../settings.md)."
        ),
    ]
    for section in dict.fromkeys(setting.section for setting in SETTINGS):
        rows = [
            (f"`{one.key}`", f"`{one.environment_name}`", _code(one.default), one.kind, one.sentence)
            for one in SETTINGS
            if one.section == section
        ]
        parts += [f"## {section}", table(("setting", "environment", "default", "what to write", "what it does"), rows)]
    return page(parts)


def commands_page() -> str:
    parts = ["# All commands", "What each prints with `-h`."]
    context = click.Context(henge, info_name="henge")
    for name in COMMANDS:
        command = henge.get_command(context, name)
        assert command is not None
        parts += list(_command(command, click.Context(command, info_name=name, parent=context), level=2))
    return page(parts)


def _command(command: click.Command, context: click.Context, *, level: int) -> Iterable[str]:
    yield f"{'#' * level} {context.command_path}"
    yield f"```text\n{command.get_help(context)}\n```"
    for name, sub in sorted(getattr(command, "commands", {}).items()):
        yield from _command(sub, click.Context(sub, info_name=name, parent=context), level=level + 1)


def check_kinds_page() -> str:
    parts = [
        "# Kinds of checks",
        "Their options, as `-o name=value` takes them. With examples: [checks](../checks.md).",
    ]
    for kind in PROBES:
        found = probe(kind)
        parts += [f"## {kind}", f"**{found.title}.** {found.summary}", options_table(fields(kind))]
    return page(parts)


def channel_kinds_page() -> str:
    parts = ["# Kinds of channels", "How [messages](../alerts.md) reach people, and the options of each way."]
    for kind, options_type in CHANNELS.items():
        parts += [f"## {kind}", options_table(options_fields(options_type))]
    return page(parts)


def options_table(found: Sequence[Field]) -> str:
    if not found:
        return "It has no options."
    rows = [
        (
            f"`{one.name}`",
            "must be given" if one.required else "made by Henge" if one.generated else _code(one.default),
            one.wanted,
            one.help,
        )
        for one in found
    ]
    return table(("option", "default", "what to write", "what it does"), rows)


def promql_page() -> str:
    parts = [
        "# PromQL functions",
        "v is a vector, m a range such as `requests_total[5m]`, s a number. Others are refused by name.",
    ]
    for family, rows in PROMQL.items():
        parts += [f"## {family}", table(("call", "what it gives"), [(f"`{call}`", gives) for call, gives in rows])]
    return page(parts)


def graphite_page() -> str:
    parts = ["# Graphite functions", "Of the render API; `/graphite/functions` says the same to programs."]
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name, one in sorted(GRAPHITE.items()):
        call = f"`{name}({', '.join(map(_parameter, one.parameters))})`"
        groups.setdefault(one.group, []).append((call, " ".join(one.description.split())))
    for group, rows in sorted(groups.items()):
        parts += [f"## {group}", table(("call", "what it gives"), rows)]
    return page(parts)


def _parameter(parameter: Parameter) -> str:
    shown = ("*" if parameter.multiple else "") + parameter.name
    if parameter.required:
        return shown
    return f"{shown}=…" if parameter.default in (NO_DEFAULT, None) else f"{shown}={parameter.default!r}"


def metrics_page() -> str:
    rows = [(f"`{one.name}`", one.kind, one.text) for one in metrics()]
    return page(
        [
            "# Metrics of Henge itself",
            "At `/metrics`, one for each process where it makes sense, and stored like any other series.",
            table(("metric", "kind", "what it counts"), rows),
        ]
    )


def errors_page() -> str:
    rows = [(f"`{code}`", ", ".join(map(str, statuses)) or "–", text) for code, statuses, text in errors()]
    return page(
        [
            "# Errors of the HTTP API",
            (
                'Every refusal is `{"error": {"code", "message", "field"?}}`. The message says what, which value, '
                "which limit and the way out; the code is for programs and does not change."
            ),
            table(("code", "status", "for example"), rows),
        ]
    )


def page(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; cells may hold anything but line feeds."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _code(value: object) -> str:
    return "" if value in ("", None, [], {}) else f"`{value}`"
