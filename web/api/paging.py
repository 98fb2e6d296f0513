"""Lists in pieces: `?limit=` and `?offset=`, and in the answer where the next piece is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from web.errors import invalid, json_response

LIMIT = 100
LIMIT_MAX = 1_000
OFFSET_MAX = 10**9


@dataclass(frozen=True, slots=True)
class Page:
    limit: int
    offset: int


def _whole(name: str, default: int, low: int, high: int) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 12 or not low <= int(text) <= high:
        raise invalid(f"{name} is {text[:40]!r}; it must be a whole number from {low} to {high:,}", field=name)
    return int(text)


def asked_page() -> Page:
    return Page(_whole("limit", LIMIT, 1, LIMIT_MAX), _whole("offset", 0, 0, OFFSET_MAX))


def list_response(items: Sequence[Any], page: Page, total_count: int) -> Response:
    """{"items", "total_count", "limit", "offset", "next": the address of the next piece or null}."""
    following = page.offset + page.limit
    arguments = [(name, value) for name, value in request.args.items(multi=True) if name not in ("limit", "offset")]
    query = urlencode([*arguments, ("limit", page.limit), ("offset", following)])
    body = {
        "items": list(items),
        "total_count": total_count,
        "limit": page.limit,
        "offset": page.offset,
        "next": f"{request.path}?{query}" if following < total_count else None,
    }
    return json_response(body)
