"""A small file system of the test's own, to be filled up or made read-only without harm to the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FILL_BYTES = 64 * 1024


def _as_root(*argv: str) -> None:
    if os.getuid():
        if shutil.which("sudo") is None:
            pytest.skip("a file system of its own needs root or sudo: run the tests as root")
        argv = ("sudo", "-n", *argv)
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine lets the test mount nothing ({done.stderr.strip()}): run it where root may mount")


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Take every byte that is free."""
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(b"\0" * FILL_BYTES):
                pass
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(b"\0" * 512):
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def make_read_only(self) -> None:
        _as_root("mount", "-o", "remount,ro", str(self.path))

    def make_writable(self) -> None:
        _as_root("mount", "-o", "remount,rw", str(self.path))


@contextlib.contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Mount it for as long as the context lasts. Skips the test, with the reason, where nobody may mount."""
    path.mkdir()
    _as_root("mount", "-t", "tmpfs", "-o", f"size={size_bytes},uid={os.getuid()},mode=700", "tmpfs", str(path))
    try:
        yield SmallDisk(path)
    finally:
        _as_root("umount", "--lazy", str(path))
