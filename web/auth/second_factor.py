"""The second factor of an account: a code of an app, or once each a recovery code. One document for each user.

The document (kind `second_factor`, id of the user) has the sealed secret, the step of the last code that was taken, and
the hashes of the recovery codes that are left.
"""

from __future__ import annotations

import base64
import secrets
from typing import Any

import msgspec

from appliance.bus import BusRefused
from appliance.secrets import SecretBox, SecretError
from appliance.state import DeleteDocument, Document, Mutation, PutDocument, StateClient
from web.auth import keys, totp

KIND = "second_factor"
SEALED = "sealed:"  # The audit hides what begins so.
RECOVERY_COUNT = 10
RECOVERY_BYTES = 10  # 80 bits: a plain hash of them cannot be searched through.
HALF_LIFETIME_MS = 5 * 60_000  # Between the password and the code.


class Half(msgspec.Struct, frozen=True):
    """A log-in whose password was right. user_version: another password meanwhile ends it."""

    user_id: str
    user_version: int
    at_ms: int


class SecondFactor:
    def __init__(self, state: StateClient, box: SecretBox) -> None:
        self._state, self._box = state, box

    def of(self, user_id: str) -> Document | None:
        return self._state.read.get(KIND, user_id)

    def pending(self, secret: str) -> str:
        """A secret that is not stored yet, for the form that confirms it."""
        return self._box.seal(f"pending:{secret}")

    def secret_of(self, pending: str) -> str | None:
        """The secret of such a form; None, if it is not one of ours."""
        try:
            text = self._box.open(pending)
        except SecretError:
            return None
        return text.removeprefix("pending:") if text.startswith("pending:") else None

    def enrol(self, user_id: str, secret: str, code: str, *, now_ms: int, actor: str) -> list[str] | None:
        """Turn it on → the recovery codes, told this once; None, if the code is not of the secret."""
        step = totp.matching_step(secret, code, now_ms)
        if step is None:
            return None
        codes = [_recovery_code() for _ in range(RECOVERY_COUNT)]
        body = {
            "secret": SEALED + self._box.seal(secret),
            "last_step": step,
            "recovery": [_digest(user_id, recovery) for recovery in codes],
        }
        self._state.apply([PutDocument(kind=KIND, id=user_id, body=body, expected_version=0)], actor=actor)
        return codes

    def take(self, user_id: str, code: str, *, now_ms: int, actor: str) -> bool:
        """Whether the code is right; it is used up by this, and of two who send it at once one succeeds.

        Raises: SecretError, when the key file is another one than the secret was sealed with.
        """
        found = self.of(user_id)
        if found is None:
            return False
        body = dict(found.body)
        recovery = _digest(user_id, code)
        is_recovery = recovery in body["recovery"]
        if is_recovery:
            body["recovery"] = [one for one in body["recovery"] if one != recovery]
        else:
            secret = self._box.open(str(body["secret"]).removeprefix(SEALED))
            step = totp.matching_step(secret, code, now_ms, int(body["last_step"]))
            if step is None:
                return False
            body["last_step"] = step
        put = PutDocument(kind=KIND, id=user_id, body=body, expected_version=found.version, audited=is_recovery)
        try:
            self._state.apply([put], actor=actor)
        except BusRefused as refusal:
            if refusal.code == "conflict":
                return False
            raise
        return True

    def removal(self, user_id: str) -> list[Mutation]:
        """What takes it away, if there is one."""
        found = self.of(user_id)
        return [] if found is None else [DeleteDocument(kind=KIND, id=user_id)]

    def half(self, user: Document, *, now_ms: int) -> str:
        """For the form that asks for the code: who has said the password, sealed."""
        return self._box.seal("half:" + msgspec.json.encode(Half(user.id, user.version, now_ms)).decode())

    def user_id_of(self, half: str, *, now_ms: int) -> str | None:
        """The user of such a form; None when it is not ours, too old, or the account has changed since."""
        try:
            text = self._box.open(half)
            found = msgspec.json.decode(text.removeprefix("half:"), type=Half) if text.startswith("half:") else None
        except (SecretError, msgspec.DecodeError):
            return None
        if found is None or not 0 <= now_ms - found.at_ms <= HALF_LIFETIME_MS:
            return None
        user = self._state.read.get("user", found.user_id)
        return found.user_id if user is not None and user.version == found.user_version else None


def shown(document: Document | None) -> dict[str, Any] | None:
    """What a page tells of it."""
    if document is None:
        return None
    return {"since_ms": document.created_ms, "recovery_count": len(document.body["recovery"])}


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _digest(user_id: str, code: str) -> str:
    plain = "".join(code[:80].lower().split()).replace("-", "")
    return keys.digest(f"{user_id}:{plain}")
