"""What a reload has to do: which settings have changed, who reads them, what is to be opened. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from appliance.config import SETTINGS, Config
from appliance.listeners import LISTENERS
from appliance.processes import Process


class Change(msgspec.Struct, frozen=True):
    """One setting that is not what it was. processes: those that are restarted for it, in start order."""

    setting: str
    old: str  # As somebody wrote it.
    new: str
    processes: list[str]


class ReloadAsked(msgspec.Struct, frozen=True):
    """The body of the request."""

    all: bool = False  # Restart every process, changed or not.


class Report(msgspec.Struct, frozen=True):
    """What a reload has found and set going."""

    changes: list[Change]
    restarting: list[str]  # In this order, one at a time.
    addresses: dict[str, str | None]  # What the moved listeners came to, by setting; None: closed.


class ExecAsked(msgspec.Struct, frozen=True):
    """The body of the request. executable: None is the one that runs, with the code that lies on disk now."""

    executable: str | None = None


class Checked(msgspec.Struct, frozen=True):
    """What an executable says that can take over; as JSON, alone on its output."""

    version: str


def changes(old: Config, new: Config, processes: Iterable[Process]) -> list[Change]:
    rows = list(processes)
    return [
        Change(key, old.texts[key], new.texts[key], [row.name for row in rows if reads(row, key)])
        for key in (setting.key for setting in SETTINGS)
        if old.texts[key] != new.texts[key]
    ]


def reads(process: Process, key: str) -> bool:
    """Whether a change of the setting reaches this process by a restart alone."""
    if process.reads is None or not set(process.sockets).isdisjoint(_sockets_of(key)):
        return True
    return any(key == read or key.startswith(f"{read}.") for read in process.reads)


def _sockets_of(key: str) -> Iterator[str]:
    for listener in LISTENERS:
        if listener.setting == key:
            yield from (name for name in (listener.tcp, listener.udp) if name is not None)
