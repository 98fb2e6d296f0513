"""Codes that follow from a secret and the time. Source: RFC 6238 with SHA-1, 30 s and 6 digits, as every app does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from urllib.parse import quote, urlencode

STEP_MS = 30_000
DIGITS = 6
SECRET_BYTES = 20  # RFC 4226, section 4, R6: 160 bits are recommended.
STEPS_BESIDE = 1  # A phone's clock may be half a minute off, or the code typed slowly (RFC 6238, section 5.2).


def new_secret() -> str:
    """160 random bits in base32, as apps take them."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def code_at(secret: str, step: int) -> str:
    """The code of a step of 30 s since the epoch (RFC 4226, section 5.3)."""
    digest = hmac.new(base64.b32decode(secret), step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def matching_step(secret: str, code: str, now_ms: int, last_step: int = -1) -> int | None:
    """The step whose code this is, of the present one and those beside it; None for a wrong code.

    last_step: the step of the last code that was taken; its code and older ones are not taken again.
    """
    digits = re.sub(r"[\s-]", "", code[:40])
    present, found = now_ms // STEP_MS, None
    for step in range(present - STEPS_BESIDE, present + STEPS_BESIDE + 1):
        # All are compared, so that the time taken does not tell which one was near.
        is_it = hmac.compare_digest(code_at(secret, max(step, 0)).encode(), digits.encode())
        if is_it and step > last_step:
            found = step
    return found


def otpauth_url(secret: str, name: str, issuer: str) -> str:
    """What an app reads; the key-URI format of Google Authenticator."""
    label = quote(f"{issuer}:{name}", safe="")
    asked = urlencode(
        {"secret": secret, "issuer": issuer, "digits": DIGITS, "period": STEP_MS // 1000}, quote_via=quote
    )
    return f"otpauth://totp/{label}?{asked}"
