"""Starting again: the frames of all segments go back into the head, under ids of the new epoch.

One bad frame never keeps the store from starting: a torn tail is cut, a damaged stretch is copied aside and counted,
and everything around it is replayed. A sample whose series is not known for sure is not stored at all.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tsdb.sample import Int32s
from tsdb.store import frame
from tsdb.store.columns import Columns
from tsdb.store.disk import Bytes, Disk
from tsdb.store.frame import Damage, Definitions, Frame
from tsdb.store.head import Head
from tsdb.store.index import SeriesIndex
from tsdb.store.wal import segment_name, segment_numbers

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a start found in the log."""

    next_segment_number: int = 1
    sample_count: int = 0
    torn_tail_count: int = 0
    quarantined_frame_count: int = 0
    lost_sample_count: int = 0  # Whole samples whose series' definition was damaged; they lie in the quarantine.


class _SegmentReplay:
    """One segment on its way into the head."""

    def __init__(self, disk: Disk, path: Path, quarantine: Path, index: SeriesIndex, head: Head) -> None:
        self._disk = disk
        self._path = path
        self._quarantine = quarantine
        self._index = index
        self._head = head
        self._id_of: Int32s = np.full(1_024, -1, np.int32)  # by the segment's id: the id of this epoch
        self._data: Bytes = disk.map(path)
        self.result = Replayed()

    def run(self) -> Replayed:
        if what := frame.check_segment_header(self._data):
            log.warning("%s: %s; its frames are read all the same", self._path.name, what)
        at = frame.SEGMENT_HEADER_BYTES
        for found in frame.read_frames(self._data):
            if isinstance(found, Frame):
                if what := self._replay(found):
                    self._set_aside(at, found.end, what)
                at = found.end
            else:
                self._take_damage(found)
                at = found.end
        return self.result

    def _replay(self, found: Frame) -> str:
        """Take up the series of a frame and store its samples; returns what of it could not be, empty if all could."""
        what = self._define(found.definitions)
        lost_count = self._store(found.samples)
        if lost_count:
            what = f"{lost_count:,} samples of series that were not defined" + (f"; {what}" if what else "")
        return what

    def _define(self, definitions: Definitions) -> str:
        """Returns why none of the series is one, or nothing."""
        if not definitions.ids.size:
            return ""
        self._make_room(int(definitions.ids.max()) + 1)
        try:
            self._id_of[definitions.ids] = self._index.add(definitions.canonical)
        except ValueError as error:  # Its checksum is right: whoever wrote it was wrong.
            self._id_of[definitions.ids] = -1
            return f"{definitions.ids.size:,} series are not defined: {error}"
        return ""

    def _store(self, samples: Columns) -> int:
        """Returns how many samples could not be stored, because their series is unknown."""
        series, timestamp_ms, value = samples
        if not series.size:
            return 0
        self._make_room(int(series.max()) + 1)
        samples = Columns(self._id_of[series], timestamp_ms, value)
        is_known = samples.series >= 0
        lost_count = series.size - int(np.count_nonzero(is_known))
        if lost_count:
            samples = samples.taken(is_known)
        if samples.series.size:
            self._head.append(samples, int(samples.timestamp_ms.min()), int(samples.timestamp_ms.max()))
        self.result = replace(
            self.result,
            sample_count=self.result.sample_count + samples.series.size,
            lost_sample_count=self.result.lost_sample_count + lost_count,
        )
        return lost_count

    def _take_damage(self, damage: Damage) -> None:
        if damage.frame is not None:
            self._replay(damage.frame)
        if not damage.is_tail:
            self._set_aside(damage.start, damage.end, damage.what)
            return
        if self._data[damage.start : damage.end].any():  # Zeros are what a file system leaves of a lost write.
            self._copy_aside(damage.start, damage.end)
        log.warning("%s: cut at byte %d: %s", self._path.name, damage.start, damage.what)
        self._disk.truncate(self._path, max(damage.start, frame.SEGMENT_HEADER_BYTES))
        self.result = replace(self.result, torn_tail_count=self.result.torn_tail_count + 1)

    def _set_aside(self, start: int, end: int, what: str) -> None:
        name = self._copy_aside(start, end)
        log.error("%s: bytes %d-%d are damaged: %s; kept as %s", self._path.name, start, end, what, name)
        self.result = replace(self.result, quarantined_frame_count=self.result.quarantined_frame_count + 1)

    def _copy_aside(self, start: int, end: int) -> str:
        path = self._quarantine / f"{self._path.name}-{start}.bad"
        file = self._disk.create(path)
        try:
            file.append([self._data[start:end]])
            file.sync()
        finally:
            file.close()
        self._disk.sync_folder(self._quarantine)
        return path.name

    def _make_room(self, count: int) -> None:
        if self._id_of.size < count:
            grown = np.full(max(count, 2 * self._id_of.size), -1, np.int32)
            grown[: self._id_of.size] = self._id_of
            self._id_of = grown


def replay(disk: Disk, folder: Path, quarantine: Path, index: SeriesIndex, head: Head) -> Replayed:
    """Replay every segment of a folder into index and head. Raises: NotReady, for a segment of a later version."""
    total = Replayed()
    for number in segment_numbers(disk, folder):
        one = _SegmentReplay(disk, folder / segment_name(number), quarantine, index, head).run()
        total = Replayed(
            next_segment_number=number + 1,
            sample_count=total.sample_count + one.sample_count,
            torn_tail_count=total.torn_tail_count + one.torn_tail_count,
            quarantined_frame_count=total.quarantined_frame_count + one.quarantined_frame_count,
            lost_sample_count=total.lost_sample_count + one.lost_sample_count,
        )
    return total
