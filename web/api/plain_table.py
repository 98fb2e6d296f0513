"""Tables of an answer as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_CELL_CHARS_MAX = 80
_TABLES = {
    "metrics": "Metrics by series",
    "metrics_by_new": "Metrics by new series",
    "label_names": "Labels by series",
    "label_names_by_new": "Labels by new series",
    "label_values": "Values of labels by series",
    "label_values_by_new": "Values of labels by new series",
    "teams": "Teams by series",
}


def cardinality_text(found: Mapping[str, Any]) -> str:
    """The answer of /api/v1/system/cardinality as tables, one below the other."""
    counts = f"{found['series_count']:,} series, {found['active_series_count']:,} of them active"
    lines = [f"{counts}, {found['new_count']:,} new within {found['new_within_s']:,} s"]
    for key, title in _TABLES.items():
        if found[key]:
            lines += ["", title, *table(found[key])]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows with the same keys as lines; numbers stand to the right, and control characters cannot play tricks."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    is_number = [isinstance(rows[0][column], int) for column in columns]
    return [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in cells
    ]


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(value))
    return shown if len(shown) <= _CELL_CHARS_MAX else shown[: _CELL_CHARS_MAX - 1] + "…"
