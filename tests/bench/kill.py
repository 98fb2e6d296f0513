"""How many acknowledged samples kill -9 costs, over rounds of load."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, machine
from tests.endtoend.acknowledged import Rounds
from tests.running import Appliance


def run(*, victim: str, rounds: int, samples_per_round: int) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder)) as appliance:
        running = Rounds(appliance, Path(folder))
        found = [running.run(victim, samples_count=samples_per_round) for _ in range(rounds)]
        running.close()
    conditions = machine() | {
        "victim": victim,
        "rounds": rounds,
        "samples_sent_per_round": samples_per_round,
        "acknowledged_per_round": [one.acknowledged_samples for one in found],
        "door": "POST /api/v1/series",
    }
    for metric, value in (
        ("samples acknowledged", sum(one.acknowledged_samples for one in found)),
        ("acknowledged samples lost", sum(one.lost_samples for one in found)),
        ("samples in a series, time or value that was never sent", sum(one.foreign_samples for one in found)),
    ):
        yield Figure(bench="kill", metric=f"{victim}: {metric}", value=value, unit="samples", conditions=conditions)
