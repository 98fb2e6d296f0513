"""The head's part as it travels: ids mean something in one index of the store alone."""

from __future__ import annotations

import pytest

from tests.sim.disk import MemoryDisk
from tests.tsdb.store.stores import FOLDER, NOW_MS, append, bits_of, labels, open_engine, rows_of
from tests.tsdb.store.test_model import select_elsewhere
from tsdb.errors import StaleEpoch
from tsdb.store.reader import BlockReader

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
