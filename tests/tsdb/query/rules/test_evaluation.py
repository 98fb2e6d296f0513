"""Groups of rules from one evaluation to the next: what is written, what ends, what outlives a change or an outage."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tsdb.answer import QueryAnswer
from tsdb.errors import NotReady
from tsdb.query.promql.evaluate import instant
from tsdb.query.rules.alerts import AlertState
from tsdb.query.rules.evaluation import GroupRun, Health
from tsdb.query.rules.file import read_groups
from tsdb.query.rules.memory import MemorySeries
from tsdb.query.rules.model import AlertingRule, RuleGroup
from tsdb.query.rules.restoration import ForState, active_at_ms
from tsdb.sample import Labels, is_stale, labels_from

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
START_MS = 100 * HOUR_MS


@dataclass
class World:
    """Series in memory, with a store that can be away."""

    series: MemorySeries = field(default_factory=MemorySeries)
    writes: list[tuple[Labels, int, float]] = field(default_factory=list)
    is_away: bool = False
    loses: str = ""

    def ask(self, expression: str, at_ms: int) -> QueryAnswer:
        if self.is_away:
            raise NotReady("the store is away")
        return instant(expression, at_ms, self.series)

    def append(self, rows: list[tuple[Labels, int, float]]) -> str:
        if self.loses:
            return self.loses
        self.writes += rows
        for labels, at_ms, value in rows:
            self.series.add(labels, [(at_ms, value)])
        return ""

    def ended(self) -> list[str]:
        """The names of the series that ended, in order, but for pending alerts, which end when they fire."""
        ended = [dict(labels) for labels, _, value in self.writes if is_stale(np.array([value]))[0]]
        return [labels["__name__"] for labels in ended if labels.get("alertstate") != "pending"]

    def run(self, text: str, **limits: int) -> GroupRun:
        (group,) = read_groups(text)
        return GroupRun(group, self.ask, self.append, **limits)


def test_a_rule_sees_what_the_rule_before_it_wrote_at_the_same_time() -> None:
    world = World()
    world.series.add({"__name__": "up", "job": "a"}, [(START_MS - 2 * MINUTE_MS, 3.0)])
    rules = "[{record: twice, expr: 2 * up}, {record: more, expr: timestamp(twice) * 0 + twice + 1}]"
    run = world.run(f"groups: [{{name: a, query_offset: 2m, rules: {rules}}}]")
    run.evaluate(START_MS)
    assert [(dict(labels)["__name__"], at_ms, value) for labels, at_ms, value in world.writes] == [
        ("twice", START_MS - 2 * MINUTE_MS, 6.0),
        ("more", START_MS - 2 * MINUTE_MS, 7.0),
    ]
    assert [state.health for state in run.states] == [Health.OK, Health.OK]


def test_a_rule_that_cannot_be_evaluated_ends_nothing_and_the_next_one_goes_on() -> None:
    world = World()
    world.series.add({"__name__": "up", "job": "a"}, [(START_MS, 1.0)])
    run = world.run("groups: [{name: a, rules: [{record: r, expr: up}, {record: s, expr: '1 + up'}]}]")
    run.evaluate(START_MS)
    world.is_away = True
    run.evaluate(START_MS + MINUTE_MS)
    assert [state.error for state in run.states] == ["the store is away"] * 2
    assert len(world.writes) == 2
    world.is_away = False
    run.evaluate(START_MS + 10 * MINUTE_MS)
    assert world.ended() == ["r", "s"]
    assert [state.health for state in run.states] == [Health.OK, Health.OK]


def test_what_was_not_stored_is_told_and_its_series_ends_later() -> None:
    world = World()
    world.series.add({"__name__": "up", "job": "a"}, [(START_MS, 1.0)])
    run = world.run("groups: [{name: a, rules: [{record: r, expr: up}]}]")
    run.evaluate(START_MS)
    world.loses = "1 sample is lost"
    run.evaluate(START_MS + 10 * MINUTE_MS)
    assert (run.states[0].write_error, run.states[0].health) == ("1 sample is lost", Health.ERR)
    world.loses = ""
    run.evaluate(START_MS + 11 * MINUTE_MS)
    assert world.ended() == ["r"]


def test_a_limit_stops_recording_and_drops_the_alerts() -> None:
    world = World()
    for job in "abc":
        world.series.add({"__name__": "up", "job": job}, [(START_MS, 1.0)])
    text = "groups: [{name: a, rules: [{record: r, expr: up}, {alert: A, expr: up}]}]"
    run = world.run(text, series_count_max=2)
    run.evaluate(START_MS)
    assert [state.error for state in run.states] == [
        "exceeded limit of 2 with 3 series",
        "exceeded limit of 2 with 3 alerts",
    ]
    assert run.states[1].book is not None
    assert run.states[1].book.alerts == []
    assert world.writes == []
    assert world.run(text.replace("name: a", "name: a, limit: 2"), series_count_max=5)._series_count_max == 2


RULE = "{alert: A, expr: up == 0, for: 2m, labels: {severity: page}}"
CHANGES = {  # name: (rules afterwards, the state of the alert afterwards, names of the series that ended)
    "the expression": (f"[{{record: r, expr: up + 1}}, {RULE.replace('== 0', '< 1')}]", "firing", []),
    "the order": (f"[{RULE}, {{record: r, expr: up}}]", "firing", []),
    "a rule more": (f"[{{record: q, expr: up}}, {{record: r, expr: up}}, {RULE}]", "firing", []),
    "the labels": (f"[{{record: r, expr: up}}, {RULE.replace('page', 'warning')}]", "pending", ["ALERTS_FOR_STATE"]),
    "what it gives": (f"[{{record: r, expr: vector(1)}}, {RULE}]", "firing", ["r"]),
    "a name": (f"[{{record: s, expr: up}}, {RULE}]", "firing", ["r"]),
}


@pytest.mark.parametrize(("after", "state", "ended"), CHANGES.values(), ids=CHANGES.keys())
def test_rules_that_are_still_there_keep_their_alerts_and_the_series_of_others_end(
    after: str, state: str, ended: list[str]
) -> None:
    world = World()
    world.series.add({"__name__": "up", "job": "a"}, [(START_MS, 0.0), (START_MS + 2 * MINUTE_MS, 0.0)])
    before = world.run(f"groups: [{{name: a, rules: [{{record: r, expr: up}}, {RULE}]}}]")
    before.evaluate(START_MS)
    changed = world.run(f"groups: [{{name: a, rules: {after}}}]")
    changed.copy_from(before)
    changed.evaluate(START_MS + 2 * MINUTE_MS)
    alerts = [alert for state in changed.states if state.book is not None for alert in state.book.alerts]
    assert [alert.state for alert in alerts] == [state]
    assert world.ended() == ended
    changed.evaluate(START_MS + 3 * MINUTE_MS)
    assert world.ended() == ended, "they end once"


RESTORED = {  # name: (`for`, active before the last sample, outage, active before the end of the outage), in minutes
    "it was firing": (15, 20, 10, 30),
    "it was firing, with a short for": (5, 5, 10, 15),
    "it was pending, with a short for": (5, 4, 10, 0),
    "a restart of two seconds": (5, 4, 1, 5),
    "less than the grace period was left": (15, 10, 20, 5),
    "more than the grace period was left": (60, 10, 20, 10),
    "too long ago": (15, 20, 61, 0),
}


@pytest.mark.parametrize(("hold", "before", "outage", "wanted"), RESTORED.values(), ids=RESTORED.keys())
def test_the_for_of_an_alert_across_an_outage(hold: int, before: int, outage: int, wanted: int) -> None:
    now_ms = START_MS + outage * MINUTE_MS
    known = ForState(START_MS, START_MS - before * MINUTE_MS)
    found = active_at_ms(known, hold_ms=hold * MINUTE_MS, interval_ms=30 * SECOND_MS, now_ms=now_ms)
    assert (now_ms - found) / MINUTE_MS == wanted


def group(**rule: int) -> RuleGroup:
    return RuleGroup(name="a", rules=(AlertingRule(alert="A", expression="up == 0", **rule),))


ALERT = labels_from({"alertname": "A", "job": "a"})


def test_an_alert_that_was_firing_fires_at_the_first_evaluation_after_the_outage() -> None:
    world = World()
    world.series.add({"__name__": "up", "job": "a"}, [(START_MS, 0.0)])
    world.series.add({"__name__": "up", "job": "b"}, [(START_MS, 0.0)])
    run = GroupRun(group(hold_ms=5 * MINUTE_MS), world.ask, world.append)
    book = run.states[0].book
    assert book is not None
    book.recall({ALERT: ForState(START_MS - MINUTE_MS, START_MS - 10 * MINUTE_MS)}, MINUTE_MS)
    run.evaluate(START_MS)
    assert {dict(alert.labels)["job"]: alert.state.value for alert in book.alerts} == {"a": "firing", "b": "pending"}
    assert book.alerts[0].active_at_ms == START_MS - 10 * MINUTE_MS


def test_an_alert_that_fires_on_after_its_series_does_so_across_an_outage() -> None:
    world = World()
    run = GroupRun(group(keep_firing_ms=10 * MINUTE_MS), world.ask, world.append)
    book = run.states[0].book
    assert book is not None
    book.recall({ALERT: ForState(START_MS - 5 * MINUTE_MS, START_MS - 10 * MINUTE_MS)}, MINUTE_MS)
    run.evaluate(START_MS)
    assert [alert.state for alert in book.alerts] == [AlertState.FIRING]
    run.evaluate(START_MS + 5 * MINUTE_MS)
    assert book.alerts == []


@pytest.mark.parametrize(
    ("cost_s", "left_out", "over"),
    [
        pytest.param(3.0, [False, False, False], False, id="the last one has its turn"),
        pytest.param(5.0, [False, False, True], True, id="the last one comes too late"),
        pytest.param(10.0, [False, True, True], True, id="the first one takes it all"),
    ],
)
def test_rules_whose_turn_comes_after_the_limit_are_left_out(cost_s: float, left_out: list[bool], over: bool) -> None:
    world = World()
    world.series.add({"__name__": "up", "job": "a"}, [(START_MS, 1.0)])
    (group,) = read_groups(f"groups: [{{name: g, rules: [{', '.join(['{record: r, expr: up}'] * 3)}]}}]")
    now_s = 100.0

    def ask(expression: str, at_ms: int) -> QueryAnswer:
        nonlocal now_s
        now_s += cost_s
        return world.ask(expression, at_ms)

    run = GroupRun(group, ask, world.append, monotonic_s=lambda: now_s)
    assert run.evaluate(START_MS, time_s_max=10.0) is not over
    assert [state.is_left_out for state in run.states] == left_out
    assert [state.health for state in run.states] == [Health.ERR if out else Health.OK for out in left_out]
    assert len(world.writes) == left_out.count(False)
    now_s = 200.0
    cost_s = 0.0
    assert run.evaluate(START_MS + MINUTE_MS, time_s_max=10.0)
    assert {state.health for state in run.states} == {Health.OK}, "none is left out for ever"


def test_an_alerting_rule_is_broken_off_between_two_alerts_and_its_alerts_stay_as_they_were() -> None:
    world = World()
    for job in range(9):
        world.series.add({"__name__": "up", "job": str(job)}, [(START_MS, 1.0)])
    (group,) = read_groups(
        """groups: [{name: g, rules: [{alert: A, expr: up, annotations: {b: '{{ query "vector(1)" | len }}'}}]}]"""
    )
    now_s = cost_s = 0.0

    def ask(expression: str, at_ms: int) -> QueryAnswer:
        nonlocal now_s
        now_s += cost_s
        return world.ask(expression, at_ms)

    run = GroupRun(group, ask, world.append, monotonic_s=lambda: now_s)
    assert run.evaluate(START_MS, time_s_max=10.0)
    cost_s = 3.0
    assert not run.evaluate(START_MS + MINUTE_MS, time_s_max=10.0)
    assert now_s == 12.0, "the question of the rule and those of three alerts"
    (state,) = run.states
    assert state.error.startswith("broken off after 12.0 s, as an evaluation of its group may take 10 s")
    assert state.book is not None
    assert len(state.book.alerts) == 9
    assert not state.is_left_out


@pytest.mark.parametrize(
    "rule",
    [
        '{record: r, expr: up, labels: {a: b, Z: é, job: ""}}',
        "{alert: A, expr: up, for: 90s, labels: {a: 'of {{ $labels.job }}', Z: é}}",
    ],
)
def test_the_labels_of_series_that_were_written_before_are_not_made_again(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_count = 0

    def counted(pairs: dict[str, str]) -> Labels:
        nonlocal made_count
        made_count += 1
        return labels_from(pairs)

    for module in ("alerts", "evaluation"):
        monkeypatch.setattr(f"tsdb.query.rules.{module}.labels_from", counted)
    world = World()
    for job in ("a", "ü", "\U0001f600"):
        world.series.add({"__name__": "up", "job": job, "host": "h" + job}, [(START_MS, 1.0)])
    run = world.run(f"groups: [{{name: g, rules: [{rule}]}}]")
    written = []
    for minute in range(5):
        made_count = 0
        world.writes.clear()
        run.evaluate(START_MS + minute * MINUTE_MS)
        assert [state.error for state in run.states] == [""]
        written.append([labels for labels, _, value in world.writes if not np.isnan(value)])
        assert all(labels == labels_from(labels) for labels in written[-1])
        assert (made_count == 0) is (minute in (1, 3, 4) if run.states[0].book else minute > 0)
    assert written[4] == written[3]
    assert [id(labels) for labels in written[4]] == [id(labels) for labels in written[3]], "the objects that were there"
