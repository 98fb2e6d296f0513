"""What is answered where samples are asked for: query, query_range, series, labels, label values.

It knows nothing of Flask, for two ways lead here: the views, and the short way past them (doors.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tsdb.answer import QueryAnswer
from tsdb.client import Selectors
from tsdb.errors import RefusedQuery
from web.api.prometheus.arguments import NO_SELECTOR, Arguments, invalid, named
from web.api.prometheus.leaving import Watch
from web.api.prometheus.shape import TRUNCATED, answer_body, success_body
from web.services import Services

POINT_COUNT_MAX = 11_000  # Per series, as in Prometheus: more than any screen is wide.

Found = TypeVar("Found")
Environ = Mapping[str, Any]
Ask = Callable[[str], QueryAnswer]


class Reading:
    """The answers of one application, as pieces of JSON. Every method raises: TsdbError. Thread-safe."""

    def __init__(self, services: Services) -> None:
        self._clock, self._tsdb = services.clock, services.tsdb
        self.watch = Watch(services.tsdb)

    def query(self, given: Arguments, environ: Environ) -> list[bytes]:
        limit = given.limit()
        at_ms = given.optional_time_ms("time", self._clock.now_ms())
        timeout_s, lookback_ms = given.timeout_s(), given.lookback_ms()

        def ask(query_id: str) -> QueryAnswer:
            return self._tsdb.query_instant(
                given.text("query"), at_ms, timeout_s=timeout_s, lookback_ms=lookback_ms, query_id=query_id
            )

        return self._answered(ask, limit, given, environ)

    def query_range(self, given: Arguments, environ: Environ) -> list[bytes]:
        limit = given.limit()
        start_ms, end_ms = given.time_ms("start"), given.time_ms("end")
        if end_ms < start_ms:
            raise invalid("end", "end timestamp must not be before start time")
        step_ms = given.step_ms()
        if (end_ms - start_ms) // step_ms > POINT_COUNT_MAX:
            raise RefusedQuery(
                f"exceeded maximum resolution of {POINT_COUNT_MAX:,} points per timeseries. "
                "Try decreasing the query resolution (?step=XX)"
            )
        timeout_s, lookback_ms = given.timeout_s(), given.lookback_ms()
        skips_cache = given.truth("nocache")  # By the name that VictoriaMetrics has for it.

        def ask(query_id: str) -> QueryAnswer:
            times = (start_ms, end_ms, step_ms)
            return self._tsdb.query_range(
                given.text("query"),
                *times,
                timeout_s=timeout_s,
                lookback_ms=lookback_ms,
                query_id=query_id,
                skips_cache=skips_cache,
            )

        return self._answered(ask, limit, given, environ)

    def _answered(self, ask: Ask, limit: int | None, given: Arguments, environ: Environ) -> list[bytes]:
        found = named("query", lambda: self.watch.while_asked(ask, environ))
        return answer_body(found, limit, has_stats=bool(given.text("stats")))

    def series(self, given: Arguments, environ: Environ) -> list[bytes]:
        del environ  # A look-up is too short to be taken back.
        limit = given.series_limit()
        start_ms, end_ms = given.time_range_ms()
        if not given.texts("match[]"):
            raise RefusedQuery(NO_SELECTOR)
        selectors = named("match[]", lambda: given.selectors(self._tsdb))
        found = self._tsdb.series(selectors, start_ms, end_ms, limit=limit + 1)
        return limited(found, limit)

    def labels(self, given: Arguments, environ: Environ) -> list[bytes]:
        del environ
        limit = given.series_limit()
        start_ms, end_ms = given.time_range_ms()
        selectors: Selectors = given.selectors(self._tsdb)
        return limited(self._tsdb.label_names(selectors, start_ms, end_ms, limit=limit + 1), limit)

    def label_values(self, name: str, given: Arguments) -> list[bytes]:
        limit = given.series_limit()
        start_ms, end_ms = given.time_range_ms()
        selectors: Selectors = given.selectors(self._tsdb)
        name = _unescaped_label(name)
        return limited(self._tsdb.label_values(name, selectors, start_ms, end_ms, limit=limit + 1), limit)


def limited(found: list[Found], limit: int) -> list[bytes]:
    """The first `limit` of what was found, and a warning when that is not all."""
    return success_body(found[:limit], warnings=[TRUNCATED] if len(found) > limit else ())


def _unescaped_label(name: str) -> str:
    """`U__my_2e_label` stands for `my.label` (Prometheus 3, "values escaping")."""
    if not name.startswith("U__"):
        return name
    return re.sub(
        r"__|_([0-9a-fA-F]{1,6})_", lambda found: "_" if found[0] == "__" else chr(int(found[1], 16)), name[3:]
    )
