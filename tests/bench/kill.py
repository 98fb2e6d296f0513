"""How many acknowledged samples kill -9 costs, over rounds of load."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, machine
from tests.endtoend.acknowledged import DOORS, VICTIMS, Rounds
from tests.running import Appliance

# So that blocks are written and joined all the time.
HEAD_BYTES_MAX = "store.head_bytes_max=16MiB"


def run(*, victim: str, rounds: int, samples_per_round: int) -> Iterator[Figure]:
    """victim: one of VICTIMS, or `any`: another one in each round, at random."""
    choice = random.Random(rounds)
    victims = [choice.choice(VICTIMS) if victim == "any" else victim for _ in range(rounds)]
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder), settings=(HEAD_BYTES_MAX,)) as appliance:
        running = Rounds(appliance, Path(folder))
        found = [running.run(one, samples_count=samples_per_round) for one in victims]
        in_the_end = running.compare_all()
        running.close()
    conditions = machine() | {
        "victims": {one: victims.count(one) for one in sorted({*victims})},
        "rounds": rounds,
        "samples_sent_per_round": samples_per_round,
        "acknowledged_per_round": [one.acknowledged_samples for one in found],
        "doors": [door.path for door in DOORS],
        "head": HEAD_BYTES_MAX,
    }
    for metric, value in (
        ("samples acknowledged", in_the_end.acknowledged_samples),
        ("acknowledged samples lost", max(in_the_end.lost_samples, sum(one.lost_samples for one in found))),
        (
            "samples in a series, time or value that was never sent",
            max(in_the_end.foreign_samples, sum(one.foreign_samples for one in found)),
        ),
    ):
        yield Figure(bench="kill", metric=f"{victim}: {metric}", value=value, unit="samples", conditions=conditions)
