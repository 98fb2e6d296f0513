"""What senders say of their metrics: type, help and unit. The last word counts; it is kept in a file of its own.

A sender says the same every minute, so what is new is rare: the file is written by a thread of its own, at most once in
SAVE_EVERY_S, and whole, beside the old one, which it then replaces. What a kill costs is said again within a minute.

Layout: docs/format/metadata.md.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tsdb.ingest.remote_write.metadata import Said
from tsdb.metadata import KINDS, MetricMetadata

FILE_NAME = "metadata.json"
METRIC_COUNT_MAX = 20_000  # About 0.3 KB each: 6 MB in memory and in the file.
NAME_BYTES_MAX = 256
UNIT_BYTES_MAX = 64
SAVE_EVERY_S = 15.0
FILE_BYTES_MAX = 64 * 2**20  # What is larger was not written here.
VERSION = 1


class _File(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    metrics: list[MetricMetadata]


class MetricBook:
    """Thread-safe. path None: nothing is kept over a restart."""

    def __init__(self, path: Path | None, log: logging.Logger) -> None:
        self._path, self._log = path, log
        self._lock = threading.Lock()
        self._said: dict[bytes, Said] = {}
        self._metrics: dict[str, MetricMetadata] = {}
        self._has_news = False
        if path is not None:
            self._load(path)

    def __len__(self) -> int:
        return len(self._metrics)

    def note(self, words: Iterable[Said]) -> int:
        """Take in what a body said. Returns: how many metrics there was no room for."""
        said = self._said
        news = [word for word in words if said.get(word.metric) != word]
        left_out = 0
        with self._lock:
            for word in news:
                name = _name(word.metric)
                if name is None or (name not in self._metrics and len(self._metrics) >= METRIC_COUNT_MAX):
                    left_out += 1
                    continue
                found = MetricMetadata(
                    metric=name,
                    type=KINDS[word.kind] if word.kind < len(KINDS) else KINDS[0],
                    help=word.help.decode(errors="ignore"),
                    unit=word.unit[:UNIT_BYTES_MAX].decode(errors="ignore"),
                )
                said[word.metric] = word
                if self._metrics.get(name) != found:
                    self._metrics[name] = found
                    self._has_news = True
        return left_out

    def find(self, metrics: Sequence[str] = (), limit: int | None = None) -> list[MetricMetadata]:
        """Of these metrics, or of all by name; at most so many."""
        with self._lock:
            names = [name for name in metrics if name in self._metrics] if metrics else sorted(self._metrics)
            return [self._metrics[name] for name in names[:limit]]

    def save(self) -> None:
        """Write the file, if there is news."""
        with self._lock:
            if self._path is None or not self._has_news:
                return
            body = msgspec.json.encode(_File(version=VERSION, metrics=list(self._metrics.values())))
            self._has_news = False
        beside = self._path.with_suffix(".new")
        try:
            beside.write_bytes(body)
            beside.replace(self._path)
        except OSError as error:
            self._has_news = True  # Tried again at the next turn; a full disk costs descriptions and no samples.
            self._log.warning("what senders say of their metrics was not saved in %s: %s", self._path.name, error)
            with contextlib.suppress(OSError):
                beside.unlink()

    def start(self, stopping: threading.Event) -> threading.Thread:
        """Save from time to time in a thread of its own, and once more at the end."""

        def run() -> None:
            while not stopping.wait(SAVE_EVERY_S):
                self.save()
            self.save()

        thread = threading.Thread(target=run, name="metric-book")
        thread.start()
        return thread

    def _load(self, path: Path) -> None:
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                raise ValueError(f"it has more than {FILE_BYTES_MAX:,} bytes")
            file = msgspec.json.decode(path.read_bytes(), type=_File)
            if file.version != VERSION:
                raise ValueError(f"it is of version {file.version}, not {VERSION}")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._log.warning("%s cannot be read and is begun anew, as senders say it again: %s", path.name, error)
            return
        self._metrics = {entry.metric: entry for entry in file.metrics[:METRIC_COUNT_MAX]}


def _name(metric: bytes) -> str | None:
    """None for what can be no metric's name here."""
    try:
        return metric.decode() if len(metric) <= NAME_BYTES_MAX else None
    except UnicodeDecodeError:
        return None
