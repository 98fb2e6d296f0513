"""What storage-aggregation.conf says in settings: how fine points become coarse ones in the render API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import re2

from appliance.retention import SCHEMA_TEXT_LENGTH_MAX, SchemaError

AGGREGATIONS_COUNT_MAX = 100  # Each is tried on every series that is rendered, until one fits.
METHODS = ("average", "sum", "last", "max", "min", "avg_zero", "absmax", "absmin")
_FIELDS = ("name", "pattern", "method", "x_files_factor")


@dataclass(frozen=True, slots=True)
class AggregationRule:
    name: str  # For messages.
    pattern: str  # A regular expression (RE2) that is looked for anywhere in the path.
    method: str  # One of METHODS.
    x_files_factor: float  # So large a share of the finer points must be there.


def parse_aggregations(text: str) -> tuple[AggregationRule, ...]:
    """Read a JSON list of objects, as the tables [[graphite.aggregation]] of the file become. Raises: ValueError."""
    try:
        found = json.loads(text or "[]")
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is not JSON; write tables [[graphite.aggregation]] in the file") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{text[:80]!r} is no list of tables; write [[graphite.aggregation]] in the file")
    if len(found) > AGGREGATIONS_COUNT_MAX:
        raise ValueError(f"{len(found)} rules; at most {AGGREGATIONS_COUNT_MAX} are tried on every series")
    rules = []
    for number, one in enumerate(found, start=1):
        try:
            rules.append(_rule(one))
        except ValueError as error:
            raise SchemaError(number, f"rule {number}: {error}") from error
    return tuple(rules)


def _rule(found: Mapping[str, Any]) -> AggregationRule:
    for field, value in found.items():
        if field not in _FIELDS:
            raise ValueError(f"there is no field {field}; write {', '.join(_FIELDS)}")
        if not isinstance(value, str) or len(value) > SCHEMA_TEXT_LENGTH_MAX:
            raise ValueError(f'{field}: {str(value)[:80]!r} is not a text of at most 4,096 letters; quote it, as "…"')
    pattern, method = found.get("pattern", ""), found.get("method", "average")
    if not pattern:
        raise ValueError("has no pattern; .* is every series")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise ValueError(f"pattern: the regular expression {pattern[:80]!r} is wrong: {reason}") from None
    if method not in METHODS:
        raise ValueError(f"there is no method {method[:40]!r}; there are {', '.join(METHODS)}")
    return AggregationRule(found.get("name", ""), pattern, method, _factor(found.get("x_files_factor", "0.5")))


def _factor(text: str) -> float:
    """Raises: ValueError."""
    try:
        factor = float(text)
    except ValueError:
        factor = -1.0
    if not 0 <= factor <= 1:
        raise ValueError(f"x_files_factor: {text[:40]!r} is not in 0 … 1")
    return factor
