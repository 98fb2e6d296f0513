"""The one door to the store: append, select, flush, compact, upkeep.

Threads: append() and everything that reads may be called from any thread; flush(), compact() and tick() take turns
among themselves and hold up an append only for as long as it takes to swap a list.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from appliance.clock import Clock
from tsdb.errors import NotReady, StaleEpoch
from tsdb.interface import Ack
from tsdb.sample import Float64s, Int32s, Int64s, Labels, Matcher, SampleBatch, Selection
from tsdb.store.admission import TimeLimits, admit
from tsdb.store.columns import Columns, offsets_of
from tsdb.store.disk import Disk, OsDisk
from tsdb.store.head import Head, present_ids, select_runs
from tsdb.store.index import SeriesIndex
from tsdb.store.recovery import replay
from tsdb.store.wal import Wal

FsyncMode = Literal["always", "interval", "never"]


@dataclass(frozen=True, slots=True)
class HeadPart:
    """What the head has of a selection, CSR-shaped, the series as canonical bytes."""

    canonical: Sequence[bytes]
    offsets: Int64s
    timestamp_ms: Int64s
    value: Float64s


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view: every stored sample is in the head's part or in one of the named blocks, or in both."""

    blocks: Sequence[str]
    head: HeadPart


class Engine:
    """The store of one data folder. Raises: NotReady, if another engine holds the folder."""

    def __init__(
        self,
        folder: Path,
        *,
        fsync: FsyncMode,
        fsync_interval_ms: int,
        head_bytes_max: int,
        retention_raw_ms: int | None,
        out_of_order_window_ms: int,
        future_max_ms: int,
        series_count_max: int,
        clock: Clock,
        disk: Disk | None = None,
    ) -> None:
        self.folder = folder
        self._disk = disk = OsDisk() if disk is None else disk
        self._clock = clock
        self._fsync = fsync
        self._fsync_interval_ms = fsync_interval_ms
        self._head_bytes_max = head_bytes_max
        self._retention_raw_ms = retention_raw_ms
        self._out_of_order_window_ms = out_of_order_window_ms
        self._future_max_ms = future_max_ms
        self._series_count_max = series_count_max
        for path in (folder, folder / "wal", folder / "blocks", folder / "quarantine"):
            disk.make_folder(path)
        self._unlock_folder = disk.lock(folder / "LOCK")
        self._lock = threading.Lock()
        self._index = SeriesIndex()
        self._head = Head()
        self.replayed = replay(disk, folder / "wal", folder / "quarantine", self._index, self._head)
        self.epoch = secrets.randbits(62) + 1
        self._wal = Wal(
            disk,
            folder / "wal",
            epoch=self.epoch,
            number=self.replayed.next_segment_number,
            canonical_of=self._index.canonical_of,
        )
        self._is_closed = False

    def append(self, batch: SampleBatch, new_series: Sequence[bytes], *, epoch: int, now_ms: int) -> Ack:
        """Log and store a batch; see tsdb.interface.SampleSink.

        Raises: StaleEpoch, DiskFull, NotReady; ValueError, if ids or label bytes are not what a sender may send.
        """
        with self._lock:
            if self._is_closed:
                raise NotReady("the store is closed")
            if epoch != self.epoch:
                raise StaleEpoch(f"epoch {epoch} is over, this is {self.epoch}; register the series and send it again")
            new_ids = self._index.add(new_series, series_count_max=self._series_count_max)
            admitted = admit(batch, new_ids, len(self._index), self._time_limits(now_ms))
            samples = admitted.samples
            if samples.series.size:
                self._wal.append(samples, admitted.min_ms, admitted.max_ms, len(self._index))
                self._head.append(samples, admitted.min_ms, admitted.max_ms)
            written_count = self._wal.written_count
        if self._fsync == "always" and samples.series.size:
            self._wal.sync(written_count)
        return Ack(self.epoch, new_ids, samples.series.size, admitted.refused)

    def head_select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> HeadPart:
        """What the head has of a selection, in the order of the local ids."""
        with self._lock:
            runs = self._head.runs
        ids = self._index.match(matchers)
        columns = select_runs(runs, ids, start_ms, end_ms, len(self._index)) if ids.size else Columns.empty()
        present, offsets = offsets_of(columns.series)
        return HeadPart(self._index.canonical_of(present), offsets, columns.timestamp_ms, columns.value)

    def snapshot(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Snapshot:
        """The blocks to read and the head's part, taken so that no sample is missed while blocks are being written."""
        return Snapshot((), self.head_select(matchers, start_ms, end_ms))

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """See tsdb.interface.SeriesSource."""
        part = self.head_select(matchers, start_ms, end_ms)
        ids = self._index.add(part.canonical)
        labels = self._index.labels_of(ids)
        order = sorted(range(len(labels)), key=labels.__getitem__)
        assert np.all(np.diff(part.offsets) > 0)
        pieces = [slice(int(part.offsets[at]), int(part.offsets[at + 1])) for at in order]
        if not pieces:
            return Selection.empty()
        return Selection(
            labels=[labels[at] for at in order],
            offsets=np.concatenate(([0], np.cumsum([piece.stop - piece.start for piece in pieces]))).astype(np.int64),
            timestamp_ms=np.concatenate([part.timestamp_ms[piece] for piece in pieces]),
            value=np.concatenate([part.value[piece] for piece in pieces]),
        )

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Labels]:
        """See tsdb.interface.SeriesSource."""
        return sorted(self._index.labels_of(self._head_ids(matchers, start_ms, end_ms)))

    def _head_ids(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Int32s:
        with self._lock:
            runs = self._head.runs
        return np.intersect1d(self._index.match(matchers), present_ids(runs, start_ms, end_ms), assume_unique=True)

    def flush(self) -> None: ...

    def compact(self) -> None: ...

    def tick(self, now_ms: int) -> None:
        """Background upkeep; call it a few times a second from a thread of its own."""
        if self._fsync == "interval":
            self._wal.sync()

    def stats(self) -> dict[str, Any]:
        with self._lock:
            runs = self._head.runs
        return {
            "epoch": self.epoch,
            "series_count": len(self._index),
            "head_samples": sum(run.count for run in runs),
            "head_bytes": sum(run.size_bytes for run in runs),
            "wal_bytes": self._wal.size_bytes(),
            "block_count": 0,
            "block_bytes": 0,
            "quarantined_frames": self.replayed.quarantined_frame_count,
            "torn_tails": self.replayed.torn_tail_count,
            "replayed_samples": self.replayed.sample_count,
        }

    def close(self) -> None:
        """Sync the log and give the folder back; what the head holds is replayed at the next start."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        try:
            self._wal.close()
        finally:
            self._unlock_folder()

    def _time_limits(self, now_ms: int) -> TimeLimits:
        oldest_ms = 0 if self._retention_raw_ms is None else now_ms - self._retention_raw_ms
        return TimeLimits(oldest_ms, now_ms + self._future_max_ms)
