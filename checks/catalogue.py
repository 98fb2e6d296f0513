"""The checks that there are: what may be written as one, and the changes of state that create, alter or delete it.

The HTTP API, the pages and the command line all come through here, so they refuse the same things in the same words.
Nothing is written here: a Draft holds the mutations, which the caller applies under its own name.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from appliance.state.model import Document
from appliance.state.mutations import DeleteDocument, Mutation, PutDocument
from checks import forms
from checks.channels import Channel
from checks.errors import CheckError
from checks.model import DEFAULT_TEAM, Check
from checks.probes import probe
from checks.probes.options import OptionError, Options
from checks.reading import DocumentReader
from checks.sealed import HIDDEN, Box, carried_off, opened, sealed

LABEL_COUNT_MAX = 20
LABEL_VALUE_CHARACTERS_MAX = 200
TEAM_CHARACTERS_MAX = 100  # With a name of 120 it stays under the 256 of a unique name in the state file.
CHANNEL_COUNT_MAX = 20
LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Draft:
    """A change that is allowed and not made yet."""

    id: str
    check: Check  # As it will be, secrets open; for a deletion, as it was.
    mutations: Sequence[Mutation]


def new_id() -> str:
    """Short enough for an address, too long to meet twice: 64 random bits."""
    return secrets.token_hex(8)


def unique_name(team: str, name: str) -> str:
    """What is unique among the documents of a kind. A team's name holds no slash."""
    return f"{team}/{name}"


class Catalogue:
    """The door to the checks of one appliance. Every method raises CheckError for what may not be."""

    def __init__(self, reader: DocumentReader, box: Box) -> None:
        self._reader = reader
        self._box = box

    def create(self, body: Mapping[str, Any]) -> Draft:
        check = self._valid(body)
        self._refuse_taken(check, None)
        check_id = new_id()
        return Draft(check_id, check, [self._put(check_id, check, expected_version=0)])

    def patch(self, check_id: str, changes: Mapping[str, Any], *, expected_version: int | None = None) -> Draft:
        """Merge changes into a check: fields are replaced, options and labels merged by name, null takes one away."""
        document = self.document(check_id)
        before = self.opened(document)
        self._refuse_of_rules(before)
        check = self._changed(before, changes)
        self._refuse_taken(check, check_id)
        version = document.version if expected_version is None else expected_version
        return Draft(check_id, check, [self._put(check_id, check, expected_version=version)])

    def pause(self, check_id: str, *, paused: bool) -> Draft:
        return self.patch(check_id, {"paused": paused})

    def delete(self, check_id: str) -> Draft:
        """The check alone: its latest result and its incidents are the scheduler's, which ends them."""
        check = check_of(self.document(check_id).body)
        self._refuse_of_rules(check)
        return Draft(check_id, check, [DeleteDocument(kind="check", id=check_id)])

    def document(self, check_id: str) -> Document:
        document = self._reader.get("check", check_id)
        if document is None:
            raise CheckError("not_found", f"there is no check {check_id!r}")
        return document

    def opened(self, document: Document) -> Check:
        """The check of a document, its secrets open."""
        check = check_of(document.body)
        names = secret_names(check.kind)
        return msgspec.structs.replace(check, options=opened(check.options, names, self._box)) if names else check

    def trial(self, body: Mapping[str, Any], *, check_id: str | None = None) -> Check:
        """A body to be run and not saved; hidden secrets are those of the check that it is a version of."""
        if check_id is not None:
            return self._changed(self.opened(self.document(check_id)), body)
        return self._valid({"name": "trial", **body} if not body.get("name") else body, channels_exist=False)

    def _refuse_of_rules(self, check: Check) -> None:
        if message := origin_text(self._reader, check):
            raise CheckError("conflict", message)

    def _changed(self, before: Check, changes: Mapping[str, Any]) -> Check:
        check = self._valid(_merged(before, changes))
        if check.kind == before.kind:
            refuse_carried_off(check.kind, probe(check.kind).options_type, before.options, check.options, changes)
        return check

    def _valid(self, body: Mapping[str, Any], *, channels_exist: bool = True) -> Check:
        check, errors = checked(body)
        if check is not None and channels_exist:
            errors = self._unknown_channels(check)
        if errors:
            field, message = next(iter(errors.items()))
            raise CheckError("invalid", message, field, errors=errors)
        assert check is not None
        return check

    def _unknown_channels(self, check: Check) -> dict[str, str]:
        message = unknown_channel(self._reader, check.team, check.channels)
        return {"channels": message} if message else {}

    def _refuse_taken(self, check: Check, check_id: str | None) -> None:
        holder = self._reader.by_unique("check", unique_name(check.team, check.name))
        if holder is not None and holder.id != check_id:
            raise CheckError(
                "conflict", f"team {check.team} has a check named {check.name!r} already; choose another name", "name"
            )

    def _put(self, check_id: str, check: Check, *, expected_version: int) -> PutDocument:
        options = sealed(check.options, secret_names(check.kind), self._box)
        return put_check(check_id, msgspec.structs.replace(check, options=options), expected_version=expected_version)


def put_check(check_id: str, check: Check, *, expected_version: int) -> PutDocument:
    """A check, its secrets sealed, as it is stored."""
    body = msgspec.to_builtins(check)
    if not check.rules:
        del body["rules"]  # As before there were rule files: an older Henge refuses fields that it does not know.
    return PutDocument(
        kind="check",
        id=check_id,
        body=body,
        expected_version=expected_version,
        unique=unique_name(check.team, check.name),
    )


def unknown_channel(reader: DocumentReader, team: str, names: Sequence[str]) -> str | None:
    """What is wrong with the first of these channels that the team does not have, or None."""
    for name in names:
        if reader.by_unique("channel", unique_name(team, name)) is not None:
            continue
        channels = (msgspec.convert(document.body, Channel) for document in reader.list("channel"))
        known = sorted(channel.name for channel in channels if channel.team == team)
        there_are = f"the channels are {', '.join(known)}" if known else "there is none yet"
        return f"team {team} has no channel {name!r}; {there_are}"
    return None


def origin_text(reader: DocumentReader, check: Check) -> str | None:
    """Why a check cannot be changed by itself, and where it can; None if it can."""
    if not check.rules:
        return None
    document = reader.get("rules", check.rules)
    name = document.body.get("name", check.rules) if document else check.rules
    return f"check {check.name!r} belongs to the rule file {name!r}; change it there: /rules/{check.rules}"


def refuse_carried_off(
    kind: str,
    options_type: type[msgspec.Struct],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> None:
    """Raises: CheckError, when a hidden secret would go to another receiver than the one it was given for."""
    options = changes.get("options")
    written = options if isinstance(options, Mapping) else {}
    defaults = {field.name: field.default for field in msgspec.structs.fields(options_type)}
    if (name := carried_off(kind, {**defaults, **before}, {**defaults, **after}, written)) is not None:
        raise CheckError("invalid", "who receives it has changed: write the secret again", f"options.{name}")


def check_of(body: Mapping[str, Any]) -> Check:
    """The check of a stored body. Raises: msgspec.ValidationError."""
    return msgspec.convert(body, Check)


def secret_names(kind: str) -> tuple[str, ...]:
    """The sealed options of a kind; none for a kind that is no longer known."""
    try:
        return forms.secret_fields(kind)
    except OptionError:
        return ()


@cache
def private_names(kind: str) -> frozenset[str]:
    """The options that only those may read who may change the check: secrets, the address by which a job reports,
    headers and the like, in which credentials stand."""
    try:
        fields = forms.fields(kind)
    except OptionError:
        return frozenset()
    return frozenset(field.name for field in fields if field.secret or field.generated or field.type == "mapping")


def checked(body: Mapping[str, Any]) -> tuple[Check | None, dict[str, str]]:
    """A body as a check, tidied and complete, or None and a message for each field that is wrong."""
    check, errors = forms.convert_all(Check, body)
    options = body.get("options", {})
    kind = body.get("kind")
    if isinstance(kind, str) and isinstance(options, Mapping):
        errors = {**errors, **_option_errors(kind, options)}
    if check is None or errors:
        return None, errors
    check = msgspec.structs.replace(
        check,
        name=check.name.strip(),
        channels=list(dict.fromkeys(check.channels)),
        options=_with_generated(check.kind, check.options),
    )
    errors = _own_errors(check)
    return (None if errors else check), errors


def _option_errors(kind: str, options: Mapping[str, Any]) -> dict[str, str]:
    try:
        options_type: type[Options] = probe(kind).options_type
    except OptionError as error:
        return {"kind": error.message}
    _, errors = forms.convert_all(options_type, options)
    for name in forms.secret_fields(kind):
        if options.get(name) == HIDDEN:
            errors.setdefault(name, "this stands for a secret that is not known here; write the secret itself")
    return {f"options.{name}": message for name, message in errors.items()}


def _with_generated(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with those filled that are made by the appliance, such as the address of a push check."""
    made = {field.name: secrets.token_urlsafe(24) for field in forms.fields(kind) if field.generated}
    return {**options, **{name: value for name, value in made.items() if not options.get(name)}}


def _own_errors(check: Check) -> dict[str, str]:
    errors: dict[str, str] = {}
    if check.rules:
        errors["rules"] = "rules is set by the rule file that a check belongs to; leave it out"
    if not check.name:
        errors["name"] = "a check needs a name that is more than blanks"
    elif CONTROL.search(check.name):
        errors["name"] = f"{check.name!r} holds a line break or another control character"
    for field in ("interval_s", "timeout_s", "retry_interval_s"):
        if not math.isfinite(getattr(check, field)):
            errors[field] = f"{getattr(check, field)} is not a number of seconds"
    if len(check.channels) > CHANNEL_COUNT_MAX:
        errors["channels"] = f"{len(check.channels)} channels; at most {CHANNEL_COUNT_MAX} go with one check"
    if message := label_problem(check.labels):
        errors["labels"] = message
    return errors


def label_problem(labels: Mapping[str, str]) -> str | None:
    """What is wrong with the labels of a check or a channel, or None."""
    if len(labels) > LABEL_COUNT_MAX:
        return f"{len(labels)} labels; at most {LABEL_COUNT_MAX} are kept"
    for name, value in labels.items():
        if not LABEL_NAME.fullmatch(name):
            return f"label {name[:80]!r}: a name is letters, digits and _ , 64 at most, and begins with no digit"
        if len(value) > LABEL_VALUE_CHARACTERS_MAX or CONTROL.search(value):
            return f"label {name}: a value is one line of at most {LABEL_VALUE_CHARACTERS_MAX} characters"
    team = labels.get("team", DEFAULT_TEAM)
    if not team.strip() or "/" in team or len(team) > TEAM_CHARACTERS_MAX:
        return f"label team: {team[:80]!r} is not a team; a name has no / and at most {TEAM_CHARACTERS_MAX} characters"
    return None


def _merged(before: Check, changes: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(before)
    merged = {**body, **changes}
    same_kind = merged["kind"] == before.kind
    options = changes.get("options")
    if isinstance(options, Mapping):
        base = before.options if same_kind else {}
        kept = {name for name, value in options.items() if value == HIDDEN and name in base}
        nullable = _nullable(before.kind) if same_kind else frozenset()
        changed = {**base, **{name: value for name, value in options.items() if name not in kept}}
        merged["options"] = {n: v for n, v in changed.items() if v is not None or n in nullable}
    labels = changes.get("labels")
    if isinstance(labels, Mapping):
        merged["labels"] = {n: v for n, v in {**before.labels, **labels}.items() if v is not None}
    return merged


def _nullable(kind: str) -> frozenset[str]:
    """Options for which null is a value of its own ("no limit")."""
    try:
        return frozenset(field.name for field in forms.fields(kind) if field.optional)
    except OptionError:
        return frozenset()
