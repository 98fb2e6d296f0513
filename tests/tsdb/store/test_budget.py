"""The disk budget in bytes, while samples go on coming."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from appliance.retention import parse_retention
from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, HOUR_MS, NOW_MS, DrivenClock, labels, open_engine
from tsdb.interface import Aggregate, Grain
from tsdb.sample import SampleBatch, canonical_bytes
from tsdb.store.engine import Engine
from tsdb.store.schemas import SchemaTable

SERIES = [canonical_bytes(labels(name="temperature", room=str(number))) for number in range(20)]
BEGIN_MS = NOW_MS // (128 * HOUR_MS) * 128 * HOUR_MS
TIERS = SchemaTable.of(parse_retention("raw:90d,1m:1y,10m:3y,1h:10y"))


def fill(engine: Engine, start_ms: int, length_ms: int, step_ms: int, random: np.random.Generator) -> None:
    """Values that do not compress, of all series at once."""
    times_ms = np.arange(start_ms, start_ms + length_ms, step_ms, dtype=np.int64)
    batch = SampleBatch(
        series=np.repeat(-1 - np.arange(len(SERIES), dtype=np.int32), times_ms.size),
        timestamp_ms=np.tile(times_ms, len(SERIES)),
        value=random.random(times_ms.size * len(SERIES)),
    )
    engine.append(batch, SERIES, epoch=engine.epoch, now_ms=start_ms + length_ms)


@pytest.mark.parametrize("step_ms", [10_000, 60_000, HOUR_MS], ids=["10 s", "1 m", "1 h"])
def test_the_folder_keeps_to_its_budget_while_samples_come(step_ms: int) -> None:
    """Goal: whatever the rate, and though rollups of all tiers may take more than the samples, the folder takes no more
    than the budget and one window.

    Method: samples at one rate for several times as long as the budget has room for, the clock moved hour by hour."""
    disk, clock = MemoryDisk(), DrivenClock(BEGIN_MS)
    hours = {10_000: 90, 60_000: 300, HOUR_MS: 1_200}[step_ms]
    budget = {10_000: 2 << 20, 60_000: 1 << 20, HOUR_MS: 3 << 16}[step_ms]
    # Of a raw window of eight in the budget, and of the open one, with its log and what readers may still open.
    slack = budget // 4 + len(SERIES) * 4 * HOUR_MS // step_ms * 40 + 100_000
    engine = open_engine(
        disk, clock=clock, schemas=TIERS, disk_bytes_max=budget, out_of_order_window_ms=HOUR_MS, head_bytes_max=1 << 20
    )
    random = np.random.default_rng(3)
    stride = {10_000: 2, 60_000: 4, HOUR_MS: 16}[step_ms]
    highest, lowest = 0, budget  # lowest: since the budget was used up for the first time.
    for hour in range(0, hours, stride):
        fill(engine, clock.time_ms, stride * HOUR_MS, step_ms, random)
        clock.time_ms += stride * HOUR_MS
        for _ in range(5):
            clock.time_ms += 31_000  # So that files of before go, and the folder is measured.
            engine.tick(clock.time_ms)
        clock.time_ms = BEGIN_MS + (hour + stride) * HOUR_MS
        used = disk.tree_bytes(FOLDER)
        highest = max(highest, used)
        assert highest <= budget + slack, (hour, highest, engine.stats())
        if engine.stats()["rolled_for_space"]:
            lowest = min(lowest, used)
    assert lowest < budget, "the budget was never used up"
    assert lowest > budget // 2, "no more goes than has to"
    count = engine.select([], 0, 2**62, Grain(Aggregate.COUNT, HOUR_MS))
    assert len(count.labels) == len(SERIES)
    assert int(count.timestamp_ms.max()) >= clock.time_ms - HOUR_MS, "the newest are there"


def test_a_window_that_goes_for_space_leaves_the_tiers_that_take_less_than_half_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of six samples in a minute a rollup of minutes keeps six numbers, and of one in an hour it keeps six as well."""
    kept = {10_000: {600_000, HOUR_MS}, HOUR_MS: set()}
    for step_ms, tiers_ms in kept.items():
        clock = DrivenClock(BEGIN_MS)
        engine = open_engine(MemoryDisk(), clock=clock, schemas=TIERS, future_max_ms=1_000 * HOUR_MS)
        fill(engine, BEGIN_MS, 8 * HOUR_MS, step_ms, np.random.default_rng(5))
        engine.flush()
        clock.time_ms += 100 * HOUR_MS
        fill(engine, clock.time_ms, HOUR_MS, step_ms, np.random.default_rng(5))
        engine.flush()
        engine.compact()
        raw_bytes = sum(entry.size_bytes for entry in engine._catalogue.entries)
        engine._budget.bytes_max = 1
        with caplog.at_level(logging.WARNING):
            clock.time_ms += 31_000
            engine.tick(clock.time_ms)
        assert {entry.name.tier_ms for entry in engine._catalogue.rollups} == tiers_ms
        assert 2 * sum(entry.size_bytes for entry in engine._catalogue.rollups) <= raw_bytes
        assert engine.stats()["dropped_without_rollup"] == (not tiers_ms)
        assert re.search(r"samples of \d{4}-\d\d-\d\dT\d\d:00:00Z to \d{4}-", caplog.text)
        assert ("rollups of 10m, 1h stand for them" if tiers_ms else "and no rollups;") in caplog.text
        caplog.clear()
