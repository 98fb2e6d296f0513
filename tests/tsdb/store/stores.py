"""Engines, batches and the whole content of an engine, as the tests of the store use them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tsdb.interface import Ack
from tsdb.sample import Labels, SampleBatch, Selection, canonical_bytes, labels_from
from tsdb.store.disk import Disk
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable

FOLDER = Path("/samples")
HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000 // (2 * HOUR_MS) * (2 * HOUR_MS)  # The start of a window in 2023.

Row = tuple[Labels, int, int]
"""A sample as the tests compare it: labels, time in ms, the bits of the value."""


class DrivenClock:
    """A clock that a test moves."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_s(self) -> float:
        return self.time_ms / 1_000


def open_engine(disk: Disk | None, folder: Path = FOLDER, **settings: Any) -> Engine:
    defaults: dict[str, Any] = {
        "fsync": "always",
        "fsync_interval_ms": 200,
        "head_bytes_max": 64 << 20,
        "schemas": SchemaTable.raw_only(settings.pop("retention_raw_ms", None)),
        "disk_bytes_max": 1 << 50,
        "out_of_order_window_ms": HOUR_MS,
        "future_max_ms": HOUR_MS,
        "series_count_max": 1_000,
        "clock": DrivenClock(),
    }
    return Engine(folder, disk=disk, **(defaults | settings))


def later(engine: Engine, by_ms: int = 2 * HOUR_MS) -> None:
    """Move the clock of an engine that open_engine() made."""
    assert isinstance(engine._clock, DrivenClock)
    engine._clock.time_ms += by_ms


def labels(**pairs: str) -> Labels:
    """labels(name="x", job="y") is {__name__="x", job="y"}."""
    return labels_from({"__name__" if key == "name" else key: value for key, value in pairs.items()})


def bits_of(value: float) -> int:
    return int(np.array([value], np.float64).view(np.uint64)[0])


def value_of(bits: int) -> float:
    return float(np.array([bits], np.uint64).view(np.float64)[0])


def append(engine: Engine, rows: Iterable[Row], now_ms: int = 10 * NOW_MS) -> Ack:
    """Append rows as one batch, every series named anew. Time limits are out of the way unless now_ms is given."""
    rows = list(rows)
    new = list(dict.fromkeys(labels for labels, _, _ in rows))
    batch = SampleBatch(
        series=np.array([-1 - new.index(labels) for labels, _, _ in rows], np.int32),
        timestamp_ms=np.array([time_ms for _, time_ms, _ in rows], np.int64),
        value=np.array([bits for _, _, bits in rows], np.uint64).view(np.float64),
    )
    return engine.append(batch, [canonical_bytes(labels) for labels in new], epoch=engine.epoch, now_ms=now_ms)


def rows_of(selection: Selection) -> list[Row]:
    """A selection as rows, in its order."""
    bits = selection.value.view(np.uint64).tolist()
    times = selection.timestamp_ms.tolist()
    return [
        (one, times[at], bits[at])
        for one, start, end in zip(selection.labels, selection.offsets[:-1], selection.offsets[1:], strict=True)
        for at in range(start, end)
    ]


def everything(engine: Engine) -> list[Row]:
    return rows_of(engine.select([], 0, 2**62))
