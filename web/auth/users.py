"""People with an account."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from appliance.state import DeleteDocument, Document, Mutation, PutDocument, StateClient
from web.auth import keys
from web.auth.passwords import Passwords, complaint
from web.auth.roles import Role
from web.errors import Refusal, invalid

NAME_PATTERN = r"^[^\s\x00-\x1f:][^\x00-\x1f:]{0,63}$"


class NewUser(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, description="What they log in with")]
    password: str
    role: Role = Role.VIEWER


class UserChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    password: str | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET


def unique_name(name: str) -> str:
    """Two names that differ only in case are one person."""
    return name.strip().casefold()


def view(document: Document) -> dict[str, Any]:
    """What the API tells of a user; never the hash."""
    body = document.body
    return {
        "id": document.id,
        "name": body["name"],
        "role": body["role"],
        "created_ms": document.created_ms,
        "last_login_ms": body.get("last_login_ms"),
    }


class Users:
    def __init__(self, state: StateClient, passwords: Passwords) -> None:
        self._state, self._passwords = state, passwords

    def administrator_exists(self) -> bool:
        return bool(self._state.read.list("user", where={"$.role": Role.ADMIN.value}, limit=1))

    def get(self, user_id: str) -> Document | None:
        return self._state.read.get("user", user_id)

    def piece(self, *, limit: int, offset: int) -> list[Document]:
        return list(self._state.read.list("user", limit=limit, offset=offset))

    def by_name(self, name: str) -> Document | None:
        return self._state.read.by_unique("user", unique_name(name))

    def creation(self, new: NewUser) -> tuple[str, Mutation]:
        """The id and the mutation that creates the user. Raises: Refusal, naming the field."""
        if problem := complaint(new.password):
            raise invalid(problem, field="password")
        user_id = keys.new_id()
        body = {"name": new.name.strip(), "role": new.role.value, "password_hash": self._passwords.hash(new.password)}
        put = PutDocument(kind="user", id=user_id, body=body, expected_version=0, unique=unique_name(new.name))
        return user_id, put

    def create(self, new: NewUser, *, actor: str) -> Document:
        if self.by_name(new.name) is not None:
            raise Refusal(409, "conflict", f"there is already a user {new.name!r}", field="name")
        user_id, put = self.creation(new)
        self._state.apply([put], actor=actor)
        created = self.get(user_id)
        assert created is not None
        return created

    def change(self, user: Document, change: UserChange, *, actor: str) -> None:
        """A new password ends the user's sessions. Raises: Refusal, when no administrator would be left."""
        body = dict(user.body)
        mutations: list[Mutation] = []
        if change.role is not msgspec.UNSET:
            if body["role"] == Role.ADMIN.value and change.role is not Role.ADMIN:
                self._refuse_if_last(user)
            body["role"] = change.role.value
        if change.password is not msgspec.UNSET:
            if problem := complaint(change.password):
                raise invalid(problem, field="password")
            body["password_hash"] = self._passwords.hash(change.password)
            mutations += self._end_sessions(user.id)
        put = PutDocument(
            kind="user", id=user.id, body=body, expected_version=user.version, unique=unique_name(body["name"])
        )
        self._state.apply([put, *mutations], actor=actor)

    def delete(self, user: Document, *, actor: str) -> None:
        if user.body["role"] == Role.ADMIN.value:
            self._refuse_if_last(user)
        mutations: list[Mutation] = [DeleteDocument(kind="user", id=user.id), *self._end_sessions(user.id)]
        if self._state.read.get("second_factor", user.id) is not None:
            mutations.append(DeleteDocument(kind="second_factor", id=user.id))
        self._state.apply(mutations, actor=actor)

    def _refuse_if_last(self, user: Document) -> None:
        others = self._state.read.list("user", where={"$.role": Role.ADMIN.value}, limit=2)
        if all(other.id == user.id for other in others):
            raise Refusal(409, "conflict", "this is the last administrator; make another user one first", field="role")

    def _end_sessions(self, user_id: str) -> list[Mutation]:
        found = self._state.read.list("session", where={"$.user_id": user_id}, limit=1_000)
        return [DeleteDocument(kind="session", id=session.id) for session in found]
