"""The JSON schemas of what may be sent to /api/v1: of the decoders' own types, and of what depends on a kind.

Of a check and a channel each kind has its own schema with its own options; a change names any part of one, and null
takes an option or a label away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from checks import channels, probes
from checks.catalogue import LABEL_COUNT_MAX, LABEL_NAME, LABEL_VALUE_CHARACTERS_MAX, TEAM_CHARACTERS_MAX
from checks.downtimes import Downtime
from checks.model import Check
from checks.rules import RuleFile
from web.api.incidents import IncidentChange
from web.api.rules import RulesTrial
from web.auth.passwords import PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN
from web.auth.tokens import NewToken
from web.auth.users import NewUser, UserChange

REF = "#/components/schemas/{name}"
LINE = r"^[^\x00-\x1f\x7f\u2028\u2029]*$"  # No line break and no other control character.
NAME = (
    r"^[^\x00-\x1f\x7f\u2028\u2029]*[^\s\x00-\x1f\x7f\u2028\u2029][^\x00-\x1f\x7f\u2028\u2029]*$"  # More than blanks.
)
TEAM = {"maxLength": TEAM_CHARACTERS_MAX, "pattern": r"^[^/\x00-\x1f\x7f]*[^/\s\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$"}
PASSWORD = {"type": "string", "minLength": PASSWORD_CHARS_MIN, "maxLength": PASSWORD_CHARS_MAX}
PLAIN = (IncidentChange, RulesTrial, NewToken, NewUser, UserChange)
SERIES = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["labels", "samples"],
        "properties": {
            "labels": {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
            "samples": {
                "type": "array",
                "items": {
                    "type": "array",
                    "prefixItems": [
                        {"type": "integer", "description": "Epoch milliseconds, UTC"},
                        {"type": ["number", "string"], "description": 'A number, "NaN", "+Inf" or "-Inf"'},
                    ],
                    "minItems": 2,
                    "maxItems": 2,
                },
            },
        },
    },
}


def body_schemas() -> dict[str, Any]:
    """Components by name; loads every kind of check."""
    _, found = msgspec.json.schema_components(PLAIN, ref_template=REF)
    for name in ("NewUser", "UserChange"):
        found[name]["properties"]["password"] = PASSWORD
    options_of_checks = {kind: probes.probe(kind).options_type for kind in probes.KINDS}
    found |= _with_kinds("Check", Check, options_of_checks)
    found |= _with_kinds("Channel", channels.Channel, channels.KINDS)
    check_change = found["CheckChange"]
    found["CheckTrial"] = {
        "description": "A check, or with the id of a stored one what is to be different",
        **check_change,
        "properties": {**check_change["properties"], "id": {"type": "string"}},
    }
    found |= _downtimes()
    found |= _rule_files()
    found["Series"] = SERIES
    return found


def _with_kinds(name: str, kind_type: type, options_by_kind: Mapping[str, type]) -> dict[str, Any]:
    """`name`: any of the kinds; `nameChange`: a part of one; and the schema of each kind and of its options."""
    _, found = msgspec.json.schema_components([kind_type, *options_by_kind.values()], ref_template=REF)
    whole = found[name]
    whole["properties"].pop("rules", None)  # Told in answers; the rule file writes it.
    whole["properties"]["name"] |= {"pattern": NAME}
    whole["properties"]["labels"] = _labels({"type": "string"})
    for kind, options_type in options_by_kind.items():
        options = {"$ref": REF.format(name=options_type.__name__)}
        needs_options = bool(found[options_type.__name__].get("required"))
        found[f"{kind.capitalize()}{name}"] = {
            **whole,
            "title": f"{kind.capitalize()}{name}",
            "required": [*whole["required"], *(["options"] if needs_options else [])],
            "properties": {**whole["properties"], "kind": {"const": kind}, "options": options},
        }
    parts = {part: schema for part, schema in whole["properties"].items() if part not in ("labels", "options", "kind")}
    found[f"{name}Change"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "kind": {"enum": list(options_by_kind)},
            **parts,
            "options": {"type": "object", "description": "Merged by name; null takes one away"},
            "labels": _labels({"type": ["string", "null"]}),
        },
    }
    found[name] = {"oneOf": [{"$ref": REF.format(name=f"{kind.capitalize()}{name}")} for kind in options_by_kind]}
    return found


def _labels(value: Mapping[str, Any]) -> dict[str, Any]:
    text = {"maxLength": LABEL_VALUE_CHARACTERS_MAX, "pattern": LINE}
    return {
        "type": "object",
        "maxProperties": LABEL_COUNT_MAX,
        "propertyNames": {"pattern": f"^{LABEL_NAME.pattern}$"},
        "additionalProperties": {**value, **text},
        "properties": {"team": {**value, **TEAM}},
    }


def _downtimes() -> dict[str, Any]:
    """A downtime begins now when it does not say when; its author is whoever asks."""
    _, found = msgspec.json.schema_components([Downtime], ref_template=REF)
    whole = found["Downtime"]
    for name in ("from_ms", "until_ms"):
        whole["properties"][name] |= {"minimum": 0}
    some = {"required": ["matchers"], "properties": {"matchers": {"minProperties": 1}}}
    needs_one = [{"required": ["check_id"], "properties": {"check_id": {"type": "string"}}}, some]
    return {
        "NewDowntime": {**whole, "required": ["until_ms"], "anyOf": needs_one},
        "DowntimeChange": {key: value for key, value in whole.items() if key != "required"},
    }


def _rule_files() -> dict[str, Any]:
    _, found = msgspec.json.schema_components([RuleFile], ref_template=REF)
    whole = found["RuleFile"]
    whole["properties"]["name"] |= {"pattern": NAME}
    whole["properties"]["team"] |= TEAM
    return {**found, "RuleFileChange": {key: value for key, value in whole.items() if key != "required"}}
