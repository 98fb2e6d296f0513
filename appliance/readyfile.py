"""The ready file: where a running appliance answers and which processes it is made of, for scripts and tests.

It appears when everything answers and is replaced whole at every restart of a child, so that a reader never sees
half a file. A stop removes it; only a killed supervisor leaves one behind, whose pid is then gone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from appliance.config import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyFile:
    """What the file says. A listener that is off, or not built, is null."""

    web: str | None
    graphite: str | None
    graphite_pickle: str | None
    statsd: str | None
    statsd_management: str | None = None
    login_url: str | None
    pid: int
    processes: Mapping[str, int | None] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write beside, then rename over: a reader gets the old file or the new one. Raises: OSError.

        For our own user alone: who reads the log-in link is the administrator.
        """
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.touch(mode=0o600)
            beside.chmod(0o600)
            beside.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
            beside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise


def web_url(address: Address | None) -> str | None:
    """The address of the page, as a browser on this machine writes it: a listener on every address is loopback."""
    if address is None:
        return None
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return f"http://{Address(host, address.port)}"


def remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
