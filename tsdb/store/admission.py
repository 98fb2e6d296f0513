"""Which samples of a batch may be stored: pure, and one pass when all of them may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from tsdb.interface import SERIES_REFUSALS
from tsdb.sample import Int32s, SampleBatch
from tsdb.store.columns import Columns


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The times that are stored, both ends included."""

    oldest_ms: int
    latest_ms: int

    def words_of(self, reasons: Iterable[str]) -> dict[str, str]:
        """Of those reasons that are limits on times: the limit, its setting, and the way out."""
        words = {
            "negative_time": "the time is before 1970; send epoch milliseconds or seconds, as the door wants them",
            "too_old": (
                f"the time is before {_stamp(self.oldest_ms)}, and nothing older is kept "
                f"(store.retention, store.schemas); send newer samples, or keep them for longer"
            ),
            "too_far_in_future": (
                f"the time is after {_stamp(self.latest_ms)}, too far ahead of this machine's clock "
                f"(store.future_max); set the clocks right, or raise the setting"
            ),
        }
        return {reason: words[reason] for reason in reasons if reason in words}


@dataclass(frozen=True, slots=True)
class Admitted:
    samples: Columns  # series: ids of the store's epoch
    min_ms: int
    max_ms: int
    refused: dict[str, int]  # reason → samples


def admit(batch: SampleBatch, new_ids: Int32s, series_count: int, limits: TimeLimits) -> Admitted:
    """Put ids in the place of the batch's new series, and leave out what may not be stored.

    new_ids: by the order of the batch's new series; a code of SERIES_REFUSALS for one that was refused. A sample
    is refused for one reason, the first of negative_time, too_old, too_far_in_future and those of its series.

    Raises: ValueError, if the batch names an id that nobody gave out.
    """
    samples = Columns(batch.series, batch.timestamp_ms, batch.value)
    if not len(batch):
        return Admitted(samples, 0, 0, {})
    lowest, highest = int(batch.series.min()), int(batch.series.max())
    if highest >= series_count or lowest < -new_ids.size:
        raise ValueError(
            f"the batch names series {lowest} to {highest}; ids go to {series_count - 1}, "
            f"new series of this batch to {-new_ids.size}"
        )
    if lowest < 0:
        is_new = batch.series < 0
        series = batch.series.copy()
        series[is_new] = new_ids[-1 - batch.series[is_new]]
        samples = samples._replace(series=series)
    min_ms, max_ms = int(batch.timestamp_ms.min()), int(batch.timestamp_ms.max())
    all_in_time = min_ms >= max(0, limits.oldest_ms) and max_ms <= limits.latest_ms
    if all_in_time and (lowest >= 0 or int(samples.series.min()) >= 0):
        return Admitted(samples, min_ms, max_ms, {})
    return _without_refused(samples, limits)


def _without_refused(samples: Columns, limits: TimeLimits) -> Admitted:
    reasons = {
        "negative_time": samples.timestamp_ms < 0,
        "too_old": samples.timestamp_ms < limits.oldest_ms,
        "too_far_in_future": samples.timestamp_ms > limits.latest_ms,
        **{reason: samples.series == code for code, reason in SERIES_REFUSALS.items()},
    }
    keep = np.ones(samples.series.size, np.bool_)
    refused = {}
    for reason, is_refused in reasons.items():
        if count := int(np.count_nonzero(keep & is_refused)):
            refused[reason] = count
            keep &= ~is_refused
    kept = samples.taken(keep)
    if not kept.series.size:
        return Admitted(kept, 0, 0, refused)
    return Admitted(kept, int(kept.timestamp_ms.min()), int(kept.timestamp_ms.max()), refused)


def _stamp(at_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError):  # A limit of years beyond the calendar's.
        return f"{at_ms} ms"
