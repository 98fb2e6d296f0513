"""Work on whole blocks of series gives what work on each alone gives."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tsdb.query.graphite import naming
from tsdb.query.graphite.context import Context
from tsdb.query.graphite.evaluate import render
from tsdb.query.graphite.fetch import StoredSeries
from tsdb.query.graphite.series import Series, matrix
from tsdb.query.rules.memory import MemorySeries

AT_S = 1_700_000_000 // 3_600 * 3_600


def context() -> Context:
    """Series of two steps, some of which begin late or have gaps."""
    source, random = MemorySeries(), np.random.default_rng(7)
    for index in range(24):
        step_s = (10, 30)[index % 3 == 0]
        times_s = np.arange(AT_S + 40 * (index % 2), AT_S + 1_200, step_s)
        kept = times_s[random.random(times_s.size) < (1.0, 0.8)[index % 4 == 0]]
        samples = [(int(at_s) * 1_000, float(random.normal())) for at_s in kept]
        source.add({"__name__": f"servers.h{index // 4}.g.f{index % 4}"}, samples)
    return Context(
        storage=StoredSeries(source, AT_S + 1_200),
        start_s=AT_S + 90,
        end_s=AT_S + 1_100,
        now_s=AT_S + 1_200,
        zone=ZoneInfo("UTC"),
    )


@pytest.mark.parametrize(
    "ending", ["'60s','avg'", "'45s','sum'", "'70s','max',true", "'100s','median'", "'60s','last'"]
)
@pytest.mark.parametrize("function", ["summarize", "smartSummarize"])
def test_summaries_of_many_series_are_those_of_each(function: str, ending: str) -> None:
    if function == "smartSummarize":
        ending = ending.removesuffix(",true")
    asked = context()
    together = render(asked, f"{function}(servers.*.g.*,{ending})")
    assert len(together) == 24
    for host in range(6):
        for field in range(4):
            (alone,) = render(asked, f"{function}(servers.h{host}.g.f{field},{ending})")
            (same,) = (one for one in together if one.name == alone.name)
            assert (same.start_s, same.end_s, same.step_s) == (alone.start_s, alone.end_s, alone.step_s)
            np.testing.assert_array_equal(same.values, alone.values)


@pytest.mark.parametrize(
    "name",
    [
        "a.b-c.d_1",
        'summarize(a.b.c, "60s", "avg")',
        'scale(a.b, "x)")',
        'template(a.$x, "b")',
        'template(a.b, "b")',
        "scale(a.b,3)",
        "sumSeries(a.*.c)",
        'alias(1.5, "x")',
        "(a.b)",
        "a.b)",
        "f(a.b",
        "not a name.b",
    ],
)
def test_a_usual_name_has_the_path_that_the_grammar_reads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = naming.first_path(name)
    monkeypatch.setattr(naming, "TARGET_SIZE_MAX", 0)  # Nothing is read without the grammar.
    assert quick == naming.first_path(name)


def test_rows_of_one_array_are_a_view_and_others_a_copy() -> None:
    whole = np.arange(60.0).reshape(10, 6)
    series = [Series(str(number), 0, 4, 1, row) for number, row in enumerate(whole[:, 1:5])]
    for some, is_view in (
        (series, True),
        (series[2:7], True),
        (series[::3], True),
        (series[4:5], True),
        (series[::-1], False),
        ([series[0], series[2], series[1], series[3]], False),
        ([*series[:3], Series("other", 0, 4, 1, np.arange(4.0))], False),
        ([*series[:3], Series("shorter", 0, 3, 1, whole[3, 1:4])], False),
    ):
        found = matrix(some)
        assert np.shares_memory(found, whole) is is_view
        for row, one in zip(found, some, strict=True):
            np.testing.assert_array_equal(row[: one.values.size], one.values)
            assert np.isnan(row[one.values.size :]).all()
