"""Passwords by Argon2id, with the parameters of RFC 9106 for machines with little memory."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

PASSWORD_CHARS_MIN = 10
PASSWORD_CHARS_MAX = 1_000  # Argon2 reads them all; without a limit a long one is a cheap way to keep a core busy.

# One hash takes 64 MiB (RFC 9106, section 4, second recommendation); 2 at once bound that at 128 MiB, where 16
# request threads would take 1 GiB.
CONCURRENT_COUNT_MAX = 2


class Passwords:
    """Makes and checks hashes; a check costs the same whether the account exists or not."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._slots = threading.Semaphore(CONCURRENT_COUNT_MAX)
        self._nobody: str | None = None

    def hash(self, password: str) -> str:
        with self._slots:
            return self._hasher.hash(password)

    def verify(self, stored: str | None, password: str) -> bool:
        """stored None stands for an account that does not exist: the answer is False, after the same work."""
        with self._slots:
            if stored is None and self._nobody is None:
                self._nobody = self._hasher.hash("nobody has this password")
            try:
                matches = self._hasher.verify(stored or self._nobody or "", password[:PASSWORD_CHARS_MAX])
            except (Argon2Error, InvalidHashError):
                return False
        return matches and stored is not None


def complaint(password: str) -> str | None:
    """Why a password is refused, or None. Length alone counts, as NIST SP 800-63B (section 5.1.1) advises."""
    if len(password) < PASSWORD_CHARS_MIN:
        return f"The password has {len(password)} characters; it needs at least {PASSWORD_CHARS_MIN}."
    if len(password) > PASSWORD_CHARS_MAX:
        return f"The password has {len(password):,} characters; the limit is {PASSWORD_CHARS_MAX:,}."
    if len(set(password)) < 4:
        return "The password repeats too few characters; use at least 4 different ones."
    return None
