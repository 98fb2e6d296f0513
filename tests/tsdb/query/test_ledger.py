"""What a query holds is what its ledger counts, before it is there; and nothing goes on for long without a look up."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc

import numpy as np
import pytest

from tests.tsdb.query.fixed_source import FixedSource
from tests.tsdb.query.test_limits import selection
from tsdb.errors import QueriesBusy, QueryCancelled, QueryTooLarge
from tsdb.query import promql
from tsdb.query.promql import Deadline, Ledger, Limits, Pool

MIB = 2**20
# Three blocks of steps or series and more: 1,500 × 2,000 cells, 1,500 × 360 samples.
SERIES_COUNT, STEP_COUNT, SAMPLES_COUNT = 1_500, 2_000, 360
EXPRESSIONS = [
    "m",
    "-m",
    "round(m, 0.1) * 2",
    "m > 3",
    "m > bool 3",
    "day_of_month(m)",
    "timestamp(m)",
    "sum by (g) (rate(m[1m]))",
    "stddev by (g) (m)",
    "topk(3, m)",
    "quantile by (g) (0.9, m)",
    "count_values('v', round(m / 100))",
    "quantile_over_time(0.9, m[1m])",
    "double_exponential_smoothing(m[1m], 0.5, 0.5)",
    "avg_over_time(m[10m])",
    "max_over_time(m[2m:10s])",
    "m / m",
    "sum by (g) (m) * on (g) group_right () m",
    "m + on (g, i) fill (0) m",
    "m and m > 5",
    "m or m > 5",
    "m unless m > 5",
    "label_replace(m, 'x', '$1', 'i', '(.*)')",
    "histogram_quantile(0.9, label_replace(m, 'le', '$1', 'i', '.*(.)'))",
    "absent_over_time(m[1m])",
]
ENDLESS = Limits(bytes_max=2**40, samples_count_max=10**9)


@pytest.fixture(scope="module")
def source() -> FixedSource:
    return FixedSource(selection(SERIES_COUNT, SAMPLES_COUNT))


def run(expression: str, source: FixedSource, ledger: Ledger) -> None:
    promql.range_(expression, 0, 3_600_000 - 1_800, 1_800, source, ledger=ledger)


class LookedAt(Deadline):
    """Remembers the longest time of our own CPU between two looks."""

    def __init__(self) -> None:
        super().__init__(None)
        self.longest_s = 0.0
        self._last_s = time.thread_time()

    def check(self, where: str) -> None:
        now_s = time.thread_time()
        self.longest_s = max(self.longest_s, now_s - self._last_s)
        self._last_s = now_s


LOOK_EVERY_S = 0.5


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query_uses_no_more_memory_than_its_ledger_counts_and_looks_at_the_clock_twice_a_second(
    expression: str, source: FixedSource
) -> None:
    """So the limit of bytes holds, whatever the expression: two of 50 M cells at once as well, for both are counted."""
    deadline = LookedAt()
    ledger = Ledger(ENDLESS, deadline)
    gc.collect()
    tracemalloc.start()
    try:
        run(expression, source, ledger)
        deadline.check("the end")
        _, used_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The source's own columns are counted, though they were there before.
    own_bytes = SERIES_COUNT * SAMPLES_COUNT * 16
    assert used_bytes <= ledger.bytes_peak - own_bytes + 8 * MIB, (used_bytes / MIB, ledger.bytes_peak / MIB)
    ledger.close()
    assert deadline.longest_s < LOOK_EVERY_S or is_looked_at_in_time(expression, source)


def is_looked_at_in_time(expression: str, source: FixedSource) -> bool:
    """Whether one of three runs is, for on a busy machine an instruction may take several times as long."""
    for _ in range(3):
        deadline = LookedAt()
        run(expression, source, Ledger(ENDLESS, deadline))
        deadline.check("the end")
        if deadline.longest_s < LOOK_EVERY_S:
            return True
    return False


class CancelledLater(Deadline):
    """Cancelled at the n-th look."""

    def __init__(self, look: int) -> None:
        super().__init__(None)
        self._left = look

    def check(self, where: str) -> None:
        self._left -= 1
        if not self._left:
            self.cancel()
        super().check(where)


@pytest.mark.parametrize("look", [1, 3, 5, 8])
def test_a_cancelled_query_ends_at_the_next_look_and_gives_everything_back(look: int, source: FixedSource) -> None:
    pool = Pool(2**40)
    ledger = Ledger(ENDLESS, CancelledLater(look), pool)
    with pytest.raises(QueryCancelled, match="nobody waits"):
        run("sum by (g) (quantile_over_time(0.9, m[1m]))", source, ledger)
    ledger.close()
    gc.collect()
    assert pool.bytes_count <= SERIES_COUNT * SAMPLES_COUNT * 16 + SERIES_COUNT * 8 + 8  # The source's own.


def test_an_array_is_counted_once_and_until_it_is_freed() -> None:
    pool = Pool(100 * MIB)
    ledger = Ledger(Limits(), Deadline(None), pool)
    column = np.zeros(MIB)
    ledger.hold(column, column[::2], np.broadcast_to(column, (5, MIB)), column.reshape(1024, -1)[3:])
    assert ledger.held_bytes == pool.bytes_count == 8 * MIB
    view = column[5:]
    del column
    assert pool.bytes_count == 8 * MIB
    del view
    assert ledger.held_bytes == pool.bytes_count == 0
    assert ledger.bytes_peak == 8 * MIB


def test_room_is_given_back_and_refused_before_it_is_used() -> None:
    pool = Pool(6 * MIB)
    first, second = (Ledger(Limits(bytes_max=4 * MIB), Deadline(None), pool) for _ in range(2))
    with first.room(3 * MIB):
        with pytest.raises(QueryTooLarge, match=r"needs 5\.0 MiB .* at most 4\.0 MiB; .*query\.bytes_max"):
            first.found(2 * MIB // 36 + 1)
        with pytest.raises(QueriesBusy, match=r"hold 3\.0 MiB of at most 6\.0 MiB .* needs 4\.0 MiB more"):
            second.found(4 * MIB // 36)
    second.found(4 * MIB // 36)
    second.close()
    assert pool.bytes_count == 0


def test_two_queries_of_fifty_million_cells_stay_below_the_limit_of_the_process() -> None:
    """The arithmetic of the defaults: what two queries may hold together and 1 GiB for the process itself are 4 GiB."""
    limits = Limits()
    assert 2 * limits.bytes_max + 1_024 * MIB == 4_096 * MIB
    # 50 M cells and their samples as an answer fit; reading 50 M samples to make them would not, and is refused.
    assert 50_000_000 * (9 + 16) < limits.bytes_max < 50_000_000 * 36


def test_a_scaled_down_limit_holds_for_two_queries_at_once(source: FixedSource) -> None:
    """A sixth of the defaults, and 3 M cells (27 MB) in each matrix of both queries: m fits, m / m does not."""
    limits = Limits(bytes_max=260 * MIB)
    pool = Pool(2 * limits.bytes_max)
    outcomes: list[object] = []

    def ask(expression: str) -> None:
        ledger = Ledger(limits, Deadline(None), pool)
        try:
            outcomes.append(run(expression, source, ledger))
        except (QueryTooLarge, QueriesBusy) as error:
            outcomes.append(error)
        finally:
            ledger.close()

    gc.collect()
    tracemalloc.start()
    try:
        for expression in ("m", "m / m", "rate(m[1m])", "sum(m)"):
            threads = [threading.Thread(target=ask, args=(expression,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        _, used_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two sums always fit, two quotients never do: alone too large, beside each other sometimes one too many before.
    assert sum(outcome is None for outcome in outcomes) >= 2, outcomes
    assert sum(isinstance(outcome, QueryTooLarge | QueriesBusy) for outcome in outcomes) >= 2, outcomes
    assert used_bytes <= 2 * limits.bytes_max + 8 * MIB
