"""Checks on metrics: comparisons, for_s, label sets, and answers that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.model import INSTANCE_COUNT_MAX, State
from checks.probes.query.comparison import Comparison, parse_comparison
from checks.probes.query.hold import Held, hold
from tests.checks.probes.probing import bench
from tests.checks.probes.test_push import SteppingClock
from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.errors import NotReady, NotSupported, RefusedQuery


def vector(*samples: tuple[dict[str, str], float]) -> QueryAnswer:
    count = len(samples)
    return QueryAnswer(
        kind=AnswerKind.VECTOR,
        labels=[labels for labels, _ in samples],
        offsets=np.arange(count + 1, dtype=np.int64),
        timestamp_ms=np.zeros(count, np.int64),
        value=np.array([value for _, value in samples], np.float64),
    )


def scalar(value: float) -> QueryAnswer:
    return QueryAnswer(kind=AnswerKind.SCALAR, timestamp_ms=np.zeros(1, np.int64), value=np.array([value]))


class Store:
    """Answers what a test has put in."""

    def __init__(self, answer: QueryAnswer | Exception) -> None:
        self.answer = answer

    async def query_instant(self, expression: str, time_ms: int, *, timeout_s: float) -> QueryAnswer:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


A, B, C = {"host": "a"}, {"host": "b"}, {"__name__": "load", "host": "c"}
LIMITS: dict[str, Any] = {"expression": "load", "warning": "> 80", "critical": "> 90"}
ANSWERS: dict[str, tuple[QueryAnswer | Exception, dict[str, Any], State, str]] = {
    "one series, well": (vector((A, 5)), {}, State.OK, '{host="a"} 5'),
    "one series, warning": (
        vector((A, 85.5)), {}, State.WARNING, '{host="a"} 85.5 is > 80; 1 of 1 label sets are not well',
    ),
    "several, the worst counts": (
        vector((A, 85), (B, 10), (C, 99)), {}, State.CRITICAL,
        'load{host="c"} 99 is > 90; {host="a"} 85 is > 80; 2 of 3 label sets are not well',
    ),
    "several, all well": (vector((A, 1), (B, 2)), {}, State.OK, "all 2 label sets are well"),
    "a scalar": (scalar(95), {}, State.CRITICAL, "95 is > 90"),
    "a scalar, well": (scalar(3), {}, State.OK, "value 3"),
    "only critical is given": (vector((A, 85)), {"warning": ""}, State.OK, '{host="a"} 85'),
    "NaN is over nothing": (vector((A, float("nan"))), {}, State.OK, '{host="a"} nan'),
    "no data": (vector(), {}, State.UNKNOWN, "no data: no series has a sample now that the expression could use"),
    "no data is well": (vector(), {"no_data": "ok"}, State.OK, "no data, which is well for this check"),
    "no data is critical": (
        vector(), {"no_data": "critical"}, State.CRITICAL,
        "no data: no series has a sample now that the expression could use",
    ),
    "too many label sets": (
        vector(*(({"host": str(i)}, 1) for i in range(INSTANCE_COUNT_MAX + 1))), {}, State.UNKNOWN,
        "the expression gives 101 label sets of at most 100; narrow it, or aggregate as in max by (host) (…)",
    ),
    "a matrix": (
        QueryAnswer(kind=AnswerKind.MATRIX), {}, State.UNKNOWN,
        "the expression gives a matrix, which has no single value; wrap it, as in max_over_time(…)",
    ),
    "refused": (
        RefusedQuery("unexpected end of input"), {}, State.UNKNOWN,
        "the expression was refused: unexpected end of input",
    ),
    "not built yet": (
        NotSupported("histogram_quantile"), {}, State.UNKNOWN,
        "the expression was refused: histogram_quantile is not supported yet",
    ),
    "the store is away": (
        NotReady("query did not answer"), {}, State.UNKNOWN, "the store does not answer: query did not answer",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "options", "state", "output"), ANSWERS.values(), ids=ANSWERS.keys())
def test_each_answer(answer: QueryAnswer | Exception, options: dict[str, Any], state: State, output: str) -> None:
    async def main() -> None:
        async with bench(tsdb=Store(answer)) as b:
            result = await b.run("query", **(LIMITS | options))
            assert (result.state, result.output) == (state, output)

    asyncio.run(main())


def test_each_label_set_has_its_state() -> None:
    async def main() -> None:
        async with bench(tsdb=Store(vector((B, 10), (A, 85), (C, 99)))) as b:
            result = await b.run("query", **LIMITS)
            found = [(instance.labels, instance.state, instance.value) for instance in result.instances]
            assert found == [(C, State.CRITICAL, 99), (A, State.WARNING, 85), (B, State.OK, 10)]

    asyncio.run(main())


def test_for_s_waits_and_starts_again_after_a_break() -> None:
    async def main() -> None:
        clock, store = SteppingClock(), Store(vector((A, 95), (B, 1)))
        async with bench(clock=clock, tsdb=store) as b:

            async def look(minutes: float = 0.0) -> tuple[State, str]:
                clock.pass_minutes(minutes)
                result = await b.run("query", for_s=120, **LIMITS)
                return result.state, result.instances[0].output

            assert await look() == (State.OK, "95 is > 90 for 0 s of 120 s")
            assert await look(1) == (State.OK, "95 is > 90 for 60 s of 120 s")
            assert await look(1) == (State.CRITICAL, "95 is > 90 for 120 s")
            store.answer = NotReady("away")
            clock.pass_minutes(1)
            assert (await b.run("query", for_s=120, **LIMITS)).state is State.UNKNOWN
            store.answer = vector((A, 85), (B, 1))
            assert await look(1) == (State.WARNING, "85 is > 80 for 240 s")  # It was never below the warning.
            store.answer = vector((A, 5), (B, 1))
            assert (await look(1))[0] is State.OK
            store.answer = vector((A, 95), (B, 1))
            assert await look(1) == (State.OK, "95 is > 90 for 0 s of 120 s")
            store.answer = vector((B, 1))
            await look(1)
            store.answer = vector((A, 95), (B, 1))
            assert (await look(2))[0] is State.OK  # It was away: a break too.

    asyncio.run(main())


def test_a_wall_clock_that_steps_changes_no_for_s() -> None:
    async def main() -> None:
        clock, store = SteppingClock(), Store(vector((A, 95)))
        async with bench(clock=clock, tsdb=store) as b:
            await b.run("query", for_s=120, **LIMITS)
            clock.wall_ms += 86_400_000
            assert (await b.run("query", for_s=120, **LIMITS)).state is State.OK
            clock.pass_minutes(2)
            assert (await b.run("query", for_s=120, **LIMITS)).state is State.CRITICAL
            b.toolbox.forget("c1")
            assert (await b.run("query", for_s=120, **LIMITS)).state is State.OK

    asyncio.run(main())


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), st.integers(0, 5))
def test_hold_agrees_with_looking_back(steps: Sequence[tuple[bool, bool]], for_steps: int) -> None:
    """The dumb twin: a state has held, if it held at each of the last for_s looks and now. Looks are 1 s apart."""
    held = Held()
    for now, (is_warning, is_critical) in enumerate(steps):
        state, held = hold(
            held, is_warning=is_warning, is_critical=is_critical, now_s=float(now), for_s=float(for_steps)
        )
        past = steps[max(0, now - for_steps) : now + 1]
        is_long_enough = now >= for_steps
        wanted = State.OK
        if is_long_enough and all(warning for warning, _ in past):
            wanted = State.WARNING
        if is_long_enough and all(critical for _, critical in past):
            wanted = State.CRITICAL
        assert state is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("> 90", Comparison(">", 90)),
        (" <=-1.5e3 ", Comparison("<=", -1500)),
        ("==0", Comparison("==", 0)),
        ("!= 1", Comparison("!=", 1)),
        (">=+Inf", Comparison(">=", float("inf"))),
    ],
)
def test_comparisons(text: str, wanted: Comparison) -> None:
    assert parse_comparison(text) == wanted


@pytest.mark.parametrize("text", ["90", "> ", "=> 90", "> 9 0", "> ninety", "> nan", "", "= 5"])
def test_bad_comparisons(text: str) -> None:
    with pytest.raises(ValueError, match=r"comparison|number"):
        parse_comparison(text)
