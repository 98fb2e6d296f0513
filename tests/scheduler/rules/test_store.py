"""What groups of rules ask of the store, and what becomes of samples that it does not take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from appliance.metrics import Metrics
from checks.rows import Row
from scheduler.rules import store as store_of_rules
from scheduler.rules.store import NAMES_OF_A_CALL_MAX, ROWS_OF_A_CALL_MAX, RuleStore
from tests.scheduler.virtual import MemoryTsdb
from tsdb.answer import QueryAnswer
from tsdb.client import WriteAnswer
from tsdb.errors import NotReady, RefusedSample
from tsdb.rules import ForState
from tsdb.sample import STALE_NAN, labels_from

AT_MS = 1_700_000_000_000
ROW: Row = (labels_from({"__name__": "r"}), AT_MS, 1.0)


@dataclass
class Door:
    """Answers writes with what is in `answers`, the last of it for ever."""

    answers: list[WriteAnswer | Exception]
    written: list[int] = field(default_factory=list)

    def append(self, rows: Sequence[Row]) -> WriteAnswer:
        self.written.append(len(rows))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def query_instant(self, expression: str, time_ms: int, *, lookback_ms: int | None = None) -> QueryAnswer:
        raise AssertionError(expression)


AWAY, TAKEN = NotReady("it starts"), WriteAnswer(accepted_count=1)
WRITES: dict[str, tuple[list[WriteAnswer | Exception], float, str, dict[str, float]]] = {
    "taken": ([TAKEN], 5.0, "", {}),
    "taken at the third attempt": ([AWAY, AWAY, TAKEN], 5.0, "", {}),
    "away": ([AWAY], 0.0, "1 samples were dropped, as the store was away: it starts", {"store_away": 1}),
    "refused": (
        [RefusedSample("too_old", "it is too old")],
        5.0,
        "1 samples were refused: it is too old",
        {"refused": 1},
    ),
    "refused in part": (
        [WriteAnswer(accepted_count=0, refused={"over_team": 1}, first_error="too many series")],
        5.0,
        "1 of 1 samples were refused: too many series",
        {"over_team": 1},
    ),
}


@pytest.mark.parametrize(("answers", "patience_s", "trouble", "dropped"), WRITES.values(), ids=WRITES.keys())
def test_samples_are_offered_again_within_bounds_and_what_is_lost_is_counted(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[WriteAnswer | Exception],
    patience_s: float,
    trouble: str,
    dropped: dict[str, float],
) -> None:
    monkeypatch.setattr(store_of_rules, "RETRY_S", 0.001)
    metrics = Metrics()
    store = RuleStore(Door(list(answers)), metrics, patience_s=patience_s)
    assert store.append([ROW]) == trouble
    samples = [sample for sample in metrics.snapshot() if sample.name == "henge_rule_samples_dropped_total"]
    assert {sample.labels["reason"]: sample.value for sample in samples if sample.value} == dropped


def test_many_samples_go_in_several_calls_and_a_stop_ends_the_waiting() -> None:
    door = Door([TAKEN])
    store = RuleStore(door, Metrics())
    assert store.append([ROW] * (ROWS_OF_A_CALL_MAX + 1)) == ""
    assert door.written == [ROWS_OF_A_CALL_MAX, 1]
    door.answers[:] = [AWAY]
    store.stop()
    assert "dropped" in store.append([ROW])
    with pytest.raises(NotReady, match="restarted"):
        store.ask("up", AT_MS)


def test_the_last_word_about_alerts_is_looked_up_by_their_names() -> None:
    tsdb = MemoryTsdb()
    names = ['a "quoted" \\ (name)', "ended", "old", *(f"n{number}" for number in range(NAMES_OF_A_CALL_MAX))]
    for name in names:
        seen_ms = AT_MS - (3_700_000 if name == "old" else 30_000)
        samples = [(seen_ms - 1, 1_600_000_000.0), (seen_ms, STALE_NAN if name == "ended" else 1_600_000_060.0)]
        tsdb.series.add({"__name__": "ALERTS_FOR_STATE", "alertname": name, "job": "a"}, samples)
    found = RuleStore(tsdb, Metrics()).for_states(names, AT_MS)
    known = ForState(at_ms=AT_MS - 30_000, active_at_ms=1_600_000_060_000)
    wanted = {labels_from({"alertname": name, "job": "a"}): known for name in names if name not in ("ended", "old")}
    assert found == wanted
    assert RuleStore(tsdb, Metrics()).for_states(["n1"], AT_MS).keys() == {labels_from({"alertname": "n1", "job": "a"})}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1.0, AT_MS / 1_000 + 1])
def test_a_state_of_an_alert_that_cannot_be_ours_is_not_believed(value: float) -> None:
    tsdb = MemoryTsdb()
    labels = {"alertname": "n", "job": "a"}
    tsdb.series.add({"__name__": "ALERTS_FOR_STATE", **labels}, [(AT_MS - 30_000, value)])
    assert RuleStore(tsdb, Metrics()).for_states(["n"], AT_MS) == {}
