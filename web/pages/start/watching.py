"""Checks made in the set-up: of this machine, and of an address that was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from checks.errors import CheckError
from checks.suggestions.address import parse
from web.api.checks import apply, refuse_commands, refuse_team, with_team
from web.auth.identity import identity
from web.board import Row
from web.errors import invalid
from web.kit import board, catalogue
from web.services import services

LOOK_TIMEOUT_S = 30.0  # A look takes 5 s; a few may go on before it.
TICKED_COUNT_MAX = 40  # Twice as many as one look can suggest.
NAME_TRIES_COUNT = 20
MACHINE = {"kind": "host", "name": "This machine", "options": {}}


class Ticked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One suggested check, as its box sends it back."""

    kind: str
    name: str
    options: dict[str, Any]


def rows() -> Sequence[Row]:
    return board().view().sorted_rows(identity().team)


def is_watched(kind: str, options: Mapping[str, Any], found: Sequence[Row]) -> bool:
    """Whether a check of the kind has these options, whatever else it says."""
    return any(
        row.check.kind == kind and all(row.check.options.get(name) == value for name, value in options.items())
        for row in found
    )


def look(text: str) -> dict[str, Any]:
    """{"address", "note", "items": [{"kind", "name", "options", "is_ticked", "is_watched", "value", "result"}]}.

    Raises: OptionError, for what is no address; BusError, Refusal.
    """
    parse(text)  # What is wrong is told without asking anybody.
    body = services().ask("scheduler", "look", {"address": text}, timeout_s=LOOK_TIMEOUT_S).body
    there = rows()
    for item in body["items"]:
        item["is_watched"] = is_watched(item["kind"], item["options"], there)
        item["value"] = msgspec.json.encode({name: item[name] for name in ("kind", "name", "options")}).decode()
    return {"address": text.strip(), **body}


def create_ticked(values: Sequence[str]) -> int:
    """Create the checks of ticked boxes; what is watched already is passed over. Returns how many were created.

    Raises: Refusal, CheckError.
    """
    if len(values) > TICKED_COUNT_MAX:
        raise invalid(f"{len(values)} checks at once; at most {TICKED_COUNT_MAX}")
    try:
        wanted = [msgspec.json.decode(value, type=Ticked) for value in values]
    except msgspec.DecodeError as error:
        raise invalid(f"a ticked check cannot be read: {error}; look at the address again") from error
    there = rows()
    new = [one for one in wanted if not is_watched(one.kind, one.options, there)]
    for one in new:
        create(msgspec.to_builtins(one))
    return len(new)


def create(body: Mapping[str, Any]) -> None:
    """Create a check; when its name is taken, under the next free one: "db Redis 2". Raises: Refusal, CheckError."""
    refuse_commands(str(body["kind"]))
    for number in range(1, NAME_TRIES_COUNT + 1):
        name = str(body["name"]) if number == 1 else f"{str(body['name'])[:115]} {number}"
        try:
            draft = catalogue().create(with_team({**body, "name": name}))
        except CheckError as error:
            if error.code != "conflict" or number == NAME_TRIES_COUNT:
                raise
        else:
            refuse_team(draft.check.team)
            apply(draft)
            return
