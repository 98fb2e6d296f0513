"""What aggregation rules make: against a plain twin, and the times at which it comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.carbon.aggregation import METHODS, PERCENTILES, Output
from tsdb.ingest.graphite import aggregator
from tsdb.ingest.graphite.aggregator import GRACE_S, Aggregator, Made


def shown(made: Made) -> dict[tuple[str, int], float]:
    found = zip(made.names.to_list(), (made.timestamp_ms // 1_000).tolist(), strict=True)
    rows = dict(zip(found, made.value.tolist(), strict=True))
    assert len(rows) == len(made.value), "an interval came twice"
    return rows


def add(to: Aggregator, *rows: tuple[Output, int, float]) -> int:
    numbers = np.array([to.number_of(output) for output, _, _ in rows], np.int64)
    times_ms = np.array([1_000 * at_s for _, at_s, _ in rows], np.int64)
    return to.add(numbers, times_ms, np.array([value for _, _, value in rows], np.float64))


def wanted(method: str, values: list[float]) -> float:
    plain = {"sum": sum, "min": min, "max": max, "count": len, "last": lambda found: found[-1]}
    if method in PERCENTILES:
        return float(np.percentile(values, 100 * PERCENTILES[method]))
    return float(np.mean(values)) if method == "avg" else float(plain[method](values))


OUTPUTS = [Output(f"{method}.{frequency_s}", frequency_s, method) for method in METHODS for frequency_s in (7, 10)]
ROWS = st.tuples(st.sampled_from(OUTPUTS), st.integers(0, 40), st.integers(-9, 9).map(float))


@given(st.lists(st.lists(ROWS, max_size=30), max_size=6))
def test_every_method_is_that_of_a_plain_twin(batches: list[list[tuple[Output, int, float]]]) -> None:
    to = Aggregator()
    twin: dict[tuple[Output, int], list[float]] = {}
    for batch in batches:
        if batch:
            assert add(to, *batch) == 0
        for output, at_s, value in batch:
            twin.setdefault((output, at_s - at_s % output.frequency_s), []).append(value)
    got = shown(to.take_all())
    assert got.keys() == {(output.name, at_s) for output, at_s in twin}
    for (output, at_s), values in twin.items():
        assert got[output.name, at_s] == pytest.approx(wanted(output.method, values), rel=1e-12, abs=1e-12)


A = Output("a", 10, "sum")


def test_an_interval_comes_once_when_it_has_ended() -> None:
    to = Aggregator()
    to.take_due(95)
    add(to, (A, 101, 1), (A, 109, 2), (A, 110, 4))
    assert shown(to.take_due(109 + GRACE_S)[0]) == {}
    assert shown(to.take_due(110 + GRACE_S)[0]) == {("a", 100): 3}
    assert shown(to.take_due(119 + GRACE_S)[0]) == {}
    assert shown(to.take_due(120 + GRACE_S)[0]) == {("a", 110): 4}
    assert shown(to.take_due(500)[0]) == {}


def test_late_values_come_with_all_of_their_interval_and_after_five_alone() -> None:
    to = Aggregator()
    add(to, (A, 101, 1))
    assert shown(to.take_due(110 + GRACE_S)[0]) == {("a", 100): 1}
    add(to, (A, 102, 2))
    assert shown(to.take_due(119 + GRACE_S)[0]) == {}
    assert shown(to.take_due(150 + GRACE_S)[0]) == {("a", 100): 3}
    to.take_due(160 + GRACE_S)
    add(to, (A, 103, 4))
    assert shown(to.take_due(170 + GRACE_S)[0]) == {("a", 100): 4}


def test_values_of_the_future_do_not_stay_for_ever() -> None:
    to = Aggregator()
    add(to, (A, 9_000, 1))
    assert shown(to.take_due(110)[0]) == {("a", 9_000): 1}
    assert to._rows.key.size == 0


def test_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregator, "OUTPUTS_COUNT_MAX", 2)
    monkeypatch.setattr(aggregator, "ROWS_COUNT_MAX", 3)
    monkeypatch.setattr(aggregator, "VALUES_COUNT_MAX", 2)
    to = Aggregator()
    share = Output("p", 10, "p50")
    assert [to.number_of(each) for each in (A, share, Output("c", 10, "sum"), A)] == [0, 1, -1, 0]
    assert add(to, (share, 1, 1), (share, 2, 3), (share, 3, 100)) == 1
    add(to, (A, 11, 1), (A, 21, 1), (A, 31, 1), (A, 32, 1))
    made, lost_count = to.take_due(1_000)
    assert lost_count == 3  # Of the oldest interval, which had three values.
    assert shown(made) == {("a", 10): 1, ("a", 20): 1, ("a", 30): 2}


def test_outputs_without_intervals_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregator, "OUTPUTS_COUNT_MAX", 4)
    to = Aggregator()
    outputs = [Output(name, 10, method) for name, method in zip("abcd", ("sum", "p50", "max", "p50"), strict=True)]
    add(to, *((each, 1, 5) for each in outputs[:2]))
    to.take_due(500)
    to.take_due(1_000)
    add(to, (outputs[2], 990, 7), (outputs[3], 990, 8))
    assert to.prune()
    assert to.outputs_count == 2
    assert to.number_of(outputs[3]) == 1
    add(to, (outputs[3], 991, 10))
    assert shown(to.take_all()) == {("c", 990): 7, ("d", 990): 9}
    assert not to.prune()
