"""Series that are known to have the same times: the same answers as of a column, and bytes counted as they are held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.tsdb.query.fixed_source import FixedSource
from tests.tsdb.query.test_limits import selection
from tsdb.answer import QueryAnswer
from tsdb.query import promql
from tsdb.query.promql import Deadline, Limits
from tsdb.query.promql.ledger import LABELS_BYTES, Ledger
from tsdb.sample import STALE_NAN, Selection, SharedTimes

SERIES_COUNT, SAMPLES_COUNT = 20, 500


def plain(series_count: int = SERIES_COUNT, *, stale_at: int | None = None) -> Selection:
    found = selection(series_count, SAMPLES_COUNT)
    if stale_at is not None:
        found.value[stale_at] = STALE_NAN
    return found


def shared(found: Selection) -> Selection:
    return replace(found, times_ms=SharedTimes(found.timestamp_ms[:SAMPLES_COUNT].copy(), found.series_count))


def listed(answer: QueryAnswer) -> list[object]:
    bits = answer.value.view(np.uint64).tolist()
    return [answer.labels, answer.offsets.tolist(), answer.timestamp_ms.tolist(), bits]


EXPRESSIONS = [
    "m",
    "timestamp(m)",
    "rate(m[1m])",
    "irate(m[1m] offset 35s)",
    "rate(m[5m] @ 2000)",
    "deriv(m[2m])",
    "ts_of_max_over_time(m[45s])",
    "sum by (g) (increase(m[2m]))",
    "max_over_time(rate(m[30s])[5m:20s])",
    "quantile_over_time(0.5, m[70s])",
]


@pytest.mark.parametrize("stale_at", [None, 123])
@pytest.mark.parametrize("series_count", [1, SERIES_COUNT])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_answers_are_those_of_a_column_of_times(expression: str, series_count: int, stale_at: int | None) -> None:
    """Method: with a grid of steps that begins before the samples and ends behind them."""
    found = plain(series_count, stale_at=stale_at)
    answers = [
        promql.range_(expression, -60_000, 5_400_000, 35_000, FixedSource(one)) for one in (found, shared(found))
    ]
    assert listed(answers[1]) == listed(answers[0])


@pytest.mark.parametrize("stale_at", [None, 123])
def test_a_matrix_is_that_of_a_column_of_times(stale_at: int | None) -> None:
    found = plain(stale_at=stale_at)
    answers = [promql.instant("m[1h]", 10_000 * SAMPLES_COUNT, FixedSource(one)) for one in (found, shared(found))]
    assert listed(answers[1]) == listed(answers[0])


def test_shared_times_count_once_until_they_are_written_out() -> None:
    column_bytes = 8 * 400 * SAMPLES_COUNT
    peaks = []
    for one in (shared(plain(400)), plain(400)):
        ledger = Ledger(Limits(), Deadline(None))
        ledger.selected(one)
        peaks.append(ledger.bytes_peak - 400 * LABELS_BYTES)
    assert peaks == [column_bytes, 2 * column_bytes]
    ledger = Ledger(Limits(), Deadline(None))
    promql.instant("m[2h]", 10_000 * SAMPLES_COUNT, FixedSource(shared(plain(400))), ledger=ledger)
    assert ledger.bytes_peak - 400 * LABELS_BYTES >= 2 * column_bytes
