"""From senders' names of series to the store's ids of the current epoch, a column at a time."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tsdb.canonical import CanonicalColumn
from tsdb.errors import RefusedSample, StaleEpoch
from tsdb.ingest.decoded import CanonicalOf, Decoded, Refusals
from tsdb.ingest.raw_names import RawNames
from tsdb.ingest.spelling import Spelling
from tsdb.interface import SERIES_REFUSALS, Ack
from tsdb.lookup import HashLookup, distinct
from tsdb.sample import Int32s, SampleBatch

if TYPE_CHECKING:
    import polars as pl

UInt64s = npt.NDArray[np.uint64]

REFUSED = np.iinfo(np.int32).min  # In place of an id: the name cannot be a series, or the store takes no more of them.
# A name that the store refused, because a limit on series is reached, is not asked for again for so long; only so many
# are kept in mind, at 28 B each.
REFUSALS_KEPT_S = 10.0
REFUSALS_COUNT_MAX = 262_144
# A series may have a name for each door, and a few more. Names without end of the same series, as of a sender whose
# labels come in another order each time, are forgotten, for the store knows their series: 40 MB of them, and then all.
NAMES_PER_SERIES_MAX, NAMES_SPARE_COUNT = 4, 1 << 20
_REFUSED_LAST = REFUSED + len(SERIES_REFUSALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A decoded body as a batch for the store, and what is to be learnt from its answer.

    Invariant: hashes, checks and place have one entry for each unknown name; new_series[place[i]] is that name's
    series. Two names may be one series (`a;b=1;c=2` and `a;c=2;b=1`), hence place.
    """

    epoch: int
    batch: SampleBatch
    new_series: CanonicalColumn
    hashes: UInt64s
    checks: UInt64s
    place: Int32s
    refusals: Refusals


class SeriesRegister:
    """What this process knows of the store's ids: a hash table without the names, about 40 B a name.

    A name is known by two 64-bit hashes under seeds that are drawn at the start and never leave the process, so that
    nobody can prepare two names that look like one. All names unknown here go to the store, which resolves them by
    their key; therefore it does no harm when two batches in flight bring the same new name. Thread-safe.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._lookup = HashLookup()
        self._highest_id = -1  # Of this epoch, whose ids are dense: the store has as many series, or more.
        self._refused = HashLookup()  # For an id: -1 - the number of SERIES_REFUSALS.
        self._refused_since_s = 0.0
        self._words: dict[str, str] = {}  # reason → the store's words
        self._epoch: int | None = None
        self._seeds = (secrets.randbits(64), secrets.randbits(64))

    @property
    def epoch(self) -> int | None:
        return self._epoch

    @property
    def seeds(self) -> tuple[int, int]:
        """Of the hashes of names; for whoever keeps hashes here in this process."""
        return self._seeds

    @property
    def series_count(self) -> int:
        return len(self._lookup)

    def begin(self, epoch: int) -> None:
        """Start on an epoch; the ids of any other are forgotten."""
        with self._lock:
            if epoch != self._epoch:
                self._start(epoch)

    def forget(self, epoch: int) -> None:
        """The store said that this epoch is over."""
        with self._lock:
            if epoch == self._epoch:
                self._start(None)

    def _start(self, epoch: int | None) -> None:
        self._epoch = epoch
        self._lookup.clear()
        self._highest_id = -1
        self._refused.clear()

    def resolve_known(self, decoded: Decoded) -> Resolved | None:
        """The batch, if every name is known; else None, for little work. Raises: StaleEpoch, if no epoch has begun."""
        epoch, ids, _, _ = self._find(decoded)
        if _is_unknown(ids).any():
            return None
        return Resolved(
            epoch=epoch,
            batch=_batch(decoded, ids),
            new_series=CanonicalColumn.of(()),
            hashes=np.empty(0, np.uint64),
            checks=np.empty(0, np.uint64),
            place=np.empty(0, np.int32),
            refusals=self._of_store(decoded, ids),
        )

    def resolve(self, decoded: Decoded) -> Resolved:
        """Give each sample its series id, -1-k for the k-th of the new series; samples of refused names are left out.

        Each unknown name is looked at once. Raises: StaleEpoch, if no epoch has begun.
        """
        epoch, ids, hashes, checks = self._find(decoded)
        refusals = self._of_store(decoded, ids)
        unknown = np.flatnonzero(_is_unknown(ids))
        # In the order in which their sender names them: so what he sends next comes in the order of ids.
        repeated = distinct(hashes[unknown], checks[unknown])
        first = unknown if repeated is None else unknown[repeated.first]
        names = decoded.names if first.size == ids.size else decoded.names.gather(first)
        found = _canonical(names, decoded.canonical_of)
        is_series = found.place >= 0
        new_ids = np.where(is_series, -1 - found.place, REFUSED).astype(np.int32)
        ids[unknown] = new_ids if repeated is None else new_ids[repeated.inverse]
        if found.errors:
            counts = _samples_count(decoded)[unknown]
            if repeated is not None:
                counts = np.bincount(repeated.inverse, weights=counts)
            refusals.merge(_refusals(found.errors, decoded, first, counts))
        return Resolved(
            epoch=epoch,
            batch=_batch(decoded, ids),
            new_series=found.series,
            hashes=hashes[first[is_series]],
            checks=checks[first[is_series]],
            place=found.place[is_series],
            refusals=refusals,
        )

    def _find(self, decoded: Decoded) -> tuple[int, Int32s, UInt64s, UInt64s]:
        hashes, checks = decoded.hashes or _hashes(decoded.names, self._seeds)
        with self._lock:
            if self._epoch is None:
                raise StaleEpoch("no epoch has begun; ask the store for the current one")
            ids = self._lookup.find(hashes, checks)
            if len(self._refused):
                self._mark_refused(ids, hashes, checks)
            return self._epoch, ids, hashes, checks

    def _mark_refused(self, ids: Int32s, hashes: UInt64s, checks: UInt64s) -> None:
        """Put REFUSED + 1 + number in the place of ids that the store refused a moment ago. The lock is held."""
        if self._monotonic_s() - self._refused_since_s >= REFUSALS_KEPT_S:
            self._refused.clear()
            return
        unknown = np.flatnonzero(ids < 0)
        number = self._refused.find(hashes[unknown], checks[unknown])
        ids[unknown] = np.where(number >= 0, REFUSED + 1 + number, ids[unknown])

    def _of_store(self, decoded: Decoded, ids: Int32s) -> Refusals:
        """Count the samples of names that the store refused a moment ago."""
        refusals = Refusals()
        if not ids.size or int(ids.min()) > _REFUSED_LAST:
            return refusals
        count = _samples_count(decoded)
        for number, reason in enumerate(SERIES_REFUSALS.values()):
            is_refused = ids == REFUSED + 1 + number
            if is_refused.any():
                name = decoded.names[int(np.flatnonzero(is_refused)[0])]
                text = name.encode() if isinstance(name, str) else name
                message = self._words.get(reason, reason)
                refusals.add(reason, text, message=message, count=int(count[is_refused].sum()))
        return refusals

    def learn(self, resolved: Resolved, ack: Ack) -> None:
        """Keep the ids that the store gave; names that it refused are asked for again after a while."""
        ids = ack.new_ids[resolved.place]
        with self._lock:
            if ack.epoch != self._epoch or resolved.epoch != self._epoch:
                return
            self._highest_id = max(self._highest_id, int(ids.max(initial=-1)))
            if len(self._lookup) > NAMES_SPARE_COUNT + NAMES_PER_SERIES_MAX * (self._highest_id + 1):
                self._lookup.clear()
            fresh = (ids >= 0) & (self._lookup.find(resolved.hashes, resolved.checks) < 0)
            if fresh.all():
                self._lookup.insert_new(resolved.hashes, resolved.checks, ids)
            else:
                self._lookup.insert_new(resolved.hashes[fresh], resolved.checks[fresh], ids[fresh])
            if (is_refused := ids < 0).any():
                self._keep_refused(resolved.hashes[is_refused], resolved.checks[is_refused], ids[is_refused])
                self._words.update(ack.words)

    def _keep_refused(self, hashes: UInt64s, checks: UInt64s, ids: Int32s) -> None:
        now_s = self._monotonic_s()
        if now_s - self._refused_since_s >= REFUSALS_KEPT_S or not len(self._refused):
            self._refused.clear()
            self._refused_since_s = now_s
        fresh = np.flatnonzero(self._refused.find(hashes, checks) < 0)[: REFUSALS_COUNT_MAX - len(self._refused)]
        self._refused.insert(hashes[fresh], checks[fresh], -1 - ids[fresh])


def _is_unknown(ids: Int32s) -> npt.NDArray[np.bool_]:
    unknown: npt.NDArray[np.bool_] = (ids < 0) & (ids > _REFUSED_LAST)
    return unknown


def _hashes(names: pl.Series | RawNames, seeds: tuple[int, int]) -> tuple[UInt64s, UInt64s]:
    if isinstance(names, RawNames):
        return names.hashes(seeds)
    # polars' hash may change with its version: good here, where nothing outlives the process.
    return names.hash(seeds[0]).to_numpy(), names.hash(seeds[1]).to_numpy()


@dataclass(frozen=True, slots=True)
class _Canonical:
    """Names made series: name i is series[place[i]], or refused with errors[i] where place[i] is -1."""

    series: CanonicalColumn
    place: Int32s
    errors: dict[int, RefusedSample]


def _canonical(names: pl.Series | RawNames, canonical_of: CanonicalOf) -> _Canonical:
    """The series of distinct names: first those of plain names, all at once, then each other by itself.

    Two names of one series may become two of it, which the store gives one id.
    """
    if not isinstance(canonical_of, Spelling):
        return _one_by_one(names.to_list(), canonical_of)
    is_plain, plain = canonical_of.plain(names)
    if is_plain.all():
        return _Canonical(plain, np.arange(len(plain), dtype=np.int32), {})
    crooked = np.flatnonzero(~is_plain)
    others = _one_by_one(names.gather(crooked).to_list(), canonical_of.exact)
    place = np.empty(is_plain.size, np.int32)
    place[is_plain] = np.arange(len(plain), dtype=np.int32)
    place[crooked] = np.where(others.place >= 0, others.place + len(plain), -1)
    errors = {int(crooked[number]): error for number, error in others.errors.items()}
    return _Canonical(CanonicalColumn.joined((plain, others.series)), place, errors)


def _one_by_one(names: list[str] | list[bytes], canonical_of: CanonicalOf) -> _Canonical:
    place_by_series: dict[bytes, int] = {}
    place: list[int] = []
    errors: dict[int, RefusedSample] = {}
    for name in names:
        try:
            canonical = canonical_of(name)
        except RefusedSample as error:
            errors[len(place)] = error
            place.append(-1)
        else:
            place.append(place_by_series.setdefault(canonical, len(place_by_series)))
    return _Canonical(CanonicalColumn.of(list(place_by_series)), np.array(place, np.int32), errors)


def _batch(decoded: Decoded, ids: Int32s) -> SampleBatch:
    series = ids if decoded.name_index is None else ids[decoded.name_index]
    good = series > _REFUSED_LAST
    if good.all():
        return SampleBatch(series=series, timestamp_ms=decoded.timestamp_ms, value=decoded.value)
    return SampleBatch(series=series[good], timestamp_ms=decoded.timestamp_ms[good], value=decoded.value[good])


def _samples_count(decoded: Decoded) -> npt.NDArray[np.int64]:
    """How many samples each name has."""
    if decoded.name_index is None:
        return np.ones(len(decoded.names), np.int64)
    return np.bincount(decoded.name_index, minlength=len(decoded.names))


def _refusals(
    errors: dict[int, RefusedSample],
    decoded: Decoded,
    first: npt.NDArray[np.intp],
    samples_count: npt.NDArray[np.number],
) -> Refusals:
    """Count the samples of refused names. errors: by distinct name; first, samples_count: of each distinct name."""
    refusals = Refusals()
    for number, error in errors.items():
        name = decoded.names[int(first[number])]
        text = name.encode() if isinstance(name, str) else name
        refusals.add(error.reason, text, message=str(error), count=int(samples_count[number]))
    return refusals
