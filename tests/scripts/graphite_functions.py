"""functions.json: the functions of graphite-web with groups and parameters, against our table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.scripts.report import Report
from tsdb.query.graphite import evaluate as _  # noqa: F401  # Enters the families into the table.
from tsdb.query.graphite.registry import FUNCTIONS, NO_DEFAULT, Function

Content = Mapping[str, Any]


def is_mine(content: Content) -> bool:
    return "sumSeries" in content


def run(content: Content, path: Path) -> Report:
    report = Report(path.name)
    for name, wanted in content.items():
        found = FUNCTIONS.get(name)
        if found is None:
            report.skipped[f"function {name}"] += 1
            continue
        got = described(found)
        report.note(f"{path.name}:{name}", None if got == wanted else json.dumps(wanted), json.dumps(got))
    return report


def described(found: Function) -> dict[str, Any]:
    return {
        "name": found.name,
        "group": found.group,
        "params": [
            {
                "name": one.name,
                "type": one.kind.value,
                **({"required": True} if one.required else {}),
                **({"multiple": True} if one.multiple else {}),
                **({} if one.default is NO_DEFAULT else {"default": one.default}),
                **({"options": list(one.options)} if one.options else {}),
                **({"suggestions": list(one.suggestions)} if one.suggestions else {}),
            }
            for one in found.parameters
        ],
    }
