"""What an alerting rule found, as a result of its check: one instance for each alert. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from checks.members import WHOLE, Member, member_key
from checks.model import INSTANCE_COUNT_MAX, SEVERITY, Instance, Result, State
from checks.probes.options import one_line
from checks.probes.query.probe import label_text
from checks.rules import firing_state
from tsdb.rules import Alert, AlertState, RuleState

WORDS = ("summary", "description")  # Of the annotations, those that a person is told.
WORD_CHARACTERS_MAX = 300
LABELS_CHARACTERS_MAX = 200
NAMED_COUNT_MAX = 3  # Alerts that the one line of output names.


def result_of(rule: RuleState, at_ms: int) -> Result:
    """The result of an alerting rule's check."""
    assert rule.book is not None, rule
    if rule.error:
        text = f"the rule could not be evaluated: {one_line(rule.error, characters_max=400)}"
        return Result(state=State.UNKNOWN, output=text, duration_s=rule.duration_s, at_ms=at_ms)
    alerts = sorted(rule.book.alerts, key=_order)
    shown = tuple(_instance(alert) for alert in alerts[:INSTANCE_COUNT_MAX])
    return Result(
        state=_worst(shown),
        output=_output(alerts, shown),
        duration_s=rule.duration_s,
        at_ms=at_ms,
        instances=shown,
    )


def held(result: Result, members: Mapping[str, Member]) -> Result:
    """A result of the first evaluation after a start: what was a problem before stays one, as it was last told.

    After an outage the series of an alert may come a moment later than its rule; people would be told of its end, and
    at once of its beginning. The next evaluation decides.
    """
    if result.state is State.UNKNOWN:
        return result
    failing = {member_key(instance.labels) for instance in result.instances if instance.state is not State.OK}
    kept = {
        key: Instance(
            labels=member.labels, state=member.machine.state, output=member.output or "as before", value=member.value
        )
        for key, member in members.items()
        if key != WHOLE and key not in failing and member.machine.state not in (State.OK, State.PENDING)
    }
    if not kept:
        return result
    others = [instance for instance in result.instances if member_key(instance.labels) not in kept]
    shown = (*kept.values(), *sorted(others, key=_badness, reverse=True))[:INSTANCE_COUNT_MAX]
    return Result(
        state=_worst(shown),
        output=f"{len(kept)} as before the restart of the scheduler; {result.output}",
        duration_s=result.duration_s,
        at_ms=result.at_ms,
        instances=shown,
    )


def _order(alert: Alert) -> tuple[bool, int, tuple[tuple[str, str], ...]]:
    """Firing ones first, the oldest first: of too many, those that were named stay."""
    return alert.state is not AlertState.FIRING, alert.active_at_ms, alert.labels


def _worst(instances: tuple[Instance, ...]) -> State:
    return max((instance.state for instance in instances), key=SEVERITY.__getitem__, default=State.OK)


def _badness(instance: Instance) -> int:
    return SEVERITY[instance.state]


def _instance(alert: Alert) -> Instance:
    labels = dict(alert.labels)
    state = State.OK
    if alert.state is AlertState.FIRING:
        state = firing_state(labels)
    return Instance(labels=labels, state=state, output=_words(alert), value=alert.value)


def _words(alert: Alert) -> str:
    since_ms = alert.fired_at_ms if alert.state is AlertState.FIRING else alert.active_at_ms
    text = f"{alert.state.value} since {_clock_time(since_ms or alert.active_at_ms)}, value {alert.value:.10g}"
    words = [
        one_line(alert.annotations[name], characters_max=WORD_CHARACTERS_MAX)
        for name in WORDS
        if name in alert.annotations
    ]
    return ": ".join([*(word for word in words if word), text])


def _clock_time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _output(alerts: list[Alert], shown: tuple[Instance, ...]) -> str:
    if not alerts:
        return "no alert: the expression gives nothing"
    firing_count = sum(alert.state is AlertState.FIRING for alert in alerts)
    named_count = min(NAMED_COUNT_MAX, firing_count or len(alerts))
    named = [
        f"{one_line(label_text(instance.labels), characters_max=LABELS_CHARACTERS_MAX)} {instance.output}"
        for instance in shown[:named_count]
    ]
    if len(alerts) > named_count:
        named.append(f"{firing_count:,} firing, {len(alerts) - firing_count:,} pending")
    if len(alerts) > len(shown):
        named.append(f"the first {len(shown)} have a state of their own")
    return "; ".join(named)
