"""What an HTTP answer must be like: status codes, and a value at a JSON path. Pure."""

from __future__ import annotations

import re
from typing import Any

JsonPath = tuple[str | int, ...]


class StatusError(ValueError):
    """A list of status codes that cannot be read."""


class JsonPathError(ValueError):
    """A JSON path that cannot be read."""


def parse_statuses(text: str) -> tuple[tuple[int, int], ...]:
    """Read "200-299, 401" into inclusive ranges. Raises: StatusError, naming the part that is wrong."""
    ranges = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{3})(?:\s*-\s*(\d{3}))?\s*", part)
        if found is None:
            raise StatusError(f"{part.strip()!r} is not a status code or a range such as 200-299")
        low, high = int(found[1]), int(found[2] or found[1])
        if not 100 <= low <= high <= 599:
            raise StatusError(f"{part.strip()!r} is not within 100-599 in rising order")
        ranges.append((low, high))
    return tuple(ranges)


def parse_json_path(text: str) -> JsonPath:
    """Read a path such as `$.a.b[0]['odd key']` (the leading `$` may be left out) into its steps.

    Raises: JsonPathError, with the place. Wildcards, slices and filters are not part of it.
    """
    rest = text.removeprefix("$")
    if rest and rest[0] not in ".[":
        rest = "." + rest
    steps: list[str | int] = []
    position = len(text) - len(rest)
    while rest:
        found = re.match(r"""\.([^.\[\]'"*\s]+)|\[(-?\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""", rest)
        if found is None:
            raise JsonPathError(
                f"{text!r}: cannot read {rest[:20]!r} at {max(position, 0)}; steps are .name, [0] and ['name']"
            )
        steps.append(int(found[2]) if found[2] is not None else next(g for g in found.group(1, 3, 4) if g is not None))
        rest = rest[found.end() :]
        position += found.end()
    return tuple(steps)


def json_at(document: Any, path: JsonPath) -> Any:
    """The value at a path. Raises: KeyError, with the steps up to the one that is missing."""
    for depth, step in enumerate(path):
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            so_far = "$" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in path[: depth + 1])
            raise KeyError(so_far) from None
    return document


def json_holds(found: Any, operator: str, wanted: str) -> bool:
    """Compare a JSON value with a person's text, in which `true`, `null` and numbers mean what they mean in JSON."""
    if operator == "exists":
        return True
    if operator == "contains":
        return any(json_same(item, wanted) for item in found) if isinstance(found, list) else wanted in _text(found)
    if operator in ("==", "!="):
        return json_same(found, wanted) is (operator == "==")
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return False
    try:
        left, right = float(found), float(wanted)
    except ValueError:
        return False
    return {">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}[operator]


def json_same(found: Any, wanted: str) -> bool:
    if isinstance(found, int | float) and not isinstance(found, bool):
        try:
            return float(wanted) == found
        except ValueError:
            return False
    return _text(found) == wanted


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return (
        {True: "true", False: "false", None: "null"}[value]
        if value is None or value is True or value is False
        else str(value)
    )
