"""Reading a store in pieces: everything once, in bounded pieces, metrics together where asked."""

from __future__ import annotations

from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, HOUR_MS, NOW_MS, Row, append, bits_of, everything, labels, open_engine
from tsdb.sample import Matcher, MatchOp, labels_of
from tsdb.store.engine import Engine
from tsdb.store.export import Export
from tsdb.store.reader import BlockGone

SERIES = [
    *(labels(name=f"servers.h{host}.load", core=str(core)) for host in range(3) for core in range(2)),
    *(labels(name="up", job=job) for job in "abc"),
    labels(job="no metric"),
]
ALL = [Matcher("__name__", MatchOp.REGEX, ".*")]
samples = st.tuples(
    st.sampled_from(SERIES),
    st.one_of(st.integers(0, 30), st.integers(0, 400).map(lambda hour: hour * HOUR_MS)).map(lambda at: NOW_MS + at),
    st.integers(0, 3).map(bits_of),
)


def export_of(
    disk: MemoryDisk, engine: Engine, selectors: list[list[Matcher]], start_ms: int = 0, end_ms: int = 2**53
) -> Export:
    engine.flush()
    found = engine.snapshot([], start_ms, end_ms)
    return Export(disk, FOLDER, found.blocks, found.tombstones, selectors, start_ms, end_ms)


def rows_of(export: Export, *, is_by_metric: bool) -> list[Row]:
    return [
        (labels_of(one), int(rows.timestamp_ms[at]), bits_of(rows.value[at]))
        for canonical, rows in export.pieces(is_by_metric=is_by_metric)
        for one, (start, end) in zip(canonical, pairwise(rows.offsets.tolist()), strict=True)
        for at in range(start, end)
    ]


@pytest.mark.parametrize("is_by_metric", [True, False])
@given(batches=st.lists(st.lists(samples, min_size=1, max_size=30), max_size=4), compacts=st.booleans())
def test_every_sample_comes_once(is_by_metric: bool, batches: list[list[Row]], compacts: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.export.PIECE_SAMPLES_MAX", 5)
        disk = MemoryDisk()
        engine = open_engine(disk)
        for number, batch in enumerate(batches):
            append(engine, batch)
            engine.flush()
            if number == 1:
                engine.delete([Matcher("job", MatchOp.EQUAL, "a")], NOW_MS + 3, NOW_MS + HOUR_MS)
        if compacts:
            engine.compact()
        found = rows_of(export_of(disk, engine, [ALL]), is_by_metric=is_by_metric)
        assert sorted(found) == everything(engine)
        if is_by_metric:
            metrics = [name for name, _ in groupby(dict(row[0]).get("__name__") for row in found)]
            assert len(metrics) == len(set(metrics)), "each metric in one piece"
            series = [one for one, _ in groupby(row[0] for row in found)]
            assert len(series) == len(set(series))


def test_selectors_and_times_narrow_it_and_pieces_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.store.export.PIECE_SAMPLES_MAX", 100)
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(one, NOW_MS + at, bits_of(at)) for one in SERIES for at in range(250)])
    selectors = [[Matcher("job", MatchOp.EQUAL, job)] for job in "ab"] + [[Matcher("job", MatchOp.REGEX, "a|b")]]
    export = export_of(disk, engine, selectors, NOW_MS + 10, NOW_MS + 239)
    sizes = [rows.value.size for _, rows in export.pieces(is_by_metric=False)]
    assert sum(sizes) == 2 * 230
    assert max(sizes) <= 100


def test_blocks_that_go_meanwhile_stay_readable_and_gone_ones_are_said() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(SERIES[0], NOW_MS, bits_of(1.0))])
    export = export_of(disk, engine, [ALL])
    for path in disk.paths(FOLDER / "blocks"):
        disk.remove(path)
    assert len(rows_of(export, is_by_metric=True)) == 1
    with pytest.raises(BlockGone):
        export_of(disk, engine, [ALL])


def test_a_damaged_tile_is_left_out_and_counted() -> None:
    disk = MemoryDisk()
    engine = open_engine(disk)
    append(engine, [(SERIES[0], NOW_MS + at, bits_of(at / 7)) for at in range(100)])
    engine.flush()
    disk.damage(disk.paths(FOLDER / "blocks")[0], 100)
    export = export_of(disk, engine, [ALL])
    assert rows_of(export, is_by_metric=False) == []
    assert export.damage_count == 1
