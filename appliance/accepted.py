"""The settings as the supervisor has accepted them, in memory that its children inherit and read at their start.

A child that read the file itself would meet whatever somebody is writing there: a wrong line, and a process that was
killed could not come back. So what lies in the file counts from the start or the reload that has accepted it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from appliance.config import Address, Config, from_texts

READ_BYTES_MAX = 16 * 2**20  # A file of at most 1 MiB, as JSON; more is none of ours.


class _Settings(msgspec.Struct, frozen=True):
    texts: dict[str, str]
    sources: dict[str, str]


def settings_fd(config: Config, addresses: Mapping[str, Address]) -> int:
    """A descriptor of the settings, which belongs to the caller.

    addresses: by setting, what the listeners came to, because a child has to know the port that 0 became.

    Raises: OSError.
    """
    real = {key: str(address) for key, address in addresses.items() if str(address) != config.texts[key].strip()}
    sources = {**dict.fromkeys(real, "the supervisor"), **config.sources}
    content = msgspec.json.encode(_Settings({**config.texts, **real}, sources))
    fd = _memory_fd()
    try:
        os.truncate(fd, 0)
        written = os.pwrite(fd, content, 0)
        if written != len(content):
            raise OSError(f"{written:,} of {len(content):,} bytes of the settings could be written")
    except BaseException:
        os.close(fd)
        raise
    return fd


def accepted(fd: int, data_dir: Path) -> Config:
    """What settings_fd() wrote; closes the descriptor. Several processes may read one."""
    settings = msgspec.json.decode(os.pread(fd, READ_BYTES_MAX, 0), type=_Settings)
    os.close(fd)
    return from_texts(data_dir, settings.texts, settings.sources)


def _memory_fd() -> int:
    if sys.platform == "linux":
        return os.memfd_create("henge-settings")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
