"""What a render request may hold: points at steps, which are counted before they are made.

A step is a second where a series has one, whatever few samples it has; so the points of a long range are many more
than the samples that are read for it, which the ledger counts.
"""

from __future__ import annotations

from tsdb.errors import QueryTooLarge
from tsdb.query.graphite.series import Series
from tsdb.query.promql.ledger import Ledger


class Account:
    """Of one request. ledger: None: nothing is limited, as in a test of one function.

    There are two counts, each of which is limited: of the points that come into being, of samples or of nothing, in
    the whole request; and of those that arguments and targets hold at the same time, for most functions make as many
    again. At 8 B a point, and with what a function makes while it runs, a request holds three times that at most.
    """

    def __init__(self, ledger: Ledger | None = None) -> None:
        self._ledger = ledger
        self._made_count = 0
        self._kept_count = 0

    def make(self, count: int) -> None:
        """So many points more will be made. Raises: QueryTooLarge, and as Ledger.check()."""
        self._made_count += count
        self._check(self._made_count)

    def keep(self, value: object) -> int:
        """An argument, or what a target gives, is held until release(); returns its points. Raises: as make()."""
        count = sum(one.values.size for one in value if isinstance(one, Series)) if isinstance(value, list) else 0
        self._kept_count += count
        self._check(self._kept_count)
        return count

    def release(self, count: int) -> None:
        """So many points are held no longer."""
        self._kept_count -= count

    def _check(self, count: int) -> None:
        if self._ledger is None:
            return
        self._ledger.check()
        most = self._ledger.limits.samples_count_max
        if count > most:
            raise QueryTooLarge(
                f"the targets lead to {count:,} points or more, of at most {most:,}, before maxDataPoints thins them "
                f"out; shorten the range, name fewer series, ask for fewer targets, or raise query.samples_count_max"
            )
