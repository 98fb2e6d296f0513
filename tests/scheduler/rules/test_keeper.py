"""Groups of rules in the whole scheduler, in virtual time: when they run, what checks and people are told of them."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.state.mutations import DeleteDocument, Mutation, PutDocument
from checks.model import Result, State
from checks.rules import KIND, RulesDocument, alert_check_id, groups_of
from scheduler.rules.verdict import result_of
from tests.scheduler.virtual import START_MS, VirtualClock, World, run, virtual_time
from tsdb.query.promql.evaluate import instant
from tsdb.rules import AlertingRule, RuleState
from tsdb.sample import STALE_NAN, labels_from

MINUTE_S = 60.0
DOCUMENT_ID = "0123456789abcdef"
UP = labels_from({"__name__": "up", "host": "a"})


@pytest.fixture(name="clock")
def clock_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    with virtual_time(monkeypatch) as clock:
        yield clock


def text_of(rules: str, interval: str = "10s", name: str = "g") -> str:
    return f"groups: [{{name: {name}, interval: {interval}, rules: {rules}}}]"


class Rules:
    """Rule files in the state, each alerting rule with its check."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.check_ids: list[str] = []

    def write(self, text: str, *, paused: bool = False) -> None:
        document = RulesDocument(id=DOCUMENT_ID, name="file", team="default", text=text, channels=("hook",))
        places = [
            (group, place)
            for group in groups_of(document)
            for place, rule in enumerate(group.rules)
            if isinstance(rule, AlertingRule)
        ]
        check_ids = [alert_check_id(DOCUMENT_ID, group, place) for group, place in places]
        mutations: list[Mutation] = [
            DeleteDocument(kind="check", id=gone) for gone in self.check_ids if gone not in check_ids
        ]
        for check_id, (group, place) in zip(check_ids, places, strict=True):
            body = {
                "kind": "query",
                "name": group.rules[place].name,
                "options": {"expression": group.rules[place].expression},
                "channels": ["hook"],
                "rules": DOCUMENT_ID,
                "paused": paused,
            }
            mutations.append(PutDocument(kind="check", id=check_id, body=body))
        body = {"name": "file", "team": "default", "text": text, "channels": ["hook"], "paused": paused}
        self.check_ids = check_ids
        self.world.state.put([*mutations, PutDocument(kind=KIND, id=DOCUMENT_ID, body=body)])

    def delete(self) -> None:
        gone = [DeleteDocument(kind="check", id=check_id) for check_id in self.check_ids]
        self.world.state.put([*gone, DeleteDocument(kind=KIND, id=DOCUMENT_ID)])
        self.check_ids = []

    def latest(self) -> dict[str, Any]:
        """The body of the latest result of the first check."""
        document = self.world.state.get("result", self.check_ids[0])
        return {} if document is None else dict(document.body)

    def view(self) -> list[dict[str, Any]]:
        assert self.world.engine is not None
        return self.world.engine.rules.view()

    def value(self, expression: str) -> list[float]:
        answer = instant(expression, self.world.clock.now_ms(), self.world.tsdb.series)
        return [float(value) for value in answer.value]


def world_of(clock: VirtualClock) -> tuple[World, Rules]:
    world = World(clock)
    world.add_channel()
    return world, Rules(world)


async def feed(world: World, value: float, for_s: float) -> None:
    """A sample of `up` each second."""
    for _ in range(round(for_s)):
        world.tsdb.series.add(UP, [(world.clock.now_ms(), value)])
        await asyncio.sleep(1)


def counted(world: World, name: str) -> float:
    return sum(sample.value for sample in world.metrics.snapshot() if sample.name == name)


def test_a_group_is_evaluated_at_its_own_times_and_a_rule_sees_the_one_before_it(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{record: r, expr: up}, {record: s, expr: timestamp(r) - time() + r}]"))
        await world.start()
        await feed(world, 3.0, 65)
        times = sorted({at_ms for _, at_ms in world.tsdb.asked})
        assert [after - before for before, after in itertools.pairwise(times)] == [10_000] * (len(times) - 1)
        assert len(times) in (6, 7)
        assert len({at_ms % 10_000 for at_ms in times}) == 1
        assert rules.value("s") == [3.0], "of the same time as what it was made of"
        assert counted(world, "henge_rule_evaluations_total") == 2 * len(times)
        assert counted(world, "henge_rule_group_iterations_missed_total") == 0

    run(clock, story())


def test_an_alert_pends_fires_and_ends_and_people_are_told_once_each(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(
            text_of('[{alert: Down, expr: up == 0, for: 30s, annotations: {summary: "{{ $labels.host }} is down"}}]')
        )
        await world.start()
        await feed(world, 1.0, 15)
        assert rules.latest()["state"] == "ok"
        await feed(world, 0.0, 15)
        assert (rules.latest()["state"], rules.view()[0]["rules"][0]["state"]) == ("ok", "pending")
        assert "pending since" in rules.latest()["output"]
        await feed(world, 0.0, 30)
        assert (rules.latest()["state"], rules.latest()["state_type"]) == ("critical", "hard")
        assert rules.view()[0]["rules"][0]["state"] == "firing"
        assert world.phone.events("Down") == ["alert"]
        await feed(world, 1.0, 15)
        assert world.phone.events("Down") == ["alert", "resolved"]
        (incident,) = world.state.list("incident")
        assert incident.body["instance"] == {"alertname": "Down", "host": "a"}
        assert "a is down: firing since" in world.phone.took[0][2]["output"]
        assert world.engine is not None
        assert world.engine.stats()["run_count"] == 0, "no probe runs"

    run(clock, story())


def test_an_alert_that_ends_beside_others_is_over_at_once(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{alert: Down, expr: up == 0}]"))
        await world.start()
        other = labels_from({"__name__": "up", "host": "b"})
        world.tsdb.series.add(other, [(clock.now_ms(), 0.0)])
        await feed(world, 0.0, 15)
        assert world.phone.events("Down") == ["alert", "alert"]
        world.tsdb.series.add(other, [(clock.now_ms(), 1.0)])
        await feed(world, 0.0, 15)
        assert world.phone.events("Down") == ["alert", "alert", "resolved"]
        assert [instance["labels"]["host"] for instance in rules.latest()["instances"]] == ["a"]

    run(clock, story())


@pytest.mark.parametrize("outage_s", [2, 1_200])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_firing_alert_fires_on_across_a_restart(clock: VirtualClock, outage_s: int, is_late: bool) -> None:
    """is_late: the series come a moment later than the first evaluation, as when all of the appliance starts."""

    async def story() -> None:
        world, rules = world_of(clock)
        labels = '{area: web, where: "at {{ $labels.host }}"}'
        rules.write(text_of(f"[{{alert: Down, expr: up == 0, for: 1m, labels: {labels}}}]", interval="30s"))
        await world.start()
        await feed(world, 0.0, 125)
        assert world.phone.events("Down") == ["alert"]
        await world.kill()
        await asyncio.sleep(outage_s)
        if is_late:
            world.tsdb.series.add(UP, [(clock.now_ms(), STALE_NAN)])
        await world.start()
        await asyncio.sleep(31 if is_late else 0)
        await feed(world, 0.0, 95)
        assert world.phone.events("Down") == ["alert"], "neither its end nor its beginning is told again"
        assert rules.latest()["state"] == "critical"
        if not is_late:
            (alert,) = rules.view()[0]["rules"][0]["alerts"]
            assert alert["activeAt"] < "2027-01-15T08:01"

    run(clock, story())


def test_an_alert_that_ended_while_no_scheduler_ran_is_told_after_the_second_evaluation(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{alert: Down, expr: up == 0}]"))
        await world.start()
        await feed(world, 0.0, 15)
        await world.kill()
        await world.start()
        await feed(world, 1.0, 30)
        assert world.phone.events("Down") == ["alert", "resolved"]

    run(clock, story())


def test_a_changed_file_restarts_only_the_groups_that_changed(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        alert = "{alert: Down, expr: up == 0, for: 40s}"
        groups = "groups:\n- {name: one, interval: 10s, rules: [%s]}\n- {name: two, interval: 10s, rules: [%s]}"
        rules.write(groups % (alert, "{record: r, expr: up}"))
        await world.start()
        await feed(world, 0.0, 25)
        assert world.engine is not None
        before = dict(world.engine.rules._groups[DOCUMENT_ID])
        rules.write("# a comment\n" + groups % (alert + ", {record: q, expr: up}", "{record: r, expr: up}"))
        await feed(world, 0.0, 15)
        after = world.engine.rules._groups[DOCUMENT_ID]
        assert after["two"] is before["two"]
        assert after["one"] is not before["one"]
        assert [rule["state"] for rule in rules.view()[0]["rules"] if "state" in rule] == ["pending"]
        await feed(world, 0.0, 15)
        assert rules.latest()["state"] == "critical", "it has been so since before the change"
        rules.write(groups % (alert, "{record: s, expr: up}"))
        await feed(world, 0.0, 15)
        assert rules.value("r") == rules.value("q") == [], "series of rules that are gone have ended"
        assert world.phone.events("Down") == ["alert"]

    run(clock, story())


def test_a_deleted_file_ends_its_series_and_its_alerts(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{record: r, expr: up}, {alert: Down, expr: up == 0}]"))
        await world.start()
        await feed(world, 0.0, 15)
        assert rules.value("r") == [0.0]
        assert rules.value("ALERTS") == [1.0]
        rules.delete()
        await feed(world, 0.0, 25)
        assert rules.view() == []
        assert rules.value("r") == rules.value("ALERTS") == rules.value("ALERTS_FOR_STATE") == []
        assert world.phone.events("Down") == ["alert", "resolved"]
        asked_count = len(world.tsdb.asked)
        await feed(world, 0.0, 25)
        assert len(world.tsdb.asked) == asked_count
        names = {sample.name for sample in world.metrics.snapshot() if sample.labels.get("rule_group")}
        assert names == set()

    run(clock, story())


def test_the_series_of_a_renamed_group_go_on(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{record: r, expr: up}]"))
        await world.start()
        await feed(world, 1.0, 15)
        rules.write(text_of("[{record: r, expr: up}]", name="other"))
        for _ in range(40):
            await feed(world, 1.0, 1)
            assert rules.value("r") == [1.0]

    run(clock, story())


def test_a_paused_file_is_not_evaluated(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{alert: Down, expr: up == 0}]"), paused=True)
        await world.start()
        await feed(world, 0.0, 25)
        assert (world.tsdb.asked, rules.view(), rules.latest()) == ([], [], {})
        assert world.engine is not None
        result = await world.engine.run_now(rules.check_ids[0])
        assert result is not None
        assert "paused" in result.output

    run(clock, story())


def test_running_a_check_now_evaluates_its_group(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        await world.start()
        world.tsdb.series.add(UP, [(clock.now_ms(), 0.0)])
        rules.write(text_of("[{alert: Down, expr: up == 0, labels: {severity: warning}}]", interval="1h"))
        assert world.engine is not None
        result = await world.engine.run_now(rules.check_ids[0])
        assert result is not None
        assert (result.state, rules.latest()["state"]) == (State.WARNING, "warning")

    run(clock, story())


def test_while_the_store_is_away_the_check_is_unknown_and_nobody_is_told_at_once(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{record: r, expr: up}, {alert: Down, expr: up == 0}]"))
        await world.start()
        await feed(world, 0.0, 15)
        world.tsdb.is_away = True
        await asyncio.sleep(20)
        assert (rules.latest()["state"], rules.latest()["state_type"]) == ("unknown", "soft")
        assert rules.view()[0]["rules"][1]["health"] == "err"
        assert rules.view()[0]["rules"][1]["lastError"] == "the query process is away"
        assert counted(world, "henge_rule_evaluation_failures_total") == 4
        world.tsdb.is_away = False
        await feed(world, 0.0, 15)
        assert world.phone.events("Down") == ["alert"]

    run(clock, story())


BROKEN = {  # Bodies of documents that nobody could have saved through the API.
    "no rule file": {"name": "broken", "text": "groups: [{rules: 1}]"},
    "no text": {"name": "broken"},
    "an unknown field": {"name": "broken", "text": "groups: []", "more": 1},
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_cannot_be_read_stops_no_other_and_can_be_mended_or_deleted(
    clock: VirtualClock, body: dict[str, Any]
) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        world.state.put([PutDocument(kind=KIND, id="0000000000000000", body=body)])
        rules.write(text_of("[{record: r, expr: up}]"))
        await world.start()
        await feed(world, 1.0, 15)
        assert rules.value("r") == [1.0]
        mended = {"name": "broken", "text": text_of("[{record: q, expr: up}]")}
        world.state.put([PutDocument(kind=KIND, id="0000000000000000", body=mended)])
        await feed(world, 1.0, 15)
        assert rules.value("q") == [1.0]
        world.state.put([PutDocument(kind=KIND, id="0000000000000000", body=body)])
        await feed(world, 1.0, 15)
        assert [group["file"] for group in rules.view()] == ["broken", "file"], "what it said before stays"
        world.state.put([DeleteDocument(kind=KIND, id="0000000000000000")])
        await feed(world, 1.0, 15)
        assert [group["file"] for group in rules.view()] == ["file"]

    run(clock, story())


def test_a_mistake_in_one_group_stops_no_other_and_the_next_evaluation_tries_again(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times_ms: list[int] = []

    def fail_first(rule: RuleState, at_ms: int) -> Result:
        times_ms.append(at_ms)
        assert len(times_ms) > 1, "a mistake of ours"
        return result_of(rule, at_ms)

    async def story() -> None:
        world, rules = world_of(clock)
        monkeypatch.setattr("scheduler.rules.group.result_of", fail_first)
        groups = "groups: [{name: a, interval: 10s, rules: [%s]}, {name: b, interval: 10s, rules: [%s]}]"
        rules.write(groups % ("{alert: Down, expr: up}", "{record: r, expr: up}"))
        await world.start()
        await feed(world, 1.0, 25)
        assert rules.value("r") == [1.0]
        assert len(times_ms) >= 2
        assert rules.latest()["state"] == "critical"

    run(clock, story())


def test_the_clock_may_be_set_back(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{record: r, expr: up}]"))
        await world.start()
        await feed(world, 1.0, 15)
        clock.stepped_ms = -3_600_000
        count = len(world.tsdb.asked)
        await feed(world, 1.0, 40)
        assert len(world.tsdb.asked) - count in (2, 3, 4)
        assert clock.now_ms() < START_MS

    run(clock, story())


def slow(world: World, duration_s: float) -> None:
    """From now on each question takes so long."""
    world.tsdb.before_answer = lambda: world.clock.spend(duration_s)


def test_times_that_pass_while_a_group_is_evaluated_are_missed_counted_and_told(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{record: r, expr: up}]"))
        await world.start()
        await feed(world, 1.0, 15)
        assert rules.view()[0]["trouble"] == ""
        slow(world, 25.0)
        world.tsdb.asked.clear()
        await feed(world, 1.0, 70)
        times = [at_ms for _, at_ms in world.tsdb.asked]
        gaps = [(after - before) // 10_000 for before, after in itertools.pairwise(times)]
        assert gaps, "it goes on"
        assert set(gaps) <= {2, 3}
        slow(world, 0.0)
        await feed(world, 1.0, 20)
        missed_count = sum(gap - 1 for gap in gaps)
        assert counted(world, "henge_rule_group_iterations_missed_total") in (missed_count + 1, missed_count + 2)
        assert counted(world, "henge_rule_group_iterations_over_time_total") == 0
        assert rules.view()[0]["trouble"] == ""

    run(clock, story())


def test_an_evaluation_that_takes_longer_than_its_interval_says_so(clock: VirtualClock) -> None:
    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(text_of("[{record: r, expr: up}, {record: s, expr: up}]"))
        await world.start()
        slow(world, 12.5)
        await feed(world, 1.0, 40)
        before, _, count = rules.view()[0]["trouble"].partition(": evaluations are left out, ")
        assert before == "the last evaluation took 25.0 s, longer than the interval of 10 s"
        assert re.fullmatch("[1-9][0-9]* so far", count)

    run(clock, story())


def test_a_group_that_takes_too_long_is_ended_and_the_rules_that_had_no_turn_say_so(clock: VirtualClock) -> None:
    """Three places are shared by all groups, so none may have one for ever."""

    async def story() -> None:
        world, rules = world_of(clock)
        rules.write(
            text_of("[{record: a, expr: up}, {record: b, expr: up}, {record: c, expr: up}, {alert: D, expr: up}]")
        )
        await world.start()
        world.tsdb.series.add(UP, [(clock.now_ms(), 1.0)])
        await feed(world, 1.0, 12)
        slow(world, 31.0)
        await asyncio.sleep(12)
        (group,) = rules.view()
        assert group["trouble"] == (
            "the last evaluation was ended after 62.0 s, of at most 60 s: 2 of 4 rules were left out; "
            "split the group, or look for its slowest rule"
        )
        assert [rule["health"] for rule in group["rules"]] == ["ok", "ok", "err", "err"]
        left_out = "left out, as 62.0 s had gone before its turn, and an evaluation of its group may take 60 s; "
        assert group["rules"][2]["lastError"].startswith(left_out)
        assert group["rules"][2]["lastEvaluation"] < group["rules"][1]["lastEvaluation"]
        assert counted(world, "henge_rule_group_iterations_over_time_total") >= 1
        assert counted(world, "henge_rule_evaluations_left_out_total") == 2 * counted(
            world, "henge_rule_group_iterations_over_time_total"
        )
        assert counted(world, "henge_rule_evaluation_failures_total") == 0
        await asyncio.sleep(2)  # Until it is written.
        assert rules.latest()["state"] == "unknown"
        assert "could not be evaluated: left out" in rules.latest()["output"]
        slow(world, 0.0)
        await feed(world, 1.0, 25)
        (group,) = rules.view()
        assert (group["trouble"], {rule["health"] for rule in group["rules"]}) == ("", {"ok"})
        assert rules.latest()["state"] == "critical"

    run(clock, story())
