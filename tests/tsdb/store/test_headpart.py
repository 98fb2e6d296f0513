"""The head's part as it travels: ids mean something in one index of the store alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, NOW_MS, append, bits_of, labels, open_engine, rows_of
from tests.tsdb.store.test_columns import columns
from tests.tsdb.store.test_model import select_elsewhere
from tests.tsdb.store.test_sorted_run import told
from tsdb.errors import StaleEpoch
from tsdb.store.columns import rows_of as plain_rows
from tsdb.store.headpart import HeadPart, HeadSeries, heads_of
from tsdb.store.index import SeriesIndex
from tsdb.store.pieces import Pieces
from tsdb.store.reader import BlockReader
from tsdb.store.sorted_run import sorted_run

ONE = bits_of(1.0)


def test_ids_of_another_start_of_the_store_are_not_taken_for_those_of_this_one() -> None:
    """Method: the store forgets its series by a flush and a restart, and gives the same id to another."""
    disk = MemoryDisk()
    reader = BlockReader(FOLDER, disk=disk)
    sent = []
    for number, name in enumerate("abc"):
        engine = open_engine(disk)
        sent.append((labels(name=name), NOW_MS + number, ONE))
        append(engine, sent[-1:])
        assert rows_of(select_elsewhere(reader, engine, [], 0, 2**60)) == sent
        engine.flush()
        engine.close()


def test_ids_of_an_index_that_is_gone_are_refused() -> None:
    engine = open_engine(MemoryDisk())
    append(engine, [(labels(name="a"), NOW_MS, ONE)])
    (head,) = engine.snapshot([], 0, 2**60).heads
    assert engine.canonical_of(head.series.ids, head.series.index_token) == [b"__name__\xffa\xff"]
    with pytest.raises(StaleEpoch, match="take a new snapshot"):
        engine.canonical_of(head.series.ids, head.series.index_token + 1)


def test_times_travel_once_for_pieces_that_share_them() -> None:
    """Method: two runs of four rows each, whose last and first row lie at the same places; cut in time as well."""
    index = SeriesIndex()
    ids = index.add([b"__name__\xff%c\xff" % letter for letter in b"abcd"])
    runs = []
    for first_ms in (0, 10):
        rows = [(series, first_ms + at, 100 * series + at) for series in range(4) for at in range(3)]
        runs.append(sorted_run(columns(rows)))
        assert runs[-1].timestamp_ms.size == 12
    one = np.array([0, 1, 2, 3], np.int32)
    shared = [replace(run, time_starts=np.zeros(4, np.int64), timestamp_ms=run.timestamp_ms[:3]) for run in runs]
    for start_ms, end_ms, times_count in ((0, 99, 6), (1, 11, 4), (2, 10, 2), (0, 5, 3)):
        parts = [run.pieces(one).clipped(start_ms, end_ms) for run in shared]
        sent = HeadPart.of(HeadSeries.of(index, ids), parts)
        (got,) = heads_of([sent.described()], sent.columns(), lambda _, wanted: list(index.canonical_of(wanted)))
        assert [part.row.size for part in got.parts] == [part.row.size for part in parts]
        for mine, its in zip(parts, got.parts, strict=True):
            assert told(its.gathered()) == told(mine.gathered())
        assert got.parts[0].timestamp_ms.size == times_count


def test_a_part_without_samples_travels() -> None:
    index = SeriesIndex()
    for parts in ([], [Pieces.empty()], [Pieces.empty(), Pieces.of(plain_rows(columns([(0, 5, 1)]))), Pieces.empty()]):
        sent = HeadPart(HeadSeries.of(index, np.zeros(1, np.int32)), parts)
        (got,) = heads_of([sent.described()], sent.columns(), lambda _, __: [])
        assert [told(part.gathered()) for part in got.parts] == [told(part.gathered()) for part in parts]
