"""Coarse points by the configured method: of samples, of rollups, and across the border between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from appliance.graphite import METHODS, parse_aggregations
from appliance.retention import parse_schemas
from tsdb.interface import Aggregate, Bounds, Grain
from tsdb.query.graphite.archives import Archives
from tsdb.query.graphite.fetch import StoredSeries
from tsdb.query.graphite.steps import ConfiguredSteps
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import METRIC_NAME, Matcher, Selection

NOW_S = 1_700_006_400
BUCKET_MS = 60_000
FIRST_S = NOW_S - 3 * 3_600  # Of the samples: 10 s apart, and older than raw samples are kept.
STEPS = ConfiguredSteps(parse_schemas('[{"pattern": ".", "retention": "raw:1h,1m:2h,5m:7d", "resolution": "10s"}]'))
_FIGURES = {
    Aggregate.SUM: np.sum,
    Aggregate.COUNT: np.size,
    Aggregate.MIN: np.min,
    Aggregate.MAX: np.max,
    Aggregate.LAST: lambda values: values[-1],
}


class RolledUp(MemorySeries):
    """Before raw_from_ms one sample for each bucket (t - 60 s, t], of one series."""

    raw_from_ms = 0

    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        whole = super().select(matchers, 0, NOW_S * 1_000)
        if not whole.series_count:
            return whole
        ends_ms = -(-whole.timestamp_ms // BUCKET_MS) * BUCKET_MS
        figure = _FIGURES[grain.aggregate if grain else Aggregate.LAST]
        rows = [
            (int(end_ms), float(figure(whole.value[ends_ms == end_ms])))
            for end_ms in np.unique(ends_ms)
            if end_ms < self.raw_from_ms
        ]
        is_raw = ends_ms >= self.raw_from_ms
        rows += zip(whole.timestamp_ms[is_raw].tolist(), whole.value[is_raw].tolist(), strict=True)
        times_ms = np.array([at_ms for at_ms, _ in rows], np.int64)
        kept = (times_ms >= start_ms) & (times_ms <= end_ms)
        value = np.array([number for _, number in rows])[kept]
        offsets = np.array([0, value.size], np.int64)
        return Selection(
            labels=whole.labels,
            offsets=offsets,
            times_ms=times_ms[kept],
            value=value,
            resolution_ms=BUCKET_MS,
            raw_from_ms=self.raw_from_ms,
        )


def points(method: str, factor: str, values: Sequence[float | None], raw_from_s: int, path: str = "a") -> list[float]:
    """The values of steps of five minutes from FIRST_S on; values: one each 10 s, from 5 s behind FIRST_S on."""
    source = RolledUp()
    source.raw_from_ms = 1_000 * raw_from_s
    at = ((1_000 * (FIRST_S + 5 + 10 * index), value) for index, value in enumerate(values))
    source.add({METRIC_NAME: "a"}, [(at_ms, value) for at_ms, value in at if value is not None])
    table = f'[{{"pattern": "^{path}$", "method": "{method}", "x_files_factor": "{factor}"}}]'
    archives = Archives(parse_aggregations(table), STEPS.resolution_s, STEPS.coarser_s)
    storage = StoredSeries(source, NOW_S, STEPS.step_s, archives=archives)
    (found,) = storage.fetch("a", FIRST_S - 300, FIRST_S + 10 * len(values) - 300)
    assert (found.start_s, found.step_s) == (FIRST_S, 300)
    return list(found.values)


VALUES = [float(number % 7 - 2) for number in range(90)]  # Three steps.
WANTED = {
    "average": np.mean,
    "avg_zero": np.mean,
    "sum": np.sum,
    "min": np.min,
    "max": np.max,
    "last": lambda values: values[-1],
    "absmax": lambda values: max(values, key=abs),
    "absmin": lambda values: min(values, key=abs),
}


@pytest.mark.parametrize("raw_from_s", [0, FIRST_S + 361, NOW_S])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_that_of_whisper_whatever_is_left_of_the_samples(method: str, raw_from_s: int) -> None:
    values = [abs(value) + 1 for value in VALUES] if method == "absmin" else VALUES
    wanted = [float(WANTED[method](values[at : at + 30])) for at in (0, 30, 60)]
    assert points(method, "1", values, raw_from_s) == pytest.approx(wanted)


@pytest.mark.parametrize("raw_from_s", [0, FIRST_S + 361, NOW_S])
def test_too_few_fine_points_make_no_coarse_one(raw_from_s: int) -> None:
    values = [1.0] * 14 + [None] * 16 + [1.0] * 15 + [None] * 15 + [1.0] * 30
    assert np.isnan(points("sum", "0.5", values, raw_from_s)).tolist() == [True, False, False]
    assert points("sum", "0", values, raw_from_s) == [14, 15, 30]
    assert points("avg_zero", "0.5", values, raw_from_s)[1:] == [0.5, 1]


@pytest.mark.parametrize("raw_from_s", [0, FIRST_S + 361, NOW_S])
@pytest.mark.parametrize("gap", [6, 30])
def test_imported_points_of_a_coarser_archive_are_whole(gap: int, raw_from_s: int) -> None:
    values = [float(number) if number % gap == 0 else None for number in range(90)]
    wanted = [np.mean([value for value in values[at : at + 30] if value is not None]) for at in (0, 30, 60)]
    assert points("average", "1", values, raw_from_s) == wanted
    assert points("avg_zero", "1", values, raw_from_s) == wanted


def test_as_few_points_as_a_coarser_archive_has_are_too_few_beside_full_and_empty_steps() -> None:
    values = [1.0] * 35 + [None] * 25 + [None] * 30
    assert np.isnan(points("sum", "0.5", values, 0)).tolist() == [False, True, True]


def test_series_that_no_rule_fits_show_the_last_value() -> None:
    assert points("sum", "0", VALUES, 0, path="b")[:2] == [VALUES[29], VALUES[59]]


def test_fine_points_are_left_as_they_are() -> None:
    source = MemorySeries()
    source.add({METRIC_NAME: "a"}, [(1_000 * (NOW_S - 20), 1.0), (1_000 * (NOW_S - 10), 2.0)])
    archives = Archives(
        parse_aggregations('[{"pattern": ".", "x_files_factor": "1"}]'), STEPS.resolution_s, STEPS.coarser_s
    )
    (found,) = StoredSeries(source, NOW_S, STEPS.step_s, archives=archives).fetch("a", NOW_S - 30, NOW_S - 10)
    assert found.values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("{}", "is no list of tables"),
        ("[", "is not JSON"),
        ('[{"method": "sum"}]', "rule 1: has no pattern"),
        ('[{"pattern": "("}]', "rule 1: pattern: the regular expression '(' is wrong"),
        ('[{"pattern": "a", "method": "mean"}]', "there is no method 'mean'; there are average"),
        ('[{"pattern": "a", "x_files_factor": "2"}]', "x_files_factor: '2' is not in 0 … 1"),
        ('[{"pattern": "a", "factor": "1"}]', "there is no field factor; write name, pattern"),
        ('[{"pattern": 1}]', "pattern: '1' is not a text"),
    ],
)
def test_a_wrong_table_is_refused_with_its_number(table: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", "\\(").replace("[", "\\[")):
        parse_aggregations(table)
