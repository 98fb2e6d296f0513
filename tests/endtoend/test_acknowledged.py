"""Nothing acknowledged is lost by kill -9 of a process, and nothing lands in another series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endtoend.acknowledged import SAMPLES_PER_BODY, VICTIMS, Rounds
from tests.running import Appliance

SETTINGS = ("store.head_bytes_max=16MiB",)  # So that blocks are written and joined meanwhile.


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    folder: Path = tmp_path_factory.mktemp("acknowledged")
    with Appliance(folder, settings=SETTINGS) as appliance:
        running = Rounds(appliance, folder)
        yield running
        running.close()


@pytest.mark.parametrize("victim", VICTIMS)
def test_every_acknowledged_sample_is_there_after_kill_9(rounds: Rounds, victim: str) -> None:
    found = rounds.run(victim, samples_count=12 * SAMPLES_PER_BODY)
    assert found.acknowledged_bodies >= 6
    assert found.lost_samples == 0
    assert found.foreign_samples == 0


def test_what_earlier_rounds_were_told_is_there_after_the_later_ones(rounds: Rounds) -> None:
    found = rounds.compare_all()
    assert found.lost_samples == 0
    assert found.foreign_samples == 0
