"""A whole configuration folder → schemas for Henge, and what was taken and what was not, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.retention import SCHEMA_COUNT_MAX, parse_schemas
from appliance.units import duration_text
from tsdb.carbon.retentions import Archive, parse_archives
from tsdb.carbon.sections import Section, rules_count, sections_of

SCHEMAS, AGGREGATION, CARBON = "storage-schemas.conf", "storage-aggregation.conf", "carbon.conf"
NOT_APPLIED = {
    "aggregation-rules.conf": "Henge makes no series of its own out of those that come in; a recording rule does "
    "(docs/rules.md)",
    "rewrite-rules.conf": "names are stored as they come; rename at the sender",
    "relay-rules.conf": "Henge passes nothing on",
    "whitelist.conf": "every name is taken",
    "blacklist.conf": "every name is taken",
}
FILES = (SCHEMAS, AGGREGATION, CARBON, *NOT_APPLIED)
_METHODS = ("average", "sum", "last", "max", "min", "avg_zero", "absmax", "absmin")
_LISTENERS = {"LINE_RECEIVER": "graphite.listen", "PICKLE_RECEIVER": "graphite.pickle_listen"}


@dataclass(slots=True)
class Import:
    """schemas: tables of [[store.schemas]], in order."""

    schemas: list[dict[str, str]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    not_taken: list[str] = field(default_factory=list)

    def as_toml(self) -> str:
        """Values are JSON's texts, which are TOML's as well."""
        return "\n".join(map(_table, self.schemas))


def _table(table: Mapping[str, str]) -> str:
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
    return "[[store.schemas]]\n" + "".join(lines)


def read_folder(texts: Mapping[str, str]) -> Import:
    """texts: by name, those of FILES that are there."""
    found = Import()
    if SCHEMAS in texts:
        _take_schemas(texts[SCHEMAS], found)
    else:
        found.not_taken.append(f"{SCHEMAS}: is not there; store.retention counts for all series")
    if AGGREGATION in texts:
        _note_aggregation(texts[AGGREGATION], found)
    if CARBON in texts:
        _note_addresses(texts[CARBON], found)
    for name, why in NOT_APPLIED.items():
        if count := rules_count(texts.get(name, "")):
            found.not_taken.append(f"{name}: {count} line{'' if count == 1 else 's'} not applied: {why}")
    return found


def _take_schemas(text: str, found: Import) -> None:
    try:
        sections = sections_of(text)
    except ValueError as error:
        found.not_taken.append(f"{SCHEMAS}: {error}")
        return
    for section in sections:
        where = f"{SCHEMAS} [{section.name}]"
        try:
            archives, table = _schema(section)
        except ValueError as error:
            found.not_taken.append(f"{where}: {error}; its series go by the next schema that fits")
            continue
        if len(found.schemas) == SCHEMA_COUNT_MAX:
            found.not_taken.append(f"{where}: is beyond the {SCHEMA_COUNT_MAX} schemas that Henge takes")
            continue
        found.schemas.append(table)
        found.taken.append(f"{where}: {_shown(archives)} → {table['retention']}, resolution {table['resolution']}")


def _schema(section: Section) -> tuple[tuple[Archive, ...], dict[str, str]]:
    """Raises: ValueError."""
    for key in ("pattern", "retentions"):
        if not section.options.get(key):
            raise ValueError(f"has no {key}")
    archives = parse_archives(section.options["retentions"])
    finest, *rollups = archives
    tiers = [f"raw:{_duration(finest.covers_s)}", *(f"{_duration(a.step_s)}:{_duration(a.covers_s)}" for a in rollups)]
    table = {
        "name": section.name,
        "pattern": section.options["pattern"],
        "retention": ",".join(tiers),
        "resolution": _duration(finest.step_s),
    }
    try:
        parse_schemas(json.dumps([table]))
    except ValueError as error:
        raise ValueError(str(error).removeprefix("schema 1: ")) from error
    return archives, table


def _duration(seconds: int) -> str:
    return duration_text(seconds * 1_000)


def _shown(archives: tuple[Archive, ...]) -> str:
    return ",".join(f"{each.step_s}s:{each.count}" for each in archives)


def _note_aggregation(text: str, found: Import) -> None:
    """Nothing of it is a setting: rollups keep every figure, so that a query chooses."""
    try:
        sections = sections_of(text)
    except ValueError as error:
        found.not_taken.append(f"{AGGREGATION}: {error}")
        return
    for section in sections:
        method = section.options.get("aggregationmethod", "average")
        where = f"{AGGREGATION} [{section.name}]"
        if method not in _METHODS:
            found.not_taken.append(f"{where}: there is no aggregation method {method[:40]!r}")
        elif method == "last":
            found.taken.append(f"{where}: last, which render shows of rollups anyway")
        else:
            found.not_taken.append(
                f"{where}: {method} not applied: rollups keep min, max, sum, count and last of every series; "
                f"render shows last"
            )
        if (factor := section.options.get("xfilesfactor", "0.5")).strip("0.") != "":
            found.not_taken.append(f"{where}: xFilesFactor {factor[:40]} not applied: a rollup of one sample is shown")


def _note_addresses(text: str, found: Import) -> None:
    try:
        sections = sections_of(text)
    except ValueError as error:
        found.not_taken.append(f"{CARBON}: {error}")
        return
    for section in sections:
        for prefix, setting in _LISTENERS.items():
            port = section.options.get(f"{prefix}_PORT".lower())
            if section.name == "cache" and port:
                host = section.options.get(f"{prefix}_INTERFACE".lower(), "0.0.0.0")
                found.not_taken.append(
                    f"{CARBON} [cache]: {prefix}_PORT is left to you: set {setting} = {host}:{port} when carbon is off"
                )
