"""Tokens for programs: shown once, stored as a hash, sent as a Bearer token or as the password of basic auth."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec

from appliance.state import DeleteDocument, Document, PutDocument, StateClient
from web.auth import keys
from web.auth.identity import Identity, Kind
from web.auth.roles import Role

SHOWN_CHARS = len(keys.TOKEN_PREFIX) + 4  # Enough to recognise a token in a list, useless for guessing it.


class NewToken(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120, description="What uses it")]
    role: Role = Role.VIEWER
    team: Annotated[str, msgspec.Meta(min_length=1, max_length=120)] | None = None


def view(document: Document) -> dict[str, Any]:
    """What the API tells of a token; the secret itself is not known any more."""
    body = document.body
    return {
        "id": document.id,
        "name": body["name"],
        "role": body["role"],
        "team": body.get("team"),
        "begins_with": body["begins_with"],
        "created_ms": document.created_ms,
        "created_by": body.get("created_by", ""),
    }


def create(state: StateClient, new: NewToken, *, actor: str) -> tuple[str, str]:
    """Store a new token → (id, the token itself, told this once)."""
    token_id, token = keys.new_id(), keys.TOKEN_PREFIX + keys.new_secret()
    body = {
        "name": new.name,
        "role": new.role.value,
        "team": new.team,
        "begins_with": token[:SHOWN_CHARS],
        "created_by": actor,
    }
    put = PutDocument(kind="token", id=token_id, body=body, expected_version=0, unique=keys.digest(token))
    state.apply([put], actor=actor)
    return token_id, token


def delete(state: StateClient, token_id: str, *, actor: str) -> None:
    state.apply([DeleteDocument(kind="token", id=token_id)], actor=actor)


def find(state: StateClient, token: str) -> Identity | None:
    """Whose token this is; None for one that was never given or is revoked."""
    if not token.startswith(keys.TOKEN_PREFIX):
        return None
    document = state.read.by_unique("token", keys.digest(token))
    if document is None:
        return None
    return Identity(
        kind=Kind.TOKEN,
        id=document.id,
        name=str(document.body["name"]),
        role=Role(document.body["role"]),
        team=document.body.get("team"),
    )


def from_header(authorization: str) -> str | None:
    """The token in an Authorization header; None when the header is of a kind that we do not know."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        _, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password
