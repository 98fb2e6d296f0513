"""The arguments of a request: in the address or, by POST, in a form; both may be mixed. Refused in Prometheus' words.

Source of the words: web/api/v1/api.go of Prometheus 3.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TypeVar

from flask import request
from werkzeug.datastructures import MultiDict

from appliance.units import promql_duration_ms
from tsdb.client import SERIES_COUNT_MAX, TsdbClient
from tsdb.errors import NotSupported, RefusedQuery
from tsdb.sample import Matcher
from web.services import services

Found = TypeVar("Found")

TIMEOUT_S_MAX = 600.0  # The query process allows as much as query.timeout says.
TIME_MS_MIN, TIME_MS_MAX = -(2**53), 2**53
NO_SELECTOR = "no match[] parameter provided"
TEXT_SIZE_MAX = 60  # Of an argument that is repeated in a refusal.
_TRUTH = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def invalid(name: str, why: object) -> RefusedQuery:
    return RefusedQuery(f'invalid parameter "{name}": {why}')


def quoted(text: str) -> str:
    return json.dumps(text[:TEXT_SIZE_MAX], ensure_ascii=False)


class Arguments:
    """The arguments of one request. What cannot be read is refused with RefusedQuery."""

    def __init__(self, values: MultiDict[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """An argument, empty when it is missing."""
        return str(self._values.get(name, ""))

    def texts(self, name: str) -> list[str]:
        """An argument that may come several times."""
        return self._values.getlist(name)

    def optional_time_ms(self, name: str, default_ms: int) -> int:
        """Epoch seconds with a fraction, or RFC 3339; times that no clock shows are taken as the ends of all time."""
        given = self.text(name)
        if not given:
            return default_ms
        try:
            return _time_ms(given)
        except RefusedQuery as error:
            raise invalid(name, f"invalid time value for '{name}': {error}") from None

    def time_ms(self, name: str) -> int:
        """The same, and it must be there."""
        try:
            return _time_ms(self.text(name))
        except RefusedQuery as error:
            raise invalid(name, error) from None

    def step_ms(self) -> int:
        """A step is longer than zero."""
        try:
            found = duration_ms(self.text("step"))
        except RefusedQuery as error:
            raise invalid("step", error) from None
        if found <= 0:
            why = "zero or negative query resolution step widths are not accepted. Try a positive integer"
            raise invalid("step", why)
        return found

    def timeout_s(self) -> float | None:
        """None: as long as query.timeout allows."""
        given = self.text("timeout")
        if not given:
            return None
        try:
            return max(0.001, min(duration_ms(given) / 1_000, TIMEOUT_S_MAX))
        except RefusedQuery as error:
            raise invalid("timeout", error) from None

    def lookback_ms(self) -> int | None:
        """None: as PromQL has it."""
        given = self.text("lookback_delta")
        if not given:
            return None
        try:
            found = duration_ms(given)
        except RefusedQuery as error:
            raise RefusedQuery(f"error parsing lookback delta duration: {error}") from None
        return found if found > 0 else None

    def limit(self) -> int | None:
        """How many series or names are asked for; None: all."""
        given = self.text("limit")
        if not given:
            return None
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", given):
            raise invalid("limit", f"strconv.Atoi: parsing {quoted(given)}: invalid syntax")
        if int(given) < 0:
            raise invalid("limit", "limit must be non-negative")
        return int(given) or None

    def series_limit(self) -> int:
        """The same for look-ups, which never answer more than SERIES_COUNT_MAX."""
        return min(self.limit() or SERIES_COUNT_MAX, SERIES_COUNT_MAX)

    def truth(self, name: str) -> bool:
        """A yes or no as Go reads one; missing is no."""
        given = self.text(name) or "false"
        if given.lower() not in _TRUTH:
            why = f"error converting {name}: strconv.ParseBool: parsing {quoted(given)}: invalid syntax"
            raise invalid(name, why)
        return _TRUTH[given.lower()]

    def time_range_ms(self) -> tuple[int, int]:
        """`start` and `end`, all of time without them. A range that ends before it starts holds nothing."""
        return self.optional_time_ms("start", TIME_MS_MIN), self.optional_time_ms("end", TIME_MS_MAX)

    def selectors(self, tsdb: TsdbClient, *, required: bool = False) -> list[list[Matcher]]:
        """The selectors of `match[]`."""
        texts = self.texts("match[]")
        if required and not texts:
            raise RefusedQuery(NO_SELECTOR)
        return tsdb.selectors(texts) if texts else []


def current() -> Arguments:
    """Those of the request that is being answered."""
    return Arguments(request.values)


def text(name: str) -> str:
    return current().text(name)


def truth(name: str) -> bool:
    return current().truth(name)


def time_range_ms() -> tuple[int, int]:
    return current().time_range_ms()


def match_arguments(*, required: bool = False) -> list[list[Matcher]]:
    return current().selectors(services().tsdb, required=required)


def _time_ms(given: str) -> int:
    try:
        seconds = float(given)
    except ValueError:
        return _rfc3339_ms(given)
    if math.isnan(seconds):
        return TIME_MS_MIN
    return round(min(max(seconds * 1_000, TIME_MS_MIN), TIME_MS_MAX))


def _rfc3339_ms(given: str) -> int:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise RefusedQuery(f"cannot parse {quoted(given)} to a valid timestamp") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)  # noqa: UP017 - datetime.UTC reads as a class here.
    return round(moment.timestamp() * 1_000)


def duration_ms(given: str) -> int:
    """Seconds as a number, or Prometheus' durations: 5m, 1h30m. Raises: RefusedQuery, without the argument's name."""
    refused = RefusedQuery(f"cannot parse {quoted(given)} to a valid duration")
    try:
        seconds = float(given)
    except ValueError:
        found_ms = promql_duration_ms(given)
        if found_ms is None:
            raise refused from None
        return found_ms
    if not abs(seconds) * 1_000 <= TIME_MS_MAX:
        raise refused
    return round(seconds * 1_000)


def named(name: str, ask: Callable[[], Found]) -> Found:
    """What ask() gives; an expression that cannot be read is refused with the argument's name before it."""
    try:
        return ask()
    except RefusedQuery as error:
        if type(error) in (RefusedQuery, NotSupported):
            raise invalid(name, error) from None
        raise
