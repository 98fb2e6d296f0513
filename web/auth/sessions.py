"""Sessions of the browser: a random cookie, of which only the hash is stored, as the id of a state document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.state import AppendEvent, DeleteDocument, Document, Mutation, PutDocument, StateClient
from web.auth import keys
from web.auth.identity import Identity, Kind
from web.auth.roles import Role
from web.errors import not_found

LIFETIME_MS = 30 * 86_400_000
IDLE_MS_MAX = 7 * 86_400_000
SEEN_EVERY_MS = 15 * 60_000  # One write per session and quarter of an hour, not one per request.
PER_USER_COUNT_MAX = 20  # The oldest is ended when one more begins.


def view(session: Document, asking: Identity) -> dict[str, Any]:
    """What a page and the API tell of a session; its id is a hash, from which the cookie does not follow."""
    body = session.body
    return {
        "id": session.id,
        "user_id": body["user_id"],
        "address": body["address"],
        "agent": body["agent"],
        "created_ms": body["created_ms"],
        "seen_ms": body["seen_ms"],
        "is_this": session.id == asking.session_id,
    }


class Sessions:
    def __init__(self, state: StateClient) -> None:
        self._state = state

    def beginning(self, user_id: str, *, address: str, agent: str, now_ms: int) -> tuple[str, list[Mutation]]:
        """The secret for the cookie, and what to apply so that it is valid. Ends what has expired or is too many."""
        secret = keys.new_secret()
        body = {
            "user_id": user_id,
            "created_ms": now_ms,
            "seen_ms": now_ms,
            "address": address[:64],
            "agent": agent[:200],
        }
        old = sorted(
            self._state.read.list("session", where={"$.user_id": user_id}, limit=1_000),
            key=lambda session: int(session.body["seen_ms"]),
        )
        ended = [session for session in old if self._has_expired(session.body, now_ms)]
        live = [session for session in old if session not in ended]
        ended += live[: max(0, len(live) - PER_USER_COUNT_MAX + 1)]
        event = AppendEvent(
            kind="login",
            subject=user_id,
            at_ms=now_ms,
            body={"address": address[:64], "agent": agent[:200]},
            keep_count=50,
        )
        return secret, [
            PutDocument(kind="session", id=keys.digest(secret), body=body, expected_version=0, audited=False),
            *(DeleteDocument(kind="session", id=session.id) for session in ended),
            event,
        ]

    def find(self, secret: str, *, now_ms: int) -> Identity | None:
        """Who holds this cookie; None when the session is over or never was."""
        session = self._state.read.get("session", keys.digest(secret))
        if session is None or self._has_expired(session.body, now_ms):
            return None
        user = self._state.read.get("user", str(session.body["user_id"]))
        if user is None:
            return None
        return Identity(
            kind=Kind.USER,
            id=user.id,
            name=str(user.body["name"]),
            role=Role(user.body["role"]),
            session_id=session.id,
        )

    def of(self, user_id: str, *, now_ms: int) -> list[Document]:
        """The sessions of a user that are valid, the one seen last first."""
        found = self._state.read.list("session", where={"$.user_id": user_id}, limit=1_000)
        live = [session for session in found if not self._has_expired(session.body, now_ms)]
        return sorted(live, key=lambda session: -int(session.body["seen_ms"]))

    def begun_from(self, user_id: str, address: str, *, now_ms: int) -> bool:
        """Whether the user has a session that began at this address."""
        found = self._state.read.list("session", where={"$.user_id": user_id, "$.address": address[:64]}, limit=100)
        return any(not self._has_expired(session.body, now_ms) for session in found)

    def touch(self, session_id: str, *, now_ms: int) -> None:
        """Note that the session is in use, now and then."""
        session = self._state.read.get("session", session_id)
        if session is None or abs(now_ms - int(session.body["seen_ms"])) < SEEN_EVERY_MS:
            return
        put = PutDocument(
            kind="session",
            id=session.id,
            body=session.body | {"seen_ms": now_ms},
            expected_version=session.version,
            audited=False,
        )
        self._state.apply([put], actor="web")

    def reachable(self, session_id: str, asking: Identity) -> Document:
        """A session that who asks may end: one of their own, or as an administrator any. Raises: Refusal 404, for
        others' too: a stranger's guess is not told from a hit."""
        session = self._state.read.get("session", session_id)
        if session is None or not (session.body["user_id"] == asking.id or asking.may(Role.ADMIN)):
            raise not_found("session", session_id)
        return session

    def end_all(self, sessions: Sequence[Document], *, actor: str) -> None:
        self._state.apply([DeleteDocument(kind="session", id=session.id) for session in sessions], actor=actor)

    def end(self, session_id: str, *, actor: str) -> None:
        self._state.apply([DeleteDocument(kind="session", id=session_id)], actor=actor)

    @staticmethod
    def _has_expired(body: dict[str, object], now_ms: int) -> bool:
        created_ms, seen_ms = int(str(body["created_ms"])), int(str(body["seen_ms"]))
        return now_ms - created_ms > LIFETIME_MS or now_ms - seen_ms > IDLE_MS_MAX
