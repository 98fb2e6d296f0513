"""Series in memory, against a twin that keeps every sample in a plain dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.matching import satisfies
from tsdb.query.rules.memory import CAPACITY_MIN, MemorySeries
from tsdb.sample import Labels, Matcher, MatchOp, labels_from

LABELS = [labels_from({"__name__": name, "job": job}) for name in ("up", "down") for job in ("a", "b")]
SAMPLES = st.lists(st.tuples(st.integers(0, 60), st.floats(allow_nan=False)), max_size=2 * CAPACITY_MIN)
MATCHERS = [
    [Matcher("__name__", MatchOp.EQUAL, "up")],
    [Matcher("job", MatchOp.REGEX, "a|c"), Matcher("none", MatchOp.NOT_EQUAL, "x")],
    [Matcher("job", MatchOp.NOT_REGEX, "a.*")],
]


@given(st.lists(st.tuples(st.sampled_from(LABELS), SAMPLES), max_size=8), st.sampled_from(MATCHERS), st.data())
def test_a_selection_holds_what_was_added_last(
    added: list[tuple[Labels, list[tuple[int, float]]]], matchers: list[Matcher], data: st.DataObject
) -> None:
    series, twin = MemorySeries(), dict[Labels, dict[int, float]]()
    for labels, samples in added:
        series.select(matchers, 0, 60)  # What is remembered of one look must not be told at the next.
        series.add(labels, samples)
        twin.setdefault(labels, {}).update(samples)
    start_ms = data.draw(st.integers(0, 60))
    end_ms = data.draw(st.integers(start_ms, 60))
    found = series.select(matchers, start_ms, end_ms)
    wanted = {
        labels: [(at_ms, value) for at_ms, value in sorted(samples.items()) if start_ms <= at_ms <= end_ms]
        for labels, samples in sorted(twin.items())
        if satisfies(labels, matchers)
    }
    bounds = zip(found.offsets[:-1], found.offsets[1:], strict=True)
    columns = [list(zip(found.timestamp_ms[a:b].tolist(), found.value[a:b].tolist(), strict=True)) for a, b in bounds]
    assert dict(zip(found.labels, columns, strict=True)) == {key: samples for key, samples in wanted.items() if samples}
    assert list(found.labels) == sorted(found.labels)
    assert found.value.dtype == np.float64
