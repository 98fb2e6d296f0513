"""The nouns of the state file, as readers get them. Layout: docs/format/state.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

SERVICE = "state"
CHANGED = "changed"  # The topic of the hints.
FILE_NAME = "state.db"

MessageStatus = Literal["pending", "delivered", "failed"]


def state_path(data_dir: Path) -> Path:
    return data_dir / FILE_NAME


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that people or the appliance configure or know: a check, a user, the latest result of a check."""

    kind: str
    id: str
    version: int  # 1 at first, one more with each change.
    body: dict[str, Any]
    created_ms: int
    updated_ms: int
    updated_by: str
    unique: str | None = None  # Its name, of which there is one among its kind.


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, never changed afterwards. seq rises with each event and is never used again."""

    seq: int
    at_ms: int
    kind: str
    subject: str
    body: dict[str, Any]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the outbox."""

    id: str
    channel: str
    body: dict[str, Any]
    status: MessageStatus
    due_ms: int
    attempt_count: int
    last_error: str
    created_ms: int
    delivered_ms: int | None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who changed which document when, from what to what. before is None for a new one, after for a deleted one.

    Secrets are hidden in both. origin: the address or program that the change came from, as far as it is known.
    """

    seq: int
    at_ms: int
    actor: str
    origin: str = ""
    kind: str
    id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    hash: str = ""  # Of this entry and, through it, of all before it.


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a hint: what a commit has touched."""

    revision: int
    documents: list[tuple[str, str]] = []  # (kind, id)
    messages: bool = False
    events: bool = False
