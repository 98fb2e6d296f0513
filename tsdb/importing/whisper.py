"""A whisper file → its points, as whisper's fetch would give them; pure, and no loop over points.

Layout, big-endian: aggregation uint32, longest retention uint32, xFilesFactor float32, count of archives uint32; of
each archive offset, seconds a point, points (uint32 each); then the archives: rings of points, time uint32 and value
float64. The first point of a ring decides where every time lies in it: (time - first) / step, modulo its length.

Source: whisper 1.1.10, whisper.py: __readHeader, __archive_fetch; carbon writes such files, graphite-web reads them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.sample import Float64s, Int64s

_HEADER = struct.Struct(">LLfL")
_ARCHIVE = struct.Struct(">LLL")
_POINT = np.dtype([("time", ">u4"), ("value", ">f8")])
_AGGREGATION_MAX = 8  # average, sum, last, max, min, avg_zero, absmax, absmin
_ARCHIVES_COUNT_MAX = 64  # Real files have five at most; a header of noise has billions.

Points = npt.NDArray[np.void]


class BadFile(ValueError):
    """A file that cannot be imported; the text says why."""


@dataclass(frozen=True, slots=True)
class Archive:
    offset: int
    step_s: int
    count: int

    @property
    def span_s(self) -> int:
        return self.step_s * self.count


@dataclass(frozen=True, slots=True)
class History:
    """The points of one file, times rising: each time from the finest archive that holds it."""

    timestamp_ms: Int64s
    value: Float64s
    left_out: dict[str, int]  # reason → points: before_from, future, nan; sent_before


def read(data: bytes, *, from_ms: int, now_ms: int) -> History:
    """from_ms: what is older is left out. Points after now_ms are of a broken clock, and left out too.

    Raises: BadFile.
    """
    archives = archives_of(data)
    rings = [np.frombuffer(data, _POINT, archive.count, archive.offset) for archive in archives]
    now_s = now_ms // 1_000
    times = [ring["time"].astype(np.int64) for ring in rings]
    future_count = sum(int(np.count_nonzero(time > now_s)) for time in times)
    newest_s = max(int(np.max(time, initial=0, where=time <= now_s)) for time in times)
    time, value = _joined(archives, rings, times, newest_s)
    is_number, is_wanted = ~np.isnan(value), time >= -(-from_ms // 1_000)
    left_out = {
        "before_from": int(np.count_nonzero(is_number & ~is_wanted)),
        "future": future_count,
        "nan": int(np.count_nonzero(~is_number)),
    }
    kept = is_number & is_wanted
    if not kept.all():
        time, value = time[kept], value[kept]
    return History(time * 1_000, value, left_out)


def archives_of(data: bytes) -> list[Archive]:
    """Finest first. Raises: BadFile."""
    if len(data) < _HEADER.size:
        raise BadFile(f"truncated: {len(data):,} bytes, and a header has {_HEADER.size}")
    aggregation, _, x_files_factor, count = _HEADER.unpack_from(data)
    if not 1 <= aggregation <= _AGGREGATION_MAX:
        raise BadFile(f"wrong header: aggregation {aggregation:,} of 1 to {_AGGREGATION_MAX}")
    if not 0 <= x_files_factor <= 1:
        raise BadFile(f"wrong header: xFilesFactor {x_files_factor:g} of 0 to 1")
    if not 1 <= count <= _ARCHIVES_COUNT_MAX:
        raise BadFile(f"wrong header: {count:,} archives of 1 to {_ARCHIVES_COUNT_MAX}")
    end = _HEADER.size + _ARCHIVE.size * count
    if len(data) < end:
        raise BadFile(f"truncated: {len(data):,} bytes, and a header of {count} archives has {end:,}")
    archives = [Archive(*_ARCHIVE.unpack_from(data, at)) for at in range(_HEADER.size, end, _ARCHIVE.size)]
    for number, archive in enumerate(archives):
        _check(number, archive, end, len(data))
    archives.sort(key=lambda archive: archive.step_s)
    return archives


def _check(number: int, archive: Archive, header_size: int, size: int) -> None:
    # Counts are unsigned there: one below zero is read as four billions.
    if not 0 < archive.step_s < 2**31 or not 0 < archive.count < 2**31:
        raise BadFile(f"wrong header: archive {number} has {archive.count:,} points of {archive.step_s:,} s")
    if archive.offset < header_size:
        raise BadFile(f"wrong header: archive {number} begins at byte {archive.offset:,}, inside of the header")
    if (end := archive.offset + _POINT.itemsize * archive.count) > size:
        raise BadFile(f"truncated: archive {number} ends at byte {end:,} of {size:,}")


def _joined(
    archives: list[Archive], rings: list[Points], times: list[Int64s], newest_s: int
) -> tuple[Int64s, Float64s]:
    """Finest first; of a coarser archive the points of times that no finer one reaches back to, or has nothing at."""
    joined_time, joined_value = np.empty(0, np.int64), np.empty(0, np.float64)
    reached_s: int | None = None  # The finer archives reach back to here.
    for archive, ring, stored in zip(archives, rings, times, strict=True):
        time, value = _unrolled(archive, ring, stored, newest_s)
        if reached_s is not None and time.size:
            following = np.searchsorted(joined_time, time)
            is_held = np.zeros(time.size, np.bool_)
            inside = following < joined_time.size
            is_held[inside] = joined_time[following[inside]] < time[inside] + archive.step_s
            kept = ~is_held | (time < reached_s)
            time, value = time[kept], value[kept]
        joined_time, joined_value = _merged(joined_time, joined_value, time, value)
        first_s = newest_s - newest_s % archive.step_s - archive.span_s + archive.step_s
        reached_s = first_s if reached_s is None else min(reached_s, first_s)
    return joined_time, joined_value


def _merged(time: Int64s, value: Float64s, older: Int64s, older_value: Float64s) -> tuple[Int64s, Float64s]:
    """Two sequences of rising times without a time in common as one."""
    if not older.size:
        return time, value
    all_time, all_value = np.concatenate((older, time)), np.concatenate((older_value, value))
    if time.size and older[-1] > time[0]:
        order = np.argsort(all_time, kind="stable")
        return all_time[order], all_value[order]
    return all_time, all_value


def _unrolled(archive: Archive, ring: Points, stored: Int64s, newest_s: int) -> tuple[Int64s, Float64s]:
    """The points of the lap that ends at newest_s, by rising time; what is of an earlier lap is left out."""
    base_s = int(stored[0])
    if not base_s or not newest_s:  # Nothing was ever written to it, or nothing but the future.
        return np.empty(0, np.int64), np.empty(0, np.float64)
    last_s = newest_s - newest_s % archive.step_s
    split = (last_s - base_s) // archive.step_s % archive.count + 1
    time = np.concatenate((stored[split:], stored[:split]))
    value = np.concatenate((ring["value"][split:], ring["value"][:split])).astype(np.float64)
    is_of_lap = time == np.arange(last_s - archive.span_s, last_s, archive.step_s) + archive.step_s
    if last_s < archive.span_s:
        is_of_lap &= time > 0  # The lap began before 1970, and 0 is no time there.
    return (time, value) if is_of_lap.all() else (time[is_of_lap], value[is_of_lap])
