"""A whole configuration folder → schemas for Henge, and what was taken and what was not, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.graphite import AGGREGATIONS_COUNT_MAX, parse_aggregations
from appliance.retention import SCHEMA_COUNT_MAX, parse_schemas
from appliance.units import duration_text
from tsdb.carbon.relay import read_relay
from tsdb.carbon.retentions import Archive, parse_archives
from tsdb.carbon.rulebook import READERS
from tsdb.carbon.sections import Section, rules_count, sections_of

SCHEMAS, AGGREGATION, CARBON = "storage-schemas.conf", "storage-aggregation.conf", "carbon.conf"
RELAY = "relay-rules.conf"
FILES = (SCHEMAS, AGGREGATION, CARBON, RELAY, *READERS)
_FILTERS = ("blacklist.conf", "whitelist.conf")
_AGGREGATOR_KEYS = {
    "FORWARD_ALL": ("True", "samples are stored beside what is made of them; a list can refuse names"),
    "MAX_AGGREGATION_INTERVALS": ("5", "late values count for 5 intervals"),
    "WRITE_BACK_FREQUENCY": ("", "values come once an interval"),
}
_LISTENERS = {"LINE_RECEIVER": "graphite.listen", "PICKLE_RECEIVER": "graphite.pickle_listen"}


@dataclass(slots=True)
class Import:
    """schemas, aggregations: tables of [[store.schemas]] and [[graphite.aggregation]], in order.

    rules: texts for graphite.rules_dir, by the name of the file.
    """

    schemas: list[dict[str, str]] = field(default_factory=list)
    aggregations: list[dict[str, str]] = field(default_factory=list)
    rules: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    not_taken: list[str] = field(default_factory=list)

    def as_toml(self) -> str:
        """Values are JSON's texts, which are TOML's as well."""
        tables = [_table("store.schemas", each) for each in self.schemas]
        return "\n".join(tables + [_table("graphite.aggregation", each) for each in self.aggregations])


def _table(key: str, table: Mapping[str, str]) -> str:
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
    return f"[[{key}]]\n" + "".join(lines)


def read_folder(texts: Mapping[str, str]) -> Import:
    """texts: by name, those of FILES that are there."""
    found = Import()
    if SCHEMAS in texts:
        _take_schemas(texts[SCHEMAS], found)
    else:
        found.not_taken.append(f"{SCHEMAS}: is not there; store.retention counts for all series")
    if AGGREGATION in texts:
        _take_aggregation(texts[AGGREGATION], found)
    if CARBON in texts:
        _note_addresses(texts[CARBON], found)
    for name in READERS:
        if rules_count(texts.get(name, "")):
            _take_rules(name, texts, found)
    if rules_count(texts.get(RELAY, "")):
        _note_relay(texts[RELAY], found)
    return found


def _take_rules(name: str, texts: Mapping[str, str], found: Import) -> None:
    """Lines that cannot be taken become comments, so that the others count."""
    if name in _FILTERS and not _uses_filters(texts.get(CARBON)):
        found.not_taken.append(f"{name}: carbon.conf does not say USE_WHITELIST = True, so carbon does not look at it")
        return
    read = READERS[name](texts[name])
    found.not_taken += [f"{name}: {complaint}" for complaint in read.complaints]
    if not read.rules_count or 0 in read.errors:
        return
    lines = texts[name].splitlines()
    for number, error in read.errors.items():
        lines[number - 1] = f"# {lines[number - 1]}\n# not taken: {error}"
    found.rules[name] = "\n".join(lines) + "\n"
    found.taken.append(f"{name}: {read.rules_count} rule{'' if read.rules_count == 1 else 's'}")


def _uses_filters(text: str | None) -> bool:
    """Without a carbon.conf, a list that is there is meant."""
    if text is None:
        return True
    try:
        sections = sections_of(text)
    except ValueError:
        return True
    return any(section.options.get("use_whitelist", "").lower() == "true" for section in sections)


def _note_relay(text: str, found: Import) -> None:
    try:
        found.not_taken += [f"{RELAY} {each}: Henge passes nothing on" for each in read_relay(text)]
    except ValueError as error:
        found.not_taken.append(f"{RELAY}: {error}; carbon would not start, and Henge passes nothing on")


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


def _take_aggregation(text: str, found: Import) -> None:
    """What a section does not say is as carbon has it: the average, of half of the points at least."""
    try:
        sections = sections_of(text)
    except ValueError as error:
        found.not_taken.append(f"{AGGREGATION}: {error}")
        return
    for section in sections:
        where = f"{AGGREGATION} [{section.name}]"
        table = {
            "name": section.name,
            "pattern": section.options.get("pattern", ""),
            "method": section.options.get("aggregationmethod", "average"),
            "x_files_factor": section.options.get("xfilesfactor", "0.5"),
        }
        try:
            parse_aggregations(json.dumps([table]))
        except ValueError as error:
            reason = str(error).removeprefix("rule 1: ")
            found.not_taken.append(f"{where}: {reason}; its series go by the next section that fits")
            continue
        if len(found.aggregations) == AGGREGATIONS_COUNT_MAX:
            found.not_taken.append(f"{where}: is beyond the {AGGREGATIONS_COUNT_MAX} that Henge takes")
            continue
        found.aggregations.append(table)
        found.taken.append(f"{where}: {table['method']}, xFilesFactor {table['x_files_factor']}")


def _note_addresses(text: str, found: Import) -> None:
    try:
        sections = sections_of(text)
    except ValueError as error:
        found.not_taken.append(f"{CARBON}: {error}")
        return
    for section in sections:
        for key, (default, why) in _AGGREGATOR_KEYS.items():
            value = section.options.get(key.lower(), default)
            if section.name == "aggregator" and value.lower() != default.lower():
                found.not_taken.append(f"{CARBON} [aggregator]: {key} = {value[:40]} not applied: {why}")
        for prefix, setting in _LISTENERS.items():
            port = section.options.get(f"{prefix}_PORT".lower())
            if section.name == "cache" and port:
                host = section.options.get(f"{prefix}_INTERFACE".lower(), "0.0.0.0")
                found.not_taken.append(
                    f"{CARBON} [cache]: {prefix}_PORT is left to you: set {setting} = {host}:{port} when carbon is off"
                )
