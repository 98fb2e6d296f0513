"""Random secrets, and the form in which they are stored: only ever their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import secrets

TOKEN_PREFIX = "henge_"  # noqa: S105 - a fixed beginning by which scanners for leaked secrets know ours.


def new_secret() -> str:
    """256 random bits, safe in a URL, a header and a cookie."""
    return secrets.token_urlsafe(32)


def new_id() -> str:
    return secrets.token_hex(8)


def digest(secret: str) -> str:
    """What is stored of a secret. A plain hash is enough: 256 random bits cannot be guessed, unlike a password."""
    return hashlib.sha256(secret.encode()).hexdigest()


def derived(secret: str, purpose: str) -> str:
    """A second secret that follows from the first and does not reveal it."""
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()
