"""Which series are active, and when the index begins anew with them alone.

Ids are dense and never given back within an epoch, so series that come and go would fill the memory for as long as the
store runs. A flush therefore may end the epoch: the samples that it writes keep their old ids and index until they are
in blocks, everything after it has ids of a new index, in which only active series are. Senders with old ids are told
StaleEpoch, register their series again, and find the active ones in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.store.head import Run, is_present
from tsdb.store.index import SeriesIndex

# A series is active while the head has samples of it, or when it came, or was flushed, in the last hour. The head is
# flushed at least every FLUSH_AFTER_S (2 h), so a series that ends is inactive after 3 h at the latest.
ACTIVE_S = 3_600.0
# The index begins anew when it holds more inactive series than active ones, and at least so many: about 130 B each
# here and 30 B in the intake, so 16 MB, or as much again as the active ones take. Registering the active ones again
# then costs each new series no more than one more registration, on average.
INACTIVE_COUNT_MIN = 100_000
# Counting the active series takes a pass over the head, 20 ms for ten million samples.
CENSUS_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Census:
    """By id of an index: which series are active, and which of them have samples in the head."""

    is_active: npt.NDArray[np.bool_]
    is_present: npt.NDArray[np.bool_]

    @property
    def inactive_count(self) -> int:
        return self.is_active.size - int(np.count_nonzero(self.is_active))

    @property
    def is_crowded(self) -> bool:
        """Whether it is worth it to begin anew."""
        inactive_count = self.inactive_count
        return inactive_count >= max(INACTIVE_COUNT_MIN, self.is_active.size - inactive_count)


def taken_census(index: SeriesIndex, runs: Sequence[Run], now_s: float) -> Census:
    """runs: those of the head. Beside appends: what comes meanwhile is not counted."""
    present = is_present(index, runs)
    return Census(index.is_seen_since(now_s - ACTIVE_S, present.size) | present, present)


def successor(index: SeriesIndex, census: Census, breathe: Callable[[], None]) -> SeriesIndex:
    """An index of the active series alone, ready for queries; built in steps, with a breath after each."""
    begun = index.carried(np.flatnonzero(census.is_active), breathe)
    while begun.index_some():
        breathe()
    return begun
