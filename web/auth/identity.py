"""Who asks: a user with a session, a token, or a stranger."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flask import g

from web.auth.roles import Role


class Kind(StrEnum):
    STRANGER = "stranger"
    USER = "user"
    TOKEN = "token"  # noqa: S105 - the word, not a token.


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """team: when set, the only team whose checks, channels and downtimes this identity sees and changes."""

    kind: Kind = Kind.STRANGER
    id: str = ""
    name: str = ""
    role: Role | None = None
    team: str | None = None
    session_id: str = ""

    @property
    def actor(self) -> str:
        """The name in the audit log."""
        return f"{self.kind}:{self.name}" if self.kind is not Kind.STRANGER else "stranger"

    @property
    def is_known(self) -> bool:
        return self.role is not None

    def may(self, needed: Role) -> bool:
        """What is bound to a team is at most an editor: users, tokens and programs concern every team."""
        if self.role is None or (self.team is not None and needed is Role.ADMIN):
            return False
        return self.role.allows(needed)

    def sees_team(self, team: str) -> bool:
        return self.team is None or self.team == team


STRANGER = Identity()


def identity() -> Identity:
    found = g.get("identity", STRANGER)
    assert isinstance(found, Identity)
    return found
