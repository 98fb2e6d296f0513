"""How much disk the samples may take: the limit, what is used of it, and how long it will last.

Layout of the file with the limit: docs/format/rollup.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import msgspec

from appliance.clock import Clock
from tsdb.errors import CorruptData, DiskFull
from tsdb.store.block.layout import BlockEntry
from tsdb.store.disk import Disk, full_disk_named
from tsdb.store.windows import WindowLimits, window_max_ms

log = logging.getLogger(__name__)

FILE_NAME = "disk_bytes_max.json"
_SHARE_OF_FREE = 0.8
_BYTES_MIN = 1 << 20
# Every file is looked at so often: with ten thousand some 30 ms.
MEASURE_EVERY_S = 30.0
DAY_MS = 86_400_000
# The growth is that of the last week of samples, or of what there is if it is less.
_GROWTH_SPAN_MS = 7 * DAY_MS


class Remembered(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The file. A flipped bit makes one number of another, and a smaller limit lets samples go: hence its checksum."""

    version: int = 1
    disk_bytes_max: int
    free_bytes: int  # At the time when the limit was set.
    at_ms: int
    crc32c: int | None = None  # Of the object with null in this place; None: written before there was one.

    def encoded(self) -> bytes:
        unsigned = msgspec.structs.replace(self, crc32c=None)
        return msgspec.json.encode(
            msgspec.structs.replace(unsigned, crc32c=google_crc32c.value(msgspec.json.encode(unsigned)))
        )


def decode(data: bytes) -> Remembered:
    """Undo encoded(). Raises: CorruptData."""
    try:
        found = msgspec.json.decode(data, type=Remembered)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptData(f"{FILE_NAME}: {error}") from error
    if found.crc32c is not None and found.encoded() != data:
        raise CorruptData(f"{FILE_NAME}: the checksum of the disk budget")
    if found.version != 1 or found.disk_bytes_max < _BYTES_MIN:
        raise CorruptData(
            f"{FILE_NAME}: version {found.version} and {found.disk_bytes_max:,} bytes are not what this program writes"
        )
    return found


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of the budget if samples go on coming as they did.

    days_until_full: None, if by age as much will leave as comes before the budget is used up, or if nothing comes.
    raw_days: how far back raw samples reach then; None if the retention decides, or nothing comes.
    """

    bytes_per_day: int
    days_until_full: float | None
    raw_days: float | None


def forecast(entries: Sequence[BlockEntry], used_bytes: int, bytes_max: int, raw_keep_ms: int | None) -> Forecast:
    """From the sizes of the newest blocks of samples; pure. What rollups grow by is small beside it, and left out."""
    if not entries:
        return Forecast(0, None, None)
    newest_ms = max(entry.summary.max_ms for entry in entries)
    recent = [entry for entry in entries if entry.summary.max_ms > newest_ms - _GROWTH_SPAN_MS]
    size_bytes, span_start_ms = 0.0, newest_ms
    for entry in recent:
        # Of a block that began before the last week, the part that lies in it.
        first_ms = max(entry.summary.min_ms, newest_ms - _GROWTH_SPAN_MS)
        span_ms = max(1, entry.summary.max_ms - entry.summary.min_ms)
        size_bytes += entry.size_bytes * max(1, entry.summary.max_ms - first_ms) / span_ms
        span_start_ms = min(span_start_ms, first_ms)
    # Less than an hour says little about a day: it counts as an hour.
    per_day = size_bytes * DAY_MS / max(newest_ms - span_start_ms, DAY_MS // 24)
    raw_bytes = sum(entry.size_bytes for entry in entries)
    other_bytes = max(0, used_bytes - raw_bytes)
    raw_room_days = max(0.0, bytes_max - other_bytes) / per_day
    if raw_keep_ms is not None and raw_room_days >= raw_keep_ms / DAY_MS:
        return Forecast(round(per_day), None, None)
    return Forecast(round(per_day), max(0.0, bytes_max - used_bytes) / per_day, raw_room_days)


class Budget:
    """The limit of one folder. Raises: DiskFull, if it is to be remembered and cannot be."""

    def __init__(self, disk: Disk, folder: Path, bytes_max: int | None, clock: Clock) -> None:
        self._disk = disk
        self._folder = folder
        self._clock = clock
        self.bytes_max = bytes_max if bytes_max is not None else self._remembered()
        self._measured_at_s = float("-inf")
        self._used_bytes = 0
        self._forecast: Forecast | None = None
        self._forecast_at_s = self._measured_at_s
        self._has_said_so = False

    @property
    def used_bytes(self) -> int:
        """Of every file below the folder, measured at most MEASURE_EVERY_S ago."""
        now_s = self._clock.monotonic_s()
        if now_s - self._measured_at_s >= MEASURE_EVERY_S:
            self._used_bytes = self._disk.tree_bytes(self._folder)
            self._measured_at_s = now_s
        return self._used_bytes

    def is_over(self, doomed_bytes: int) -> bool:
        """doomed_bytes: of files that go when their last readers have had their time."""
        if self.used_bytes <= self.bytes_max:
            self._has_said_so = False
            return False
        self._measured_at_s = float("-inf")  # Look again, now that every step counts.
        return self.used_bytes - doomed_bytes > self.bytes_max

    def stats(self, entries: Sequence[BlockEntry], raw_keep_ms: int | None) -> dict[str, Any]:
        """For the System page and /metrics. entries: the blocks of samples."""
        used_bytes = self.used_bytes
        ahead = self._ahead(entries, raw_keep_ms)
        return {
            "disk_bytes": used_bytes,
            "disk_bytes_max": self.bytes_max,
            "disk_bytes_per_day": ahead.bytes_per_day,
            "disk_days_until_full": ahead.days_until_full,
            "disk_raw_days": ahead.raw_days,
        }

    def raw_reach_ms(self, entries: Sequence[BlockEntry], raw_keep_ms: int | None) -> int | None:
        """How long samples will stay: by age or, once half of the budget is used, by what it has room for.

        None: forever."""
        ahead = self._ahead(entries, raw_keep_ms)
        if ahead.raw_days is None or 2 * self.used_bytes < self.bytes_max:
            return raw_keep_ms
        reach_ms = int(ahead.raw_days * DAY_MS)
        return reach_ms if raw_keep_ms is None else min(reach_ms, raw_keep_ms)

    def window_limits(self, entries: Sequence[BlockEntry], raw_keep_ms: int | None, open_ms: int) -> WindowLimits:
        """Of the windows of blocks of samples, now. open_ms: a window gets samples for so long behind its end."""
        now_ms = self._clock.now_ms()
        return WindowLimits(
            closed_before_ms=now_ms - open_ms,
            longest_ms=window_max_ms(self.raw_reach_ms(entries, raw_keep_ms)),
            past_before_ms=0 if raw_keep_ms is None else now_ms - raw_keep_ms,
        )

    def _ahead(self, entries: Sequence[BlockEntry], raw_keep_ms: int | None) -> Forecast:
        """The forecast by the latest measurement."""
        used_bytes = self.used_bytes
        if self._forecast is None or self._forecast_at_s != self._measured_at_s:
            self._forecast_at_s = self._measured_at_s
            self._forecast = forecast(entries, used_bytes, self.bytes_max, raw_keep_ms)
        return self._forecast

    def note_nothing_left(self) -> None:
        """Say once that the budget is too small for what is being written."""
        if not self._has_said_so:
            self._has_said_so = True
            log.error(
                "the samples take %s bytes of the %s that store.disk_bytes_max allows, and only what is being written "
                "is left; raise it",
                f"{self._used_bytes:,}",
                f"{self.bytes_max:,}",
            )

    def _remembered(self) -> int:
        if FILE_NAME in self._disk.names(self._folder):
            try:
                found = decode(self._disk.map(self._folder / FILE_NAME).tobytes())
                if found.crc32c is None:
                    self._write(found)
                return found.disk_bytes_max
            except CorruptData as error:
                log.error("%s; it is written anew from what is free on the disk now", error)
        free_bytes = self._disk.free_bytes(self._folder)
        limit = max(_BYTES_MIN, int(_SHARE_OF_FREE * (free_bytes + self._disk.tree_bytes(self._folder))))
        found = Remembered(disk_bytes_max=limit, free_bytes=free_bytes, at_ms=self._clock.now_ms())
        self._write(found)
        return limit

    def _write(self, found: Remembered) -> None:
        """A full disk is no reason not to start: the limit holds without the file, and the next start tries again."""
        temporary = self._folder / f"{FILE_NAME}.tmp"
        try:
            with full_disk_named(FILE_NAME):
                file = self._disk.create(temporary)
                file.append([found.encoded()])
                file.sync()
                file.close()
                self._disk.rename(temporary, self._folder / FILE_NAME)
                self._disk.sync_folder(self._folder)
        except DiskFull as error:
            log.warning("%s; %s bytes are the limit until the next start", error, f"{found.disk_bytes_max:,}")
