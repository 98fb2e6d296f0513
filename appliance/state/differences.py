"""What an entry of the audit changed, field by field."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from appliance.state.model import AuditEntry

TEXT_CHARACTERS_MAX = 200  # Of a value as it is shown; the entry itself has all of it.
ABSENT = "–"


class Difference(NamedTuple):
    """path: such as options.url. before, after: as people read them; ABSENT where there is none."""

    path: str
    before: str
    after: str


def differences(entry: AuditEntry) -> list[Difference]:
    """The fields that differ, by path."""
    before, after = _leaves(entry.before or {}), _leaves(entry.after or {})
    return [
        Difference(path, _text(before, path), _text(after, path))
        for path in sorted(before.keys() | after.keys())
        if path not in before or path not in after or before[path] != after[path]
    ]


def _leaves(body: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by path; a list is one value."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if isinstance(value, dict) and value:
            found |= _leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _text(leaves: dict[str, Any], path: str) -> str:
    if path not in leaves:
        return ABSENT
    value = leaves[path]
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:TEXT_CHARACTERS_MAX]}…"
