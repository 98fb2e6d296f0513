"""The reference names everything that the code has: each list here is taken another way than the pages take it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

import click
import pytest

from appliance.cli import COMMANDS, henge
from appliance.config import SETTINGS
from checks.channels import KINDS as CHANNELS
from checks.forms import fields
from checks.probes import KINDS as PROBES
from handbook.reference import reference_pages
from tests.running import CHECKOUT
from tsdb.query.graphite.registry import FUNCTIONS as GRAPHITE
from tsdb.query.promql.functions import FUNCTIONS as PROMQL
from web.api.described import OPERATIONS
from web.errors import STATUS_BY_CODE


@pytest.fixture(scope="module")
def pages() -> Mapping[str, str]:
    return reference_pages()


def test_every_setting_is_there(pages: Mapping[str, str]) -> None:
    for setting in SETTINGS:
        assert f"| `{setting.key}` | `{setting.environment_name}` |" in pages["settings.md"]


def test_every_command_is_there_with_its_options(pages: Mapping[str, str]) -> None:
    context = click.Context(henge)
    for name in COMMANDS:
        command = henge.get_command(context, name)
        assert f"\n## henge {name}\n" in pages["commands.md"]
        for sub, found in getattr(command, "commands", {}).items():
            assert f"\n### henge {name} {sub}\n" in pages["commands.md"]
            for option in found.params:
                assert option.opts[0] in pages["commands.md"] or isinstance(option, click.Argument)


def test_every_kind_of_check_and_channel_is_there_with_its_options(pages: Mapping[str, str]) -> None:
    for kind in PROBES:
        part = pages["check-kinds.md"].partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
        assert part, kind
        for field in fields(kind):
            assert f"| `{field.name}` |" in part, (kind, field.name)
    for kind in CHANNELS:
        assert f"\n## {kind}\n" in pages["channel-kinds.md"]


def test_every_function_is_there(pages: Mapping[str, str]) -> None:
    for name in PROMQL:
        assert re.search(rf"\| `{name}\b", pages["promql-functions.md"]), name
    assert len(GRAPHITE) > 150
    for name in GRAPHITE:
        assert f"| `{name}(" in pages["graphite-functions.md"], name


def test_every_operation_of_the_interface_is_there(pages: Mapping[str, str]) -> None:
    source = "".join(path.read_text() for path in (CHECKOUT / "web" / "api").glob("*.py"))
    views = set(re.findall(r"@bp\.(?:get|post|put|patch|delete)\([^\n]*\)\n(?:@[^\n]*\n)*def (\w+)", source))
    assert {endpoint.partition(".")[2] for endpoint in OPERATIONS} <= views
    assert pages["api.md"].count("\n### `") >= len(OPERATIONS)


def test_every_metric_is_there(pages: Mapping[str, str]) -> None:
    """Every word of the source that looks like a metric, whoever counts it."""
    words = subprocess.run(
        [
            "git",
            "grep",
            "-hoE",
            r'(counter|gauge)\($|"henge_[a-z0-9_]+"',
            "--",
            *("appliance", "tsdb", "scheduler", "web"),
        ],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=True,
    ).stdout
    named = set(re.findall(r'"(henge_[a-z0-9_]+_(?:total|bytes|seconds|count|running|waiting|length))"', words))
    assert len(named) > 30
    for name in named:
        assert f"| `{name}` |" in pages["metrics.md"], name


def test_every_code_that_has_a_status_is_there(pages: Mapping[str, str]) -> None:
    for code in ("unauthorized", "forbidden", "csrf", "too_many_series", *STATUS_BY_CODE):
        assert f"| `{code}` |" in pages["errors.md"], code
