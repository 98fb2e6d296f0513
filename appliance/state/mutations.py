"""What can be done to the state. A list of mutations is applied all together or not at all, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from appliance.state.errors import BadMutation
from appliance.state.model import MessageStatus

NAME_CHARACTERS_MAX = 256  # Of a kind, an id, a unique name, a subject, a channel, an actor.
BODY_BYTES_MAX = 2**20  # As JSON. A dashboard with hundreds of panels has 200 KB.
MUTATION_COUNT_MAX = 50_000  # In one transaction: every check of a large appliance, with its latest result, at once.


Whole = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A number that SQLite can hold."""


class PutDocument(msgspec.Struct, frozen=True, tag="put"):
    """Create a document or replace it whole.

    expected_version: the version that the caller has read; 0: there must be none; None: whatever there is.
    unique: a name that no other document of the kind may have. audited: whether the audit keeps before and after.
    """

    kind: str
    id: str
    body: dict[str, Any]
    expected_version: Whole | None = None
    unique: str | None = None
    audited: bool = True


class DeleteDocument(msgspec.Struct, frozen=True, tag="delete"):
    """Remove a document. Refused with "not_found", if there is none."""

    kind: str
    id: str
    expected_version: Whole | None = None
    audited: bool = True


class AppendEvent(msgspec.Struct, frozen=True, tag="event"):
    """Record what happened. keep_count: then drop all but this many events of the same kind and subject."""

    kind: str
    subject: str
    at_ms: Whole
    body: dict[str, Any]
    keep_count: Whole | None = None


class QueueMessage(msgspec.Struct, frozen=True, tag="queue"):
    """Put a message into the outbox. One whose id is there already is left as it is: repeating this is harmless."""

    id: str
    channel: str
    due_ms: Whole
    body: dict[str, Any]


class UpdateMessage(msgspec.Struct, frozen=True, tag="message"):
    """Record an attempt to deliver. Refused with "not_found", if there is no such message."""

    id: str
    status: MessageStatus
    due_ms: Whole
    attempt_count: Whole
    last_error: str = ""
    delivered_ms: Whole | None = None


Mutation = PutDocument | DeleteDocument | AppendEvent | QueueMessage | UpdateMessage


class Apply(msgspec.Struct, frozen=True):
    """The body of the "apply" request."""

    mutations: list[Mutation]
    actor: str
    origin: str = ""


def check(mutations: Sequence[Mutation], actor: str, origin: str = "") -> None:
    """See that all names and counts are in bounds. Raises: BadMutation."""
    if len(mutations) > MUTATION_COUNT_MAX:
        raise BadMutation(f"{len(mutations):,} mutations at once, of {MUTATION_COUNT_MAX:,} at most; send more lists")
    _check_name("actor", actor)
    if origin:
        _check_name("origin", origin)
    for mutation in mutations:
        match mutation:
            case PutDocument() | DeleteDocument():
                _check_name("kind", mutation.kind)
                _check_name("id", mutation.id)
                if isinstance(mutation, PutDocument) and mutation.unique is not None:
                    _check_name("unique", mutation.unique)
            case AppendEvent():
                _check_name("kind", mutation.kind)
                _check_name("subject", mutation.subject)
                if mutation.keep_count is not None and mutation.keep_count < 1:
                    raise BadMutation(f"keep_count {mutation.keep_count}: at least 1, for the event itself is kept")
            case QueueMessage():
                _check_name("id", mutation.id)
                _check_name("channel", mutation.channel)
            case UpdateMessage():
                _check_name("id", mutation.id)


def _check_name(field: str, name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise BadMutation(f"{field} {name!r:.60}: {len(name)} characters, not 1 … {NAME_CHARACTERS_MAX}")


def body_json(what: str, body: dict[str, Any]) -> str:
    """A body as it is stored. JSON has no infinities and no NaN: they are stored as null. Raises: BadMutation."""
    encoded = msgspec.json.encode(body)
    if len(encoded) > BODY_BYTES_MAX:
        raise BadMutation(f"the body of {what} has {len(encoded):,} bytes, of at most {BODY_BYTES_MAX:,}")
    return encoded.decode()
