"""A state file with its writer and a reader, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.state import Change, StateReader
from appliance.state.writer import Writer

START_MS = 1_700_000_000_000


@dataclass
class HandClock:
    """Time that a test moves by hand."""

    at_ms: int = START_MS

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_s(self) -> float:
        return self.at_ms / 1000


@dataclass
class StateFile:
    path: Path
    clock: HandClock = field(default_factory=HandClock)
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.read = StateReader(self.path)
        self.open()

    def open(self) -> None:
        self.writer = Writer(self.path, self.clock, self.changes.append)

    def reopen(self) -> None:
        self.writer.close()
        self.open()

    def close(self) -> None:
        self.writer.close()
        self.read.close()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFile]:
    state = StateFile(tmp_path / "state.db")
    yield state
    state.close()
