"""The store as the groups see it: expressions are asked, samples stored, and the `for` of alerts looked up again."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from appliance.metrics import Metrics
from tsdb.answer import QueryAnswer
from tsdb.client import Row, WriteAnswer
from tsdb.errors import NotReady, TsdbError
from tsdb.rules import ALERT_NAME, ALERTS_FOR_STATE, OUTAGE_TOLERANCE_MS, ForState, rows_of
from tsdb.sample import METRIC_NAME, Labels

ROWS_OF_A_CALL_MAX = 20_000
PATIENCE_S = 20.0  # So long samples are offered again; a store that is killed is back within two seconds.
RETRY_S = 0.5
NAMES_OF_A_CALL_MAX = 50  # Names of alerts that one regular expression holds.
STOPPING = "the scheduler is being restarted"


class Tsdb(Protocol):
    def query_instant(self, expression: str, time_ms: int, *, lookback_ms: int | None = None) -> QueryAnswer: ...

    def append(self, rows: Sequence[Row]) -> WriteAnswer: ...


class RuleStore:
    """Thread-safe. What it holds of a group is what one rule has just found; what cannot be stored is counted."""

    def __init__(self, tsdb: Tsdb, metrics: Metrics, *, patience_s: float = PATIENCE_S) -> None:
        self._tsdb = tsdb
        self._patience_s = patience_s
        self._stopping = threading.Event()
        self._dropped = metrics.counter("henge_rule_samples_dropped_total", "Samples of rules that were not stored.")
        self._retries = metrics.counter("henge_rule_write_retries_total", "Writes of rules that were tried again.")
        self._dropped.inc(0, reason="store_away")
        self._retries.inc(0)

    def stop(self) -> None:
        """Let nothing wait any more."""
        self._stopping.set()

    def ask(self, expression: str, at_ms: int) -> QueryAnswer:
        if self._stopping.is_set():
            raise NotReady(STOPPING)
        return self._tsdb.query_instant(expression, at_ms)

    def append(self, rows: list[Row]) -> str:
        """Store samples; return when queries find them. Returns: what of them is lost and why, or nothing."""
        deadline_s = time.monotonic() + self._patience_s
        troubles = [
            trouble
            for start in range(0, len(rows), ROWS_OF_A_CALL_MAX)
            if (trouble := self._append_some(rows[start : start + ROWS_OF_A_CALL_MAX], deadline_s))
        ]
        return troubles[0] if troubles else ""

    def _append_some(self, rows: list[Row], deadline_s: float) -> str:
        while True:
            try:
                answer = self._tsdb.append(rows)
            except NotReady as error:
                if self._stopping.is_set() or time.monotonic() >= deadline_s:
                    self._dropped.inc(len(rows), reason="store_away")
                    return f"{len(rows):,} samples were dropped, as the store was away: {error}"
                self._retries.inc()
                self._stopping.wait(RETRY_S)
            except TsdbError as error:
                self._dropped.inc(len(rows), reason="refused")
                return f"{len(rows):,} samples were refused: {error}"
            else:
                break
        for reason, count in answer.refused.items():
            self._dropped.inc(count, reason=reason)
        if not answer.refused:
            return ""
        return f"{sum(answer.refused.values()):,} of {len(rows):,} samples were refused: {answer.first_error}"

    def for_states(self, alerts: Sequence[str], at_ms: int) -> dict[Labels, ForState]:
        """What ALERTS_FOR_STATE said last of alerts of these names, if they have not ended. Raises: TsdbError."""
        names = sorted(set(alerts))
        found: dict[Labels, ForState] = {}
        for start in range(0, len(names), NAMES_OF_A_CALL_MAX):
            pattern = "|".join(re.escape(name) for name in names[start : start + NAMES_OF_A_CALL_MAX])
            selector = f"{ALERTS_FOR_STATE}{{{ALERT_NAME}=~{json.dumps(pattern, ensure_ascii=False)}}}"
            active_s = self._latest(selector, at_ms)
            for labels, seen_s in self._latest(f"timestamp({selector})", at_ms).items():
                # Whoever sends samples may send such a series: no number, or a time to come, is not of ours.
                if 0 <= active_s.get(labels, math.nan) <= at_ms / 1_000:
                    found[labels] = ForState(at_ms=round(1_000 * seen_s), active_at_ms=round(1_000 * active_s[labels]))
        return found

    def _latest(self, expression: str, at_ms: int) -> dict[Labels, float]:
        if self._stopping.is_set():
            raise NotReady(STOPPING)
        rows = rows_of(self._tsdb.query_instant(expression, at_ms, lookback_ms=OUTAGE_TOLERANCE_MS))
        return {tuple(pair for pair in labels if pair[0] != METRIC_NAME): value for labels, value in rows}
