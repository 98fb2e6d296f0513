"""The alerts of one rule from one evaluation to the next: pending, firing, and gone.

Source: rules/alerting.go of Prometheus 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from tsdb.errors import QueryFailed
from tsdb.query.rules.model import AlertingRule
from tsdb.query.rules.restoration import ForState, active_at_ms
from tsdb.query.rules.template import BadTemplate, ExpansionFailed, Query, Template
from tsdb.sample import METRIC_NAME, Labels, labels_from

ALERT_NAME = "alertname"
ALERT_STATE = "alertstate"
ALERTS, ALERTS_FOR_STATE = "ALERTS", "ALERTS_FOR_STATE"
# Labels and annotations of the alerts of one rule; 50,000 alerts of 600 characters. A template may make 64 Ki of each.
WORDS_CHARACTERS_MAX = 32 << 20
RESOLVED_KEPT_MS = 15 * 60_000  # How long a resolved alert is remembered, so that others learn of its end.

Row = tuple[Labels, float]
"""A series of an answer, and its value."""


class AlertState(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    INACTIVE = "inactive"


@dataclass(slots=True)
class Alert:
    """One series of the rule's expression that is or was there."""

    labels: Labels
    annotations: dict[str, str]
    value: float
    active_at_ms: int
    state: AlertState = AlertState.PENDING
    fired_at_ms: int | None = None
    resolved_at_ms: int | None = None
    keep_firing_since_ms: int | None = None
    written_as: tuple[AlertState, Labels, Labels] | None = None  # Its series, as they were made when the state began.

    def series(self) -> tuple[Labels, Labels]:
        """ALERTS and ALERTS_FOR_STATE of the alert."""
        if self.written_as is None or self.written_as[0] is not self.state:
            labels = dict(self.labels)
            alerts = labels_from({**labels, METRIC_NAME: ALERTS, ALERT_STATE: self.state.value})
            self.written_as = (self.state, alerts, labels_from({**labels, METRIC_NAME: ALERTS_FOR_STATE}))
        return self.written_as[1:]


class AlertBook:
    """The alerts of one rule. external_labels: of the server, for templates. alert_count_max: 0 is none."""

    def __init__(
        self,
        rule: AlertingRule,
        group_labels: Mapping[str, str] | None = None,
        external_labels: Mapping[str, str] | None = None,
        *,
        alert_count_max: int = 0,
    ) -> None:
        self.rule = rule
        self._alert_count_max = alert_count_max
        self._external_labels = dict(external_labels or {})
        self._labels = {name: Template(text) for name, text in {**(group_labels or {}), **rule.labels}.items()}
        self._annotations = {name: Template(text) for name, text in rule.annotations.items()}
        self._alerts: dict[Labels, Alert] = {}
        self._before: Mapping[Labels, ForState] = {}
        self._interval_ms = 0

    @property
    def alerts(self) -> list[Alert]:
        """Those that are pending or firing, by labels."""
        active = (alert for alert in self._alerts.values() if alert.state is not AlertState.INACTIVE)
        return sorted(active, key=lambda alert: alert.labels)

    def evaluate(self, at_ms: int, rows: Iterable[Row], query: Query | None = None) -> list[Row]:
        """Take what the expression gave at a time. Returns: the series ALERTS and ALERTS_FOR_STATE of that time.

        Raises: QueryFailed, if two series become the same alert or the words of all are too long, where nothing has
        changed, or if there are more than alert_count_max, where all are dropped, as in Prometheus.
        """
        found: dict[Labels, Alert] = {}
        characters_count = 0
        for series, value in rows:
            alert = self._made(dict(series), value, at_ms, query)
            if alert.labels in found:
                raise QueryFailed("vector contains metrics with the same labelset after applying alert labels")
            found[alert.labels] = alert
            characters_count += sum(map(len, alert.annotations.values())) + sum(len(text) for _, text in alert.labels)
            if characters_count > WORDS_CHARACTERS_MAX:
                raise QueryFailed(
                    f"labels and annotations of the first {len(found):,} alerts have {characters_count:,} characters, "
                    f"of at most {WORDS_CHARACTERS_MAX:,} of all; let the expression give fewer, or the templates less"
                )
        self._take(found, at_ms)
        active = self._step(at_ms, found)
        if self._alert_count_max and len(active) > self._alert_count_max:
            self._alerts.clear()
            raise QueryFailed(f"exceeded limit of {self._alert_count_max} with {len(active)} alerts")
        return [row for alert in active for row in _rows(alert)]

    def recall(self, before: Mapping[Labels, ForState], interval_ms: int) -> None:
        """What there was before an outage, for alerts that turn up from now on; nothing: the outage is over.

        One that fires on after its series has gone is there again at once; its words come with its series.
        """
        self._before, self._interval_ms = before, interval_ms
        if not self.rule.keep_firing_ms:
            return
        for labels, known in before.items():
            if known.is_firing(self.rule.hold_ms) and labels not in self._alerts:
                self._alerts[labels] = Alert(
                    labels=labels,
                    annotations={},
                    value=math.nan,
                    active_at_ms=known.active_at_ms,
                    state=AlertState.FIRING,
                    fired_at_ms=known.active_at_ms + self.rule.hold_ms,
                    keep_firing_since_ms=known.at_ms,
                )

    def copy_from(self, other: AlertBook) -> None:
        """Go on with the alerts of the same rule, as it was written before."""
        self._alerts = {labels: replace(alert) for labels, alert in other._alerts.items()}
        self._before, self._interval_ms = other._before, other._interval_ms

    def _made(self, series: dict[str, str], value: float, at_ms: int, query: Query | None) -> Alert:
        own = {name: text for name, text in series.items() if name != METRIC_NAME}

        def expanded(templates: Mapping[str, Template]) -> dict[str, str]:
            return {name: self._expanded(template, series, value, query) for name, template in templates.items()}

        labels = {**own, **expanded(self._labels), ALERT_NAME: self.rule.alert}
        labels = {name: text for name, text in labels.items() if text}
        known = self._alerts.get(tuple(sorted(labels.items())))  # Then they were checked when it came.
        checked = labels_from(labels) if known is None else known.labels
        return Alert(checked, expanded(self._annotations), value, at_ms)

    def _expanded(self, template: Template, labels: dict[str, str], value: float, query: Query | None) -> str:
        try:
            return template.expand(labels, value, external_labels=self._external_labels, query=query)
        except (ExpansionFailed, BadTemplate) as error:
            return f"<error expanding template: {error}>"

    def _take(self, found: Mapping[Labels, Alert], at_ms: int) -> None:
        for labels, alert in found.items():
            known = self._alerts.get(labels)
            if known is not None and known.state is not AlertState.INACTIVE:
                known.value, known.annotations = alert.value, alert.annotations
                continue
            if (before := self._before.get(labels)) is not None:
                alert.active_at_ms = active_at_ms(
                    before, hold_ms=self.rule.hold_ms, interval_ms=self._interval_ms, now_ms=at_ms
                )
            self._alerts[labels] = alert

    def _step(self, at_ms: int, found: Mapping[Labels, Alert]) -> list[Alert]:
        """Move every alert on. Returns: those that are active."""
        active = []
        for labels, alert in list(self._alerts.items()):
            if labels not in found:
                if not self._stays(alert, at_ms):
                    self._leave(labels, alert, at_ms)
                    continue
            else:
                alert.keep_firing_since_ms = None
            if alert.state is AlertState.PENDING and at_ms - alert.active_at_ms >= self.rule.hold_ms:
                alert.state, alert.fired_at_ms = AlertState.FIRING, at_ms
            active.append(alert)
        return active

    def _stays(self, alert: Alert, at_ms: int) -> bool:
        """Whether an alert whose series has gone goes on firing."""
        if alert.state is not AlertState.FIRING or not self.rule.keep_firing_ms:
            return False
        if alert.keep_firing_since_ms is None:
            alert.keep_firing_since_ms = at_ms
        return at_ms - alert.keep_firing_since_ms < self.rule.keep_firing_ms

    def _leave(self, labels: Labels, alert: Alert, at_ms: int) -> None:
        is_old = alert.resolved_at_ms is not None and at_ms - alert.resolved_at_ms > RESOLVED_KEPT_MS
        if alert.state is AlertState.PENDING or is_old:
            del self._alerts[labels]
        elif alert.state is AlertState.FIRING:
            alert.state, alert.resolved_at_ms = AlertState.INACTIVE, at_ms


def _rows(alert: Alert) -> list[Row]:
    alerts, for_state = alert.series()
    return [(alerts, 1.0), (for_state, alert.active_at_ms // 1_000)]
