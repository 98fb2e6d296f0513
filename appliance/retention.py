"""Retention as it is written in settings: of all samples, and of those that a schema picks out by name and labels."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import re2

from appliance.units import duration_ms, duration_text

RETENTION_TIER_COUNT_MAX = 8
SCHEMA_COUNT_MAX = 100  # Each is tried on every series of a block that no earlier one has taken.
SCHEMA_TEXT_LENGTH_MAX = 4_096  # Of one pattern or match.
_REGEX_MEMORY_BYTES_MAX = 1 << 19  # Half of what a query may use, so that what is accepted here works there.
_FIELDS = ("name", "pattern", "match", "retention", "resolution")
_CONDITION = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\["\\])*)"\s*(,|$)')


@dataclass(frozen=True, slots=True)
class RetentionTier:
    """One step of a retention: samples of this resolution are kept this long."""

    resolution_ms: int  # 0: raw, as it came.
    keep_ms: int | None  # None: forever.

    def __str__(self) -> str:
        return f"{duration_text(self.resolution_ms) if self.resolution_ms else 'raw'}:{duration_text(self.keep_ms)}"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long raw samples and rollups are kept.

    Invariant: the first tier is raw; resolutions rise, each a multiple of the one before; so do the times kept.
    """

    tiers: tuple[RetentionTier, ...]

    @property
    def raw_ms(self) -> int | None:
        """None: forever, and any time since 1970 is accepted."""
        return self.tiers[0].keep_ms

    def __str__(self) -> str:
        return ",".join(map(str, self.tiers))


@dataclass(frozen=True, slots=True)
class SchemaRule:
    """Which series it is for, and how long they are kept.

    Invariant: at least one of pattern and conditions is given; a series has to satisfy both.
    """

    name: str  # For messages.
    pattern: str  # A regular expression (RE2) that is looked for anywhere in the metric name or Graphite path.
    conditions: tuple[tuple[str, str, str], ...]  # label, one of = != =~ !~, value; regexes match the whole value
    retention: Retention
    resolution_ms: int = 0  # How often samples are expected, and so their step in Graphite; 0: as their times show.


class SchemaError(ValueError):
    """One of the schemas is wrong. number: which, from 1."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


def parse_retention(text: str) -> Retention:
    """Read `raw:90d,1m:1y`, or `forever` for raw samples without end. Raises: ValueError."""
    parts = [part.strip() for part in text.split(",")]
    if parts == ["forever"]:
        parts = ["raw:forever"]
    if len(parts) > RETENTION_TIER_COUNT_MAX:
        raise ValueError(f"{text!r} has {len(parts)} steps; at most {RETENTION_TIER_COUNT_MAX} are kept")
    tiers = [_retention_tier(part) for part in parts]
    if tiers[0].resolution_ms != 0:
        raise ValueError(f"{text!r} starts with {parts[0]!r}; the first step is the raw samples, such as raw:90d")
    for finer, coarser in pairwise(tiers):
        if coarser.resolution_ms <= finer.resolution_ms or coarser.resolution_ms % (finer.resolution_ms or 1):
            raise ValueError(f"step {coarser} after {finer}: a resolution is a multiple of the one before it")
        if finer.keep_ms is None or (coarser.keep_ms is not None and coarser.keep_ms <= finer.keep_ms):
            raise ValueError(f"step {coarser} after {finer}: finer samples cannot outlive their rollups")
    return Retention(tuple(tiers))


def _retention_tier(part: str) -> RetentionTier:
    resolution, colon, keep = part.partition(":")
    if not colon:
        raise ValueError(f"{part!r} is not resolution:duration, such as raw:90d or 1m:1y")
    resolution_ms = 0 if resolution == "raw" else duration_ms(resolution)
    if resolution_ms is None or (resolution_ms < 1_000 and resolution != "raw"):
        raise ValueError(f"{part!r} has a resolution under 1s; write raw for samples as they came")
    keep_ms = duration_ms(keep)
    if keep_ms is not None and keep_ms < 60_000:
        raise ValueError(f"{part!r} keeps less than 1m")
    return RetentionTier(resolution_ms, keep_ms)


def parse_schemas(text: str) -> tuple[SchemaRule, ...]:
    """Read a JSON list of objects, as the tables [[store.schemas]] of the file become. Raises: ValueError."""
    try:
        found = json.loads(text or "[]")
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is not JSON ({error}); write tables [[store.schemas]] in the file") from error
    if not isinstance(found, list):
        raise ValueError(f"{text[:80]!r} is not a list; write tables [[store.schemas]] in the file")
    if len(found) > SCHEMA_COUNT_MAX:
        raise ValueError(f"{len(found)} schemas; at most {SCHEMA_COUNT_MAX} are tried on every series")
    rules = []
    for number, one in enumerate(found, start=1):
        try:
            rules.append(_schema(number, one))
        except ValueError as error:
            raise SchemaError(number, f"schema {number}: {error}") from error
    return tuple(rules)


def _schema(number: int, found: Any) -> SchemaRule:
    if not isinstance(found, dict):
        raise ValueError(f"{found!r} is not a table with {', '.join(_FIELDS)}")
    for field, value in found.items():
        if field not in _FIELDS:
            near = difflib.get_close_matches(field, _FIELDS, n=1, cutoff=0.5)
            raise ValueError(
                f"there is no field {field}; " + (f"did you mean {near[0]}?" if near else f"write {', '.join(_FIELDS)}")
            )
        if not isinstance(value, str):
            raise ValueError(f'{field}: {value!r} is not a text; write it in quotes, as "…"')
        if len(value) > SCHEMA_TEXT_LENGTH_MAX:
            raise ValueError(f"{field}: has {len(value):,} characters; at most {SCHEMA_TEXT_LENGTH_MAX:,} are read")
    pattern, match = found.get("pattern", ""), found.get("match", "")
    if not pattern and not match:
        raise ValueError('names no series; give it a pattern such as ^carbon\\. or a match such as {job="x"}')
    if "retention" not in found:
        raise ValueError("retention: is missing; write one such as raw:7d,1m:90d")
    _check_regex("pattern", pattern)
    try:
        retention = parse_retention(found["retention"])
    except ValueError as error:
        raise ValueError(f"retention: {error}") from error
    return SchemaRule(
        name=found.get("name") or f"schema {number}",
        pattern=pattern,
        conditions=_conditions(match),
        retention=retention,
        resolution_ms=_resolution_ms(found["resolution"], retention) if "resolution" in found else 0,
    )


def _resolution_ms(text: str, retention: Retention) -> int:
    """Raises: ValueError."""
    try:
        found_ms = duration_ms(text)
    except ValueError as error:
        raise ValueError(f"resolution: {error}") from error
    if not found_ms or found_ms % 1_000:
        raise ValueError(f"resolution: {text!r} is not a number of whole seconds, such as 10s")
    for tier in retention.tiers[1:2]:
        if tier.resolution_ms <= found_ms or tier.resolution_ms % found_ms:
            raise ValueError(f"resolution: {text!r} is no part of the first rollup's, {tier}; they are its multiples")
    return found_ms


def _conditions(match: str) -> tuple[tuple[str, str, str], ...]:
    text = match.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    conditions, at = [], 0
    while at < len(text):
        found = _CONDITION.match(text, at)
        if found is None:
            raise ValueError(
                f'match: {text[at : at + 40]!r} is not label="value" with one of = != =~ !~, commas in between'
            )
        label, operator, value = found[1], found[2], re.sub(r'\\(["\\])', r"\1", found[3])
        if operator in ("=~", "!~"):
            _check_regex(f"match: {label}", value)
        conditions.append((label, operator, value))
        at = found.end()
    return tuple(conditions)


def _check_regex(field: str, pattern: str) -> None:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _REGEX_MEMORY_BYTES_MAX
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise ValueError(f"{field}: the regular expression {pattern[:80]!r} is wrong: {reason}") from None
