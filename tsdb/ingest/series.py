"""Series with their labels spelled out, gathered into columns: for the doors where labels come as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import polars as pl

from tsdb.canonical import CanonicalColumn
from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import Decoded, Refusals
from tsdb.ingest.raw_names import RawNames
from tsdb.ingest.spelling import Plain, Spelling
from tsdb.sample import Labels, canonical_bytes, labels_from

_PAIR_COUNT = 2


class Columns:
    """Gathers series and their samples; a label set that cannot be stored costs its own samples only."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._series: list[bytes] = []
        self._samples: list[Sequence[tuple[int, float | str]]] = []

    def add(self, labels: Mapping[str, str] | Labels, samples: Sequence[tuple[int, float | str]]) -> None:
        """Take the samples of one series: (ms, value), the value a number or a text that float() reads."""
        try:
            series = canonical_bytes(labels_from(labels))
        except RefusedSample as error:
            self._refusals.add(error.reason, repr(labels)[:1_000].encode(), message=str(error), count=len(samples))
            return
        if samples:
            self._series.append(series)
            self._samples.append(samples)

    def decoded(self) -> Decoded:
        samples_count = np.array([len(samples) for samples in self._samples], np.int64)
        # Times are below 2^53 ms, so that they pass through float64 unchanged.
        flat = chain.from_iterable(chain.from_iterable(self._samples))
        pairs = np.fromiter(flat, np.float64, count=_PAIR_COUNT * int(samples_count.sum())).reshape(-1, _PAIR_COUNT)
        return Decoded(
            names=pl.Series("series", self._series, pl.Binary),
            name_index=np.repeat(np.arange(len(self._series), dtype=np.int32), samples_count),
            timestamp_ms=pairs[:, 0].astype(np.int64),
            value=np.ascontiguousarray(pairs[:, 1]),
            canonical_of=canonical_of,
            refusals=self._refusals,
        )


def _itself(name: str | bytes) -> bytes:
    assert isinstance(name, bytes), name
    return name


def _all_plain(names: pl.Series | RawNames) -> Plain:
    return Plain(np.ones(len(names), np.bool_), CanonicalColumn.of(names.to_list()))


canonical_of = Spelling(_itself, _all_plain)
