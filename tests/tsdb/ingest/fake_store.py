"""A store in memory that keeps every sample under its labels: what the intake's tests look into."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from tsdb.errors import NotReady, StaleEpoch
from tsdb.interface import Ack
from tsdb.sample import SampleBatch


class FakeStore:
    """A Sink. `gate` closed: append waits; `is_away`: append and hello say NotReady."""

    def __init__(self, series_count_max: int = 10**9) -> None:
        self._lock = threading.Lock()
        self._series: list[bytes] = []
        self._id_by_series: dict[bytes, int] = {}
        self.series_count_max = series_count_max
        self.epoch = 1
        self.gate = threading.Event()
        self.gate.set()
        self.is_away = False
        self.fault: Exception | None = None
        self.waiting_count = 0
        self.calls: list[tuple[int, int]] = []  # (samples, new series) of each append
        self.stored: list[tuple[bytes, int, float]] = []

    def hello(self) -> int:
        if self.is_away:
            raise NotReady("the store is away")
        return self.epoch

    def restart(self) -> None:
        """A new epoch: other ids for the same series, as after a kill."""
        with self._lock:
            self.epoch += 1
            self._series = list(reversed(self._series))
            self._id_by_series = {series: number for number, series in enumerate(self._series)}

    def append(self, batch: SampleBatch, new_series: Sequence[bytes], *, protocol: str, epoch: int) -> Ack:
        with self._lock:
            self.waiting_count += 1
        self.gate.wait(30)
        with self._lock:
            self.waiting_count -= 1
            if self.fault is not None:
                raise self.fault
            if self.is_away:
                raise NotReady("the store is away")
            if epoch != self.epoch:
                raise StaleEpoch(f"epoch {epoch} is over; now is {self.epoch}")
            new_ids = np.array([self._id_of(series) for series in new_series], np.int32)
            ids = batch.series.copy()
            new = ids < 0
            ids[new] = new_ids[-1 - batch.series[new]]
            kept = 0
            for number, timestamp_ms, value in zip(ids.tolist(), batch.timestamp_ms, batch.value, strict=True):
                if number >= 0:
                    self.stored.append((self._series[number], int(timestamp_ms), float(value)))
                    kept += 1
            self.calls.append((len(batch), len(new_series)))
            refused = {"too_many_series": len(batch) - kept} if kept < len(batch) else {}
            return Ack(self.epoch, new_ids, kept, refused)

    def _id_of(self, series: bytes) -> int:
        if series not in self._id_by_series:
            if len(self._series) >= self.series_count_max:
                return -1
            self._id_by_series[series] = len(self._series)
            self._series.append(series)
        return self._id_by_series[series]

    def samples(self) -> list[tuple[str, int, float]]:
        """(metric;label=value…, ms, value), sorted."""
        with self._lock:
            return sorted((shown(series), timestamp_ms, value) for series, timestamp_ms, value in self.stored)


def shown(series: bytes) -> str:
    parts = series.decode("latin-1").split("\xff")[:-1]
    pairs = dict(zip(parts[::2], parts[1::2], strict=True))
    metric = pairs.pop("__name__", "")
    return ";".join([metric, *(f"{name}={value}" for name, value in pairs.items())])
