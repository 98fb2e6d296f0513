"""The time ranges that pages offer."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import request

RANGES_MS = {
    "1h": 3_600_000,
    "6h": 6 * 3_600_000,
    "24h": 24 * 3_600_000,
    "7d": 7 * 86_400_000,
    "30d": 30 * 86_400_000,
}


def asked_range(default: str = "6h") -> str:
    name = request.args.get("range", default)
    return name if name in RANGES_MS else default


def url_for_range(name: str) -> str:
    """This page with another range; a fixed from and until give way to it."""
    kept = [(key, value) for key, value in request.args.items(multi=True) if key not in ("range", "from", "until")]
    return f"{request.path}?{urlencode([*kept, ('range', name)])}"
