"""Every kind of check and every option of it stands in docs/checks.md, as the program has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.forms import fields
from checks.probes import KINDS, probe

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "checks.md").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_documented(kind: str) -> None:
    heading = f"## `{kind}`: {probe(kind).title}\n"
    assert heading in PAGE
    section = PAGE.split(heading)[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [field.name for field in fields(kind)]
    for row, field in zip(rows, fields(kind), strict=True):
        assert field.wanted in row, "the page says something else than the program"
        assert field.help in row
