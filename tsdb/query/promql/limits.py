"""What one query may cost, and until when it may run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tsdb.errors import QueryTimeout, QueryTooLarge


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Each refusal names the count that was met, and the limit by the name of its field here."""

    series_count_max: int = 200_000
    # Samples read, and cells of any intermediate matrix: 9 B a cell and a handful of them alive at once, so about
    # 50 M × 9 B × 5 = 2.3 GB at the very worst. Prometheus' default for query.max-samples is the same number.
    samples_count_max: int = 50_000_000
    steps_count_max: int = 11_000  # As in Prometheus: enough for a minute's resolution over a week.

    def check_series(self, count: int) -> None:
        if count > self.series_count_max:
            raise QueryTooLarge(
                f"the query selects {count:,} series of at most {self.series_count_max:,}; "
                f"add label matchers, or raise query.series_count_max"
            )

    def check_samples(self, count: int, what: str = "reads") -> None:
        if count > self.samples_count_max:
            raise QueryTooLarge(
                f"query processing would load too many samples into memory: it {what} {count:,} samples of at most "
                f"{self.samples_count_max:,}; narrow the selector, shorten the range or widen the step, "
                f"or raise query.samples_count_max"
            )

    def check_steps(self, count: int) -> None:
        if count > self.steps_count_max:
            raise QueryTooLarge(
                f"exceeded maximum resolution of {self.steps_count_max:,} points per timeseries: the range has "
                f"{count:,} steps. Try decreasing the query resolution (?step=XX), or raise query.steps_count_max"
            )


class Deadline:
    """A moment after which a query gives up, looked at between two operations.

    monotonic_s: a clock that never steps.
    """

    def __init__(self, timeout_s: float | None, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._monotonic_s = monotonic_s
        self._end_s = None if timeout_s is None else monotonic_s() + timeout_s

    def check(self, where: str) -> None:
        """Raises: QueryTimeout, when the moment has passed."""
        if self._end_s is not None and self._monotonic_s() > self._end_s:
            raise QueryTimeout(
                f"query timed out in {where}: it ran longer than {self._timeout_s:g} s; narrow the selector or the "
                f"range, or give the query a longer timeout"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Choices of PromQL that are settings in Prometheus as well."""

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000  # Where a subquery names none: Prometheus' global evaluation interval.
    # Keep the metric name through functions and drop it from the answer only (Prometheus' feature
    # promql-delayed-name-removal, off by default there too).
    late_name_removal: bool = False
