"""What one query may cost, and until when it may run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tsdb.errors import QueryCancelled, QueryTimeout, QueryTooLarge

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Each refusal names the count that was met, and the limit by the name of its field here."""

    series_count_max: int = 200_000
    # Samples read, and cells of any intermediate matrix. Prometheus' default for query.max-samples is the same number.
    samples_count_max: int = 50_000_000
    steps_count_max: int = 11_000  # As in Prometheus: enough for a minute's resolution over a week.
    # Columns and matrices alive at once. Reading 44 M samples comes to this (36 B each, see ledger.py), and so does
    # holding 50 M cells (9 B each) while they become the answer (16 B more, and a copy of what has values).
    bytes_max: int = 1_536 * MIB

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

    def check_bytes(self, count: int) -> None:
        if count > self.bytes_max:
            raise QueryTooLarge(
                f"the query needs {count / MIB:,.1f} MiB of memory at once, of at most "
                f"{self.bytes_max / MIB:,.1f} MiB; narrow the selector, shorten the range or widen the step, "
                f"or raise query.bytes_max"
            )

    def check_steps(self, count: int) -> None:
        """count: of points; between them lies a step less, and as in Prometheus those are limited."""
        if count - 1 > self.steps_count_max:
            raise QueryTooLarge(
                f"exceeded maximum resolution of {self.steps_count_max:,} points per timeseries: the range has "
                f"{count - 1:,} steps. Try decreasing the query resolution (?step=XX), or raise query.steps_count_max"
            )


class Deadline:
    """A moment after which a query gives up, or somebody's word that nobody waits for it any more.

    Looked at between two operations, and within long ones between two blocks; so a query ends within half a second.
    monotonic_s: a clock that never steps. cancel() may be called from any thread, everything else from the query's.
    """

    def __init__(self, timeout_s: float | None, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._monotonic_s = monotonic_s
        self._end_s = None if timeout_s is None else monotonic_s() + timeout_s
        self._is_cancelled = False
        self._turn: threading.Event | None = None

    def check(self, where: str) -> None:
        """Raises: QueryTimeout, when the moment has passed; QueryCancelled."""
        if self._is_cancelled:
            raise QueryCancelled(f"query was canceled in {where}: nobody waits for its answer any more")
        if self._end_s is not None and self._monotonic_s() > self._end_s:
            raise QueryTimeout(
                f"query timed out in {where}: it ran longer than {self._timeout_s:g} s; narrow the selector or the "
                f"range, or give the query a longer timeout (at most query.timeout)"
            )

    def cancel(self) -> None:
        self._is_cancelled = True
        turn = self._turn
        if turn is not None:
            turn.set()

    def wait(self, turn: threading.Event) -> None:
        """Until the event is set, or the deadline has passed, or cancel() was called."""
        self._turn = turn
        if not self._is_cancelled:
            turn.wait(None if self._end_s is None else max(0.0, self._end_s - self._monotonic_s()))
        self._turn = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Choices of PromQL that are settings in Prometheus as well."""

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000  # Where a subquery names none: Prometheus' global evaluation interval.
    # Keep the metric name through functions and drop it from the answer only (Prometheus' feature
    # promql-delayed-name-removal, off by default there too).
    late_name_removal: bool = False
