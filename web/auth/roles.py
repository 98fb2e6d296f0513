"""The three roles, each of which may all that the one before it may."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """viewer: reads everything; editor: changes checks, channels and downtimes; admin: users, tokens, commands."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    def allows(self, needed: Role) -> bool:
        order = tuple(Role)
        return order.index(self) >= order.index(needed)
