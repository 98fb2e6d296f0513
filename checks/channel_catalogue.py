"""The channels that there are: what may be written as one, and the changes of state that create, alter or delete it.

The twin of catalogue.py: the HTTP API, the pages and the command line come through here; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.state.model import Document
from appliance.state.mutations import DeleteDocument, Mutation, PutDocument
from checks import forms
from checks.catalogue import CONTROL, check_of, label_problem, new_id, refuse_carried_off, unique_name
from checks.channels import KINDS, Channel, ChannelError, options_of, secret_fields
from checks.errors import CheckError
from checks.model import DEFAULT_TEAM
from checks.reading import DocumentReader
from checks.sealed import HIDDEN, Box, hidden, opened, sealed

CHANNEL_COUNT_MAX = 10_000
CHECK_COUNT_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class ChannelDraft:
    """A change that is allowed and not made yet."""

    id: str
    channel: Channel  # As it will be, secrets open; for a deletion, as it was.
    mutations: Sequence[Mutation]


class ChannelCatalogue:
    """The door to the channels of one appliance. Every method raises CheckError for what may not be."""

    def __init__(self, reader: DocumentReader, box: Box) -> None:
        self._reader = reader
        self._box = box

    def create(self, body: Mapping[str, Any]) -> ChannelDraft:
        channel = valid(body)
        self._refuse_taken(channel, None)
        channel_id = new_id()
        return ChannelDraft(channel_id, channel, [self._put(channel_id, channel, expected_version=0)])

    def patch(
        self, channel_id: str, changes: Mapping[str, Any], *, expected_version: int | None = None
    ) -> ChannelDraft:
        """Merge changes into a channel: fields are replaced, options and labels merged by name, null takes one away.

        A channel in use keeps its name and team, because checks name it.
        """
        document = self.document(channel_id)
        before = self.opened(document)
        channel = valid(_merged(before, changes))
        if channel.kind == before.kind:
            refuse_carried_off(channel.kind, KINDS[channel.kind], before.options, channel.options, changes)
        if (channel.name, channel.team) != (before.name, before.team):
            self._refuse_used(before, f"the channel cannot become {channel.name!r} of team {channel.team}")
        self._refuse_taken(channel, channel_id)
        version = document.version if expected_version is None else expected_version
        return ChannelDraft(channel_id, channel, [self._put(channel_id, channel, expected_version=version)])

    def delete(self, channel_id: str) -> ChannelDraft:
        channel = channel_of(self.document(channel_id).body)
        self._refuse_used(channel, f"channel {channel.name!r} cannot be deleted")
        return ChannelDraft(channel_id, channel, [DeleteDocument(kind="channel", id=channel_id)])

    def document(self, channel_id: str) -> Document:
        document = self._reader.get("channel", channel_id)
        if document is None:
            raise CheckError("not_found", f"there is no channel {channel_id!r}")
        return document

    def opened(self, document: Document) -> Channel:
        """The channel of a document, its secrets open."""
        channel = channel_of(document.body)
        names = secret_names(channel.kind)
        return msgspec.structs.replace(channel, options=opened(channel.options, names, self._box))

    def users(self, channel: Channel) -> list[str]:
        """The names of the checks that tell this channel, sorted."""
        checks = (check_of(document.body) for document in self._reader.list("check", limit=CHECK_COUNT_MAX))
        return sorted(check.name for check in checks if check.team == channel.team and channel.name in check.channels)

    def _refuse_used(self, channel: Channel, what: str) -> None:
        users = self.users(channel)
        if users:
            more = f" and {len(users) - 3} more" if len(users) > 3 else ""
            raise CheckError(
                "conflict", f"{what} while checks tell it: {', '.join(users[:3])}{more}; take it out of them first"
            )

    def _refuse_taken(self, channel: Channel, channel_id: str | None) -> None:
        holder = self._reader.by_unique("channel", unique_name(channel.team, channel.name))
        if holder is not None and holder.id != channel_id:
            raise CheckError(
                "conflict",
                f"team {channel.team} has a channel named {channel.name!r} already; choose another name",
                "name",
            )

    def _put(self, channel_id: str, channel: Channel, *, expected_version: int) -> PutDocument:
        options = sealed(channel.options, secret_names(channel.kind), self._box)
        return PutDocument(
            kind="channel",
            id=channel_id,
            body=msgspec.to_builtins(msgspec.structs.replace(channel, options=options)),
            expected_version=expected_version,
            unique=unique_name(channel.team, channel.name),
        )


def channel_of(body: Mapping[str, Any]) -> Channel:
    """The channel of a stored body. Raises: msgspec.ValidationError."""
    return msgspec.convert(body, Channel)


def secret_names(kind: str) -> frozenset[str]:
    return secret_fields(kind) if kind in KINDS else frozenset()


def channel_view(document: Document) -> dict[str, Any]:
    """The JSON of one channel; secrets are hidden."""
    channel = channel_of(document.body)
    body: dict[str, Any] = msgspec.to_builtins(channel)
    body["options"] = hidden(channel.options, secret_names(channel.kind))
    return {
        "id": document.id,
        **body,
        "version": document.version,
        "created_ms": document.created_ms,
        "updated_ms": document.updated_ms,
        "updated_by": document.updated_by,
    }


def valid(body: Mapping[str, Any]) -> Channel:
    """A body as a channel. Raises: CheckError, with a message for each field that is wrong."""
    channel, errors = forms.convert_all(Channel, body)
    kind, options = body.get("kind"), body.get("options", {})
    if isinstance(kind, str) and kind not in KINDS:
        errors = {**errors, "kind": f"kind {kind!r} is not one of {', '.join(KINDS)}"}
    elif isinstance(kind, str) and isinstance(options, Mapping):
        errors = {**errors, **_option_errors(kind, options)}
    if channel is not None and not errors:
        channel = msgspec.structs.replace(channel, name=channel.name.strip())
        errors = _own_errors(channel)
    if errors:
        field, message = next(iter(errors.items()))
        raise CheckError("invalid", message, field, errors=errors)
    assert channel is not None
    return channel


def _option_errors(kind: str, options: Mapping[str, Any]) -> dict[str, str]:
    _, errors = forms.convert_all(KINDS[kind], options)
    for name in secret_fields(kind):
        if options.get(name) == HIDDEN:
            errors.setdefault(name, "this stands for a secret that is not known here; write the secret itself")
    return {f"options.{name}": message for name, message in errors.items()}


def _own_errors(channel: Channel) -> dict[str, str]:
    errors: dict[str, str] = {}
    if not channel.name:
        errors["name"] = "a channel needs a name that is more than blanks"
    elif CONTROL.search(channel.name):
        errors["name"] = f"{channel.name!r} holds a line break or another control character"
    if message := label_problem(channel.labels):
        errors["labels"] = message
    try:
        options_of(channel)
    except ChannelError as error:
        errors[error.field] = str(error)
    return errors


def _merged(before: Channel, changes: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(before)
    merged = {**body, **changes}
    options, labels = changes.get("options"), changes.get("labels")
    if isinstance(options, Mapping):
        base = before.options if merged["kind"] == before.kind else {}
        new = {name: value for name, value in options.items() if not (value == HIDDEN and name in base)}
        merged["options"] = {name: value for name, value in {**base, **new}.items() if value is not None}
    if isinstance(labels, Mapping):
        merged["labels"] = {name: value for name, value in {**before.labels, **labels}.items() if value is not None}
    return merged


def channel_id_by_name(documents: Sequence[Document]) -> dict[tuple[str, str], str]:
    """(team, name) → id, of the channels that can be read."""
    found = {}
    for document in documents:
        labels = document.body.get("labels") or {}
        found[labels.get("team", DEFAULT_TEAM), document.body.get("name", "")] = document.id
    return found
