"""The kept order of series is the order of their labels, however the index grew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.sample import canonical_bytes, labels_from
from tsdb.store.index import SeriesIndex
from tsdb.store.labels import LabelColumn
from tsdb.store.order import LabelOrder

texts = st.text(st.sampled_from("\0\x01aAb~é￿🦔"), min_size=1, max_size=3)
label_sets = st.dictionaries(texts, texts, min_size=1, max_size=3).map(labels_from)


@given(
    st.lists(st.lists(label_sets, max_size=12), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
    st.sampled_from([0, 2, 512]),
    st.sampled_from([0, 3, 1_000]),
)
def test_series_come_in_the_order_of_their_labels(batches, random, alone_max: int, bisected_max: int) -> None:
    """Method: series are added batch by batch, and after each some are asked for; against sorted()."""
    index = SeriesIndex()
    order = LabelOrder(index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsdb.store.order._SORTED_ALONE_MAX", alone_max)
        patch.setattr("tsdb.store.order._BISECTED_COUNT_MAX", bisected_max)
        patch.setattr("tsdb.store.order._CHUNK_COUNT", 5)
        for batch in batches:
            index.add([canonical_bytes(labels) for labels in batch])
            some = random.sample(range(len(index)), random.randint(0, len(index)))
            labels = LabelColumn(index, order.ordered(np.array(some, np.int32)))
            assert labels == sorted(index.labels_of(np.array(some, np.int32)))


def test_labels_are_read_one_by_one_or_all_at_once() -> None:
    index = SeriesIndex()
    wanted = [labels_from({"__name__": name}) for name in "abc"]
    index.add([canonical_bytes(labels) for labels in wanted])
    for read_first in (False, True):
        column = LabelColumn(index, np.arange(3, dtype=np.int32))
        assert not read_first or list(column) == wanted
        assert [column[0], column[2], column[-1], column[-3]] == [wanted[0], wanted[2], wanted[2], wanted[0]]
        assert (column[1:], len(column), wanted[1] in column) == (wanted[1:], 3, True)
        with pytest.raises(IndexError):
            column[3]
