"""An answer with kept steps is bit for bit the answer without, whatever came, went or was asked between.

What is summed are whole numbers, or positive ones of few series: how the engine adds depends on whether any step that
is evaluated together has both signs, and so the last bit of a sum on the range, kept steps or not: see
docs/decisions/0009-kept-answers.md.
"""

from __future__ import annotations

import math
import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from appliance.metrics import Metrics
from tests.tsdb.query.cache.telling_source import CodedTelling, TellingSource
from tsdb.answer import QueryAnswer
from tsdb.errors import TsdbError
from tsdb.interface import SeriesSource
from tsdb.query.cache import RangeCache
from tsdb.query.cache.ranges import Asked
from tsdb.query.promql import Deadline, Ledger, Limits, Options, range_
from tsdb.sample import STALE_NAN

STEP_MS = 10_000
NAMES = ("a", "b_total")
SERIES = [{"__name__": name, "x": x, "le": le} for name in NAMES for x in "pq" for le in ("1", "+Inf")]
STALE = float(STALE_NAN)

SELECTORS = st.sampled_from(["a", "b_total", 'a{x="p"}', 'b_total{le="1"}', "gone"])
OFFSETS = st.sampled_from(["", "", "", " offset 25s", " offset -15s", " @ 60", " @ end()"])
RANGES = st.sampled_from(["[30s]", "[1m]", "[7s]"])
BY = st.sampled_from(["", " by (x)", " by (le)", " without (le)"])
OVER_TIME = ["max_over_time", "count_over_time", "last_over_time", "changes", "resets", "absent_over_time"]
SUMMED = st.sampled_from([*OVER_TIME, "sum_over_time"])  # Whole numbers of whole numbers.
BROKEN = st.sampled_from([*OVER_TIME, "rate", "increase", "delta", "irate", "quantile_over_time", "deriv"])


def over_time(name: str, inner: str) -> str:
    return f"quantile_over_time(0.5, {inner})" if name == "quantile_over_time" else f"{name}({inner})"


def grown(inner: st.SearchStrategy[str], over: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """What both kinds of expressions have."""
    return st.one_of(
        st.builds(lambda f, b, e: f"{f}{b}({e})", st.sampled_from(["max", "min", "count", "group"]), BY, inner),
        st.builds(lambda f, b, e: f"{f}{b}(1, {e})", st.sampled_from(["topk", "limitk", "limit_ratio"]), BY, inner),
        st.builds(lambda b, e: f"limit_ratio{b}(0.5, {e})", BY, inner),
        st.builds(lambda e: f'count_values("v", {e})', inner),
        st.builds(lambda f, e: f"{f}({e})", st.sampled_from(["absent", "sort", "abs", "-"]), inner),
        st.builds(lambda e: f'label_replace({e}, "y", "$1", "x", "(.*)")', inner),
        st.builds(lambda f, e, o: over_time(f, f"({e})[1m:15s]{o}"), over, inner, OFFSETS),
        st.builds(
            lambda one, op, other: f"({one}) {op} ({other})",
            inner,
            st.sampled_from(["+", "-", "*", ">", "and", "or", "unless"]),
            inner,
        ),
        st.builds(lambda e, op: f"({e}) {op} 3", inner, st.sampled_from(["+", "<", "== bool"])),
        st.builds(lambda e, f: f"({e}) - {f}", inner, st.sampled_from(["time()", "range()", "end()", "scalar(a)"])),
    )


def whole(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return grown(inner, SUMMED) | st.builds(lambda b, e: f"sum{b}({e})", BY, inner)


def broken(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        grown(inner, BROKEN),
        st.builds(lambda q, e: f"quantile({q}, {e})", st.sampled_from(["0.5", "time() / 200"]), inner),
        st.builds(lambda e: f"histogram_quantile(0.9, {e})", inner),
        st.builds(lambda e: f"timestamp({e})", inner),
        st.builds(lambda e: f"({e}) / 3", inner),
    )


def leaves(over: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    windows = st.builds(lambda f, s, r, o: over_time(f, f"{s}{r}{o}"), over, SELECTORS, RANGES, OFFSETS)
    return st.builds(str.__add__, SELECTORS, OFFSETS) | windows


WHOLE = st.recursive(leaves(SUMMED), whole, max_leaves=3)
EXPRESSIONS = (
    WHOLE
    | st.recursive(leaves(BROKEN), broken, max_leaves=3)
    | st.builds(lambda b, e: f"avg{b}({e})", BY, WHOLE)
    | st.builds(lambda b, s: f"sum{b}(rate({s}[40s]))", BY, SELECTORS)
)


def ledger() -> Ledger:
    return Ledger(Limits(), Deadline(None))


def spelled(answer: QueryAnswer) -> object:
    """Everything of an answer, values by their bits; but nought has one sign, for a sum of one row more loses it, and
    there is one NaN."""
    bits = np.where(np.isnan(answer.value), math.nan, answer.value + 0.0).view(np.uint64).tolist()
    return (
        answer.kind,
        [list(row.items()) for row in answer.labels],
        answer.offsets.tolist(),
        answer.timestamp_ms.tolist(),
        bits,
        answer.warnings,
        answer.infos,
    )


def asked_of(cache: RangeCache | None, source: SeriesSource, asked: Asked) -> object:
    try:
        if cache is not None:
            return spelled(cache.range_(asked, ledger())[0])
        times = (asked.start_ms, asked.end_ms, asked.step_ms)
        return spelled(range_(asked.expression, *times, source, options=asked.options, ledger=ledger()))
    except TsdbError as error:
        return (type(error), str(error))


class World:
    """A source whose newest samples are of now, and a window that moves on with it. seed: of all that happens in it;
    drawn one by one, the samples would be most of an example."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.source = TellingSource()
        self.now_ms = 0
        for _ in range(30):
            self.pass_time()

    def value(self) -> float:
        return self.random.choice([STALE, *map(float, range(10))])

    def pass_time(self) -> None:
        self.now_ms += STEP_MS
        for labels in SERIES:
            if self.random.random() < 0.8:
                self.source.add(labels, [(self.now_ms - self.random.randrange(4) * 1_000, self.value())])

    def disturb(self) -> None:
        labels = self.random.choice(SERIES)
        at_ms = self.random.randrange(self.now_ms)
        match self.random.choice(["nothing", "nothing", "late", "late", "delete", "restart", "new"]):
            case "late":
                self.source.add(labels, [(at_ms, self.value())])
            case "delete":
                self.source.delete(labels, at_ms, at_ms + self.random.randrange(60_000))
            case "restart":
                self.source.log = type(self.source.log)()
            case "new":
                self.source.add({"__name__": "a", "x": "new"}, [(self.now_ms, self.value())])


@given(
    seed=st.integers(0, 2**32),
    expressions=st.lists(EXPRESSIONS, min_size=1, max_size=4),
    lookback_ms=st.sampled_from([300_000, 25_000]),
    span_ms=st.sampled_from([150_000, 200_000, 253_000]),
)
def test_kept_steps_change_no_answer(seed: int, expressions: list[str], lookback_ms: int, span_ms: int) -> None:
    world = World(seed)
    choice = world.random.choice
    source = CodedTelling(world.source) if seed % 2 else world.source
    cache, options = RangeCache(source, 2**20, Metrics()), Options(lookback_ms=lookback_ms)
    for _ in range(5):
        for expression in expressions:
            end_ms = world.now_ms + choice([0, 0, 0, 20_000])
            start_ms = end_ms - choice([span_ms, span_ms, 100_000])
            asked = Asked(expression, start_ms, end_ms, choice([STEP_MS, STEP_MS, 5_000]), options)
            want = asked_of(None, source, asked)
            assert asked_of(cache, source, asked) == want, (asked, "first")
            assert asked_of(cache, source, asked) == want, (asked, "again")
        world.disturb()
        for _ in range(choice([0, 1, 2])):
            world.pass_time()
