"""The process that makes scheduled backups: at the lowest priority, and apart from those that must answer soon."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import msgspec

from appliance.bus import Request, Server
from appliance.child import ChildContext
from appliance.version import version
from tsdb.backup.keeping import ScheduledBackups
from tsdb.backup.schedule import next_ms
from tsdb.client import TsdbClient

NICENESS = 19
LOOK_EVERY_S = 10.0  # The wall clock may be set at any time, so it is asked again and again.
SNAPSHOT_TIMEOUT_S = 3_600.0


def run_backup(context: ChildContext) -> None:
    """Serve until context.stopping. A backup that is in hand then is given up; the next start takes its parts away."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    worker = _Worker(context)
    server = Server(context.config.run_dir, "backup", metrics=context.metrics)
    server.handle("stats", lambda _request: worker.stats())
    server.handle("now", worker.ask_now)
    # A daemon: a disk that hangs must not keep the process from ending.
    threading.Thread(target=worker.work, name="backups", daemon=True).start()
    server.serve(context.stopping, ready=context.ready)


class _Worker:
    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._settings = context.config.backup
        self._client = TsdbClient(context.config.run_dir)
        self._backups = ScheduledBackups(
            context.config.data_dir, self._settings, self._snapshot, clock=context.clock, version=version()
        )
        self._is_wanted = threading.Event()  # By somebody, before its time.
        self._is_working = False
        metrics = context.metrics
        self._last_success = metrics.gauge(
            "henge_backup_last_success_timestamp_seconds", "When the last scheduled backup that is whole was begun."
        )
        self._failures_total = metrics.counter("henge_backup_failures_total", "Scheduled backups that failed.")
        self._size = metrics.gauge("henge_backup_size_bytes", "Size of the last scheduled backup.")
        self._failures_total.inc(0)
        self._tell()

    def work(self) -> None:
        context = self._context
        if self._settings.dir is None:
            return
        self._backups.tidy()
        context.when_stopping(self._is_wanted.set)
        while not context.stopping.is_set():
            now_ms = context.clock.now_ms()
            if self._is_wanted.is_set() or next_ms(self._backups.record, self._settings.interval_ms, now_ms) <= now_ms:
                self._is_wanted.clear()
                self._make()
            self._is_wanted.wait(LOOK_EVERY_S)

    def _make(self) -> None:
        self._is_working = True
        try:
            if not self._backups.make():
                self._failures_total.inc()
        except OSError as error:  # The record cannot be written: a full disk. What is remembered here still counts.
            self._failures_total.inc()
            self._context.log.error("the record of backups cannot be written: %s", error)
        finally:
            self._is_working = False
            self._tell()

    def _snapshot(self, folder: Path) -> Path:
        return self._client.snapshot(folder, timeout_s=SNAPSHOT_TIMEOUT_S)

    def _tell(self) -> None:
        record = self._backups.record
        if record.succeeded_ms is not None:
            self._last_success.set(record.succeeded_ms / 1_000)
            self._size.set(record.size_bytes)

    def stats(self) -> dict[str, Any]:
        record = self._backups.record
        now_ms = self._context.clock.now_ms()
        is_on = self._settings.dir is not None
        return {
            "is_on": is_on,
            "is_working": self._is_working,
            "next_ms": max(now_ms, next_ms(record, self._settings.interval_ms, now_ms)) if is_on else None,
            **msgspec.to_builtins(record),
        }

    def ask_now(self, _request: Request) -> None:
        """A backup as soon as the one in hand, if any, is done."""
        self._is_wanted.set()
