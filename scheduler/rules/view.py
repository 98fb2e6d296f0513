"""Groups as Prometheus' HTTP API shows them. Pure.

Source of the shape: web/api/v1/api.go of Prometheus 3, `rules` and `alerts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tsdb.errors import RefusedQuery
from tsdb.rules import Alert, AlertingRule, AlertState, GroupRun, Rule, RuleState, formatted, rule_labels

NEVER = "0001-01-01T00:00:00Z"


def query_texts(run: GroupRun) -> list[str]:
    """The expressions of a group's rules in their canonical form."""
    return [_canonical(rule.expression) for rule in run.group.rules]


def group_view(run: GroupRun, *, file: str, interval_ms: int, queries: list[str], duration_s: float) -> dict[str, Any]:
    """queries: what query_texts gave."""
    evaluated_ms = max((state.evaluated_ms for state in run.states if state.evaluated_ms is not None), default=None)
    rules = zip(run.group.rules, run.states, queries, strict=True)
    return {
        "name": run.group.name,
        "file": file,
        "rules": [_rule_view(rule, state, run, query) for rule, state, query in rules],
        "interval": interval_ms / 1_000,
        "limit": run.group.series_count_max,
        "evaluationTime": duration_s,
        "lastEvaluation": _time_text(evaluated_ms),
    }


def trouble_of(
    states: Sequence[RuleState],
    *,
    interval_ms: int,
    duration_s: float,
    missed_count: int,
    time_s_max: float | None,
) -> str:
    """What is wrong with a group as a whole, in words; nothing, if it keeps its times.

    time_s_max: the limit that has ended its last evaluation; None: it came to its end. missed_count: since the start.
    """
    if time_s_max is not None:
        left_out_count = sum(state.is_left_out for state in states)
        return (
            f"the last evaluation was ended after {duration_s:.1f} s, of at most {time_s_max:g} s: "
            f"{left_out_count:,} of {len(states):,} rules were left out; split the group, or look for its slowest rule"
        )
    if duration_s * 1_000 > interval_ms:
        return (
            f"the last evaluation took {duration_s:.1f} s, longer than the interval of {interval_ms / 1_000:g} s: "
            f"evaluations are left out, {missed_count:,} so far"
        )
    return ""


def _rule_view(rule: Rule, state: RuleState, run: GroupRun, query: str) -> dict[str, Any]:
    labels = rule_labels(rule, run.group)
    error = state.error or state.write_error
    tail = {
        "health": state.health.value,
        **({"lastError": error} if error else {}),
        "evaluationTime": state.duration_s,
        "lastEvaluation": _time_text(state.evaluated_ms),
    }
    if not isinstance(rule, AlertingRule):
        shown = {"labels": labels} if labels else {}
        return {"name": rule.name, "query": query, **shown, **tail, "type": "recording"}
    alerts = state.book.alerts if state.book is not None else []
    return {
        "state": _state(alerts),
        "name": rule.name,
        "query": query,
        "duration": rule.hold_ms / 1_000,
        "keepFiringFor": rule.keep_firing_ms / 1_000,
        "labels": labels,
        "annotations": dict(rule.annotations),
        "alerts": [_alert_view(alert) for alert in alerts],
        **tail,
        "type": "alerting",
    }


def _state(alerts: list[Alert]) -> str:
    states = {alert.state for alert in alerts}
    return next((state for state in (AlertState.FIRING, AlertState.PENDING) if state in states), AlertState.INACTIVE)


def _alert_view(alert: Alert) -> dict[str, Any]:
    kept_ms = alert.keep_firing_since_ms
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": alert.state.value,
        "activeAt": _time_text(alert.active_at_ms),
        **({} if kept_ms is None else {"keepFiringSince": _time_text(kept_ms)}),
        "value": value_text(alert.value),
    }


def value_text(value: float) -> str:
    """As Go's strconv.FormatFloat(value, 'e', -1, 64): the fewest digits that read back, and an exponent."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
    return next(text for places in range(17) if float(text := f"{value:.{places}e}") == value)


def _time_text(at_ms: int | None) -> str:
    """RFC 3339, as Go writes it: a fraction only where there is one."""
    if at_ms is None:
        return NEVER
    text = datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{at_ms % 1_000:03}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def _canonical(expression: str) -> str:
    try:
        return formatted(expression)
    except RefusedQuery:
        return expression
