"""The way from a command to the supervisor of a running appliance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from appliance.changes import Checked, ExecAsked, ReloadAsked, Report
from appliance.config import load
from appliance.errors import CannotStart
from appliance.lock import running_pid

RELOAD_TIMEOUT_S = 30.0
REPLACE_TIMEOUT_S = 60.0


class Row(msgspec.Struct):
    """One process in the supervisor's answer."""

    name: str
    pid: int | None
    state: str
    restarts: int
    last_exit: str | None
    last_words: str | None
    rss_bytes: int
    started_ms: int | None
    kept_because: str | None = None  # Why another process could not take its place.


class Succeeded(msgspec.Struct, frozen=True):
    """How often the supervisor has become another executable, and how that went the last time."""

    number: int = 0
    on_trial: bool = False
    gone_back_because: str | None = None


class Status(msgspec.Struct):
    """The supervisor's answer to "status"."""

    pid: int
    version: str
    started_ms: int
    reloading: bool
    addresses: dict[str, Any]
    processes: list[Row]
    succession: Succeeded = Succeeded()


class Supervisor:
    """A handle on the supervisor of the appliance that runs on a folder."""

    def __init__(self, data: Path | None) -> None:
        """Raises: CannotStart, when no appliance runs there."""
        from appliance.bus import Client

        config = load(data_dir=data)
        self.data_dir = config.data_dir
        if running_pid(config.data_dir) is None:
            raise CannotStart(f"no appliance runs on {config.data_dir}; start it with `henge up`, or give --data DIR")
        self._client = Client(config.run_dir, "supervisor")

    def status(self) -> Status:
        """Raises: BusError."""
        status: Status = self._client.call("status", type=Status).body
        return status

    def reload(self, wants_all: bool) -> Report:
        """Raises: BusError; BusRefused with code "config" when the settings cannot be used, "cannot_start" when an
        address is taken."""
        report: Report = self._client.call(
            "reload", ReloadAsked(all=wants_all), timeout_s=RELOAD_TIMEOUT_S, type=Report
        ).body
        return report

    def replace(self, executable: str | None) -> Checked:
        """Raises: BusError; BusRefused with code "cannot_start" when it cannot take over."""
        checked: Checked = self._client.call(
            "exec", ExecAsked(executable), timeout_s=REPLACE_TIMEOUT_S, type=Checked
        ).body
        return checked
