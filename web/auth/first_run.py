"""The one-time link that leads from a fresh installation to its first administrator."""

from __future__ import annotations

from appliance.state import DeleteDocument, Mutation, PutDocument, StateClient
from web.auth import keys

LINK_LIFETIME_MS = 24 * 3_600_000
LINK_COUNT_MAX = 50  # Each start of the appliance makes one; older ones beyond this are dropped.


class FirstRun:
    def __init__(self, state: StateClient) -> None:
        self._state = state

    def new_secret(self, *, now_ms: int) -> str:
        """Store a link and give its secret. Earlier links stay valid until one is used or they expire."""
        secret = keys.new_secret()
        links = self._state.read.list("login_link", limit=1_000)
        links.sort(key=lambda link: link.created_ms)
        surplus = links[: max(0, len(links) - LINK_COUNT_MAX + 1)]
        put = PutDocument(
            kind="login_link", id=keys.digest(secret), body={"created_ms": now_ms}, expected_version=0, audited=False
        )
        mutations: list[Mutation] = [put, *(DeleteDocument(kind="login_link", id=link.id) for link in surplus)]
        self._state.apply(mutations, actor="web")
        return secret

    def is_valid(self, secret: str, *, now_ms: int) -> bool:
        link = self._state.read.get("login_link", keys.digest(secret))
        if link is None:
            return False
        return abs(now_ms - int(link.body["created_ms"])) <= LINK_LIFETIME_MS

    def spending(self, secret: str) -> list[Mutation]:
        """What to apply together with the creation of the administrator: the used link fails if it is gone, and every
        other link ends with it."""
        used = keys.digest(secret)
        others = [link.id for link in self._state.read.list("login_link", limit=1_000) if link.id != used]
        return [DeleteDocument(kind="login_link", id=link_id) for link_id in (used, *others)]
