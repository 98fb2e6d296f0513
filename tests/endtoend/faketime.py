"""A wall clock that a test can step under a running appliance, by Debian's libfaketime; the monotonic one stays."""

from __future__ import annotations

from pathlib import Path

import pytest

LIBRARIES = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))  # MT: for programs with threads.


class SteppingClock:
    """`environ` goes to the appliance; step() moves the wall clock of all its processes."""

    def __init__(self, folder: Path) -> None:
        if not LIBRARIES:
            pytest.fail("stepping the clock needs libfaketime: run `make test-tools`, or apt-get install libfaketime")
        self._file = folder / "faketime"
        self.offset_s = 0
        self._write()
        self.environ = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",  # Read at every look at the clock.
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def step(self, seconds: int) -> None:
        self.offset_s += seconds
        self._write()

    def _write(self) -> None:
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{self.offset_s:+d}\n")
        beside.replace(self._file)  # Whole or not at all: it is read all the time.
