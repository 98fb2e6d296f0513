"""The two doors between the rooms of tsdb: what takes samples, and what gives them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int32s, Int64s, Labels, Matcher, SampleBatch, Selection


@dataclass(frozen=True, slots=True)
class Ack:
    """A batch is in the write-ahead log.

    Invariant: new_ids.size is the number of new series that came with the batch, in their order; a series that the
    store already knew gets the id that it has, one that is over a limit a number of SERIES_REFUSALS, and its samples
    are not stored.
    """

    epoch: int
    new_ids: Int32s
    accepted_count: int
    refused: dict[str, int]  # reason → samples; for example {"too_far_in_future": 3}
    words: dict[str, str] = field(default_factory=dict)  # reason → the limit, its value and its setting, where known


class SampleSink(Protocol):
    def append(self, batch: SampleBatch, new_series: Sequence[bytes], *, epoch: int, now_ms: int) -> Ack:
        """Log and store a batch; new_series are canonical label bytes, meant by the batch's negative ids.

        Raises: StaleEpoch, DiskFull.
        """


SERIES_REFUSALS: Mapping[int, str] = {
    -1: "too_many_series",
    -2: "too_many_series_of_team",
    -3: "too_many_new_series",
}
"""What stands in place of the id of a new series that was refused: the reason under which its samples are counted."""


class Aggregate(StrEnum):
    """What a rollup keeps of the samples of a bucket; docs/format/rollup.md."""

    LAST = "last"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    INCREASE = "increase"


@dataclass(frozen=True, slots=True)
class Condense:
    """Leave to give one sample for several that no window parts: their MIN, MAX, SUM or COUNT, see Selection.weight.

    The windows are (end - range_ms, end] for `count` ends from first_ms on, step_ms apart.
    """

    aggregate: Aggregate
    first_ms: int
    step_ms: int
    count: int
    range_ms: int

    @property
    def stretch_max_ms(self) -> int:
        """What is longer, is parted by the end or the beginning of some window."""
        return max(self.step_ms if self.count > 1 else 0, self.range_ms - (self.count - 1) * self.step_ms)

    def are_whole(self, low_ms: Int64s, high_ms: Int64s) -> npt.NDArray[np.bool_]:
        """By span of time, both ends included, whether each window has all of it or nothing."""
        is_whole = np.ones(low_ms.size, np.bool_)
        for first_ms in (self.first_ms, self.first_ms - self.range_ms):
            # How many windows end, or begin, before a time: an edge parts what is at or before it from what is after.
            low, high = (-((first_ms - time_ms) // self.step_ms) for time_ms in (low_ms, high_ms))
            is_whole &= np.clip(low, 0, self.count) == np.clip(high, 0, self.count)
        return is_whole


@dataclass(frozen=True, slots=True)
class Grain:
    """What a query needs of times whose raw samples are gone: which aggregate, and the coarsest exact resolution.

    condense: what it makes of raw samples, if a source may do a part of that.
    """

    aggregate: Aggregate
    resolution_max_ms: int  # A bucket of this length or a divisor of it answers exactly; 0: the finest there is.
    condense: Condense | None = None


class Bounds(Protocol):
    """What a selection may cost, asked while it is gathered. All raise to end it."""

    def found(self, count: int) -> None:
        """So many samples will be read in all, as far as is known by now; told before they are read."""

    def check(self) -> None:
        """Told now and then: whether somebody still waits."""

    def room(self, count: int) -> AbstractContextManager[None]:
        """So many bytes are needed for a while beside the samples; asked before they are allocated."""


@runtime_checkable
class CodedLabels(Protocol):
    """What Selection.labels may be beside a plain sequence: label sets that need not be decoded to be grouped."""

    def taken(self, index: Int64s) -> Sequence[Labels]:
        """Some of the series; coded labels again."""

    def names(self) -> list[str]:
        """The names of the labels that some of the series have, in no order."""

    def codes(self, name: str) -> tuple[Int32s, list[str]]:
        """The value of one label of each series, as its number in the list; -1 where there is none.

        Each value is in the list once, and some series has it.
        """


class SeriesSource(Protocol):
    def select(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        grain: Grain | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        """The samples of all series that match every matcher, start_ms <= time <= end_ms, both inclusive.

        Series without a sample in the range are left out; order: by labels. grain: what stands for raw samples that
        are gone, see Selection.raw_from_ms; without it, the last sample of each bucket of the finest rollup. bounds:
        asked before samples are read.

        What stands before raw_from_ms are buckets of that aggregate for every series, for a reader weighs them as such;
        resolution_ms is given of an empty selection too, for it says how far to look back.
        """

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        """The label sets that match and may have samples in the range, without reading any sample."""


class ChangeToken(NamedTuple):
    """A moment in the life of a source: which store, after how many changes, and after how many damaged reads."""

    store: int
    sequence: int
    damage_count: int = 0


class Changes(NamedTuple):
    """What has changed since a token, and the token of now.

    Every sample before unchanged_before_ms is what it was, and none was added there; ALL_CHANGED_MS says nothing is
    sure, NONE_CHANGED_MS that everything is as it was.
    """

    token: ChangeToken
    unchanged_before_ms: int


ALL_CHANGED_MS = -(2**63)
NONE_CHANGED_MS = 2**63 - 1


@runtime_checkable
class TellsChanges(Protocol):
    """A source whose answers may be kept."""

    def changes(self, since: ChangeToken | None) -> Changes:
        """What a selection begun from now on may see that one begun before the token did not. None: a first look."""
