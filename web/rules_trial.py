"""A rule file tried on what is stored now: what each rule would record, and which alerts it would have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checks.rules import SERIES_COUNT_MAX
from tsdb.answer import QueryAnswer
from tsdb.errors import QueryFailed
from tsdb.rules import AlertingRule, GroupRun, RuleGroup, RuleState
from tsdb.sample import Labels
from web.services import Services

QUERY_TIMEOUT_S = 5.0
TRIAL_TIMEOUT_S = 15.0  # Of all rules together; a person waits.
SERIES_SHOWN_MAX = 20  # Of one rule.


class Trial:
    """One evaluation that writes nothing: rules see what is stored, not what rules before them would record."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._now_ms = services.clock.now_ms()
        self._began_s = services.clock.monotonic_s()
        self._written: list[tuple[Labels, int, float]] = []

    def groups(self, groups: Sequence[RuleGroup]) -> list[dict[str, Any]]:
        """For each rule what it gave, or its error: also when the store cannot be asked."""
        return [{"name": group.name, "rules": self._rules(group)} for group in groups]

    def _rules(self, group: RuleGroup) -> list[dict[str, Any]]:
        found = []
        for rule in group.rules:
            alone = RuleGroup(
                name=group.name,
                rules=(rule,),
                offset_ms=group.offset_ms,
                series_count_max=group.series_count_max,
                labels=group.labels,
            )
            run = GroupRun(alone, self._ask, self._append, series_count_max=SERIES_COUNT_MAX)
            self._written.clear()
            run.evaluate(self._now_ms)
            (state,) = run.states
            shown = {"name": rule.name, "line": rule.line, "error": state.error}
            found.append(shown | (self._alerts(rule, state) if isinstance(rule, AlertingRule) else self._recorded()))
        return found

    def _append(self, rows: list[tuple[Labels, int, float]]) -> str:
        self._written += rows
        return ""

    def _ask(self, expression: str, at_ms: int) -> QueryAnswer:
        left_s = TRIAL_TIMEOUT_S - (self._services.clock.monotonic_s() - self._began_s)
        if left_s <= 0:
            raise QueryFailed(f"not tried: the rules before it took {TRIAL_TIMEOUT_S:g} s already")
        return self._services.tsdb.query_instant(expression, at_ms, timeout_s=min(QUERY_TIMEOUT_S, left_s))

    def _alerts(self, rule: AlertingRule, state: RuleState) -> dict[str, Any]:
        assert state.book is not None
        alerts = [] if state.error else state.book.alerts
        return {
            "type": "alerting",
            "for_s": rule.hold_ms / 1_000,
            "series_count": len(alerts),
            "series": [
                {
                    "labels": dict(alert.labels),
                    "value": alert.value,
                    "annotations": alert.annotations,
                    "state": alert.state.value,
                }
                for alert in alerts[:SERIES_SHOWN_MAX]
            ],
        }

    def _recorded(self) -> dict[str, Any]:
        return {
            "type": "recording",
            "series_count": len(self._written),
            "series": [
                {"labels": dict(labels), "value": value} for labels, _, value in self._written[:SERIES_SHOWN_MAX]
            ],
        }
