"""Nothing acknowledged is lost by kill -9 of a process, and nothing lands in another series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endtoend.acknowledged import SAMPLES_PER_BODY, Rounds
from tests.running import Appliance


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    folder: Path = tmp_path_factory.mktemp("acknowledged")
    with Appliance(folder) as appliance:
        running = Rounds(appliance, folder)
        yield running
        running.close()


@pytest.mark.parametrize("victim", ["store", "intake", "web"])
def test_every_acknowledged_sample_is_there_after_kill_9(rounds: Rounds, victim: str) -> None:
    found = rounds.run(victim, samples_count=20 * SAMPLES_PER_BODY)
    assert found.acknowledged_bodies >= 10
    assert found.lost_samples == 0
    assert found.foreign_samples == 0
