"""The counts of the cardinality report, against counting series one by one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.store.test_postings import index_of
from tsdb.sample import Labels, canonical_bytes, labels_from
from tsdb.store.cardinality import cardinality
from tsdb.store.index import SeriesIndex

label_sets = st.dictionaries(
    st.sampled_from(["__name__", "job", "pod", "team"]), st.sampled_from(["a", "b", "ü", "x=y"]), min_size=1
).map(labels_from)


@given(st.lists(label_sets, unique=True, max_size=20), st.integers(0, 20), st.integers(1, 5))
def test_every_table_is_a_count_of_series(series: list[Labels], old_count: int, top_count: int) -> None:
    index = SeriesIndex()
    index.add([canonical_bytes(one) for one in series[:old_count]], at_s=1_000)
    index.add([canonical_bytes(one) for one in series[old_count:]], at_s=9_000)
    found = cardinality(index, 0, 10_000.0, top_count)
    new = series[old_count:]
    assert (found["series_count"], found["new_count"]) == (len(series), len(new))
    pairs, new_pairs = (Counter(pair for one in some for pair in one) for some in (series, new))

    def expected(rows: dict[object, tuple[int, int]], by: int) -> list[tuple[object, int, int]]:
        ordered = sorted(((words, *counts) for words, counts in rows.items()), key=lambda row: (-row[1 + by], row[0]))
        return [row for row in ordered if not by or row[2]][:top_count]

    def table(key: str, *words: str) -> list[tuple[object, int, int]]:
        return [(tuple(row[word] for word in words), row["series_count"], row["new_count"]) for row in found[key]]

    metrics = {(v,): (n, new_pairs[k, v]) for (k, v), n in pairs.items() if k == "__name__"}
    values = {(k, v): (n, new_pairs[k, v]) for (k, v), n in pairs.items() if k != "__name__"}
    teams = {(v,): (n, new_pairs[k, v]) for (k, v), n in pairs.items() if k == "team"}
    names = {
        (name,): (sum(name in dict(one) for one in series), sum(name in dict(one) for one in new))
        for name in {name for one in series for name, _ in one}
    }
    for by, suffix in enumerate(("", "_by_new")):
        assert table("metrics" + suffix, "metric") == expected(metrics, by)
        assert table("label_values" + suffix, "name", "value") == expected(values, by)
        assert table("label_names" + suffix, "name") == expected(names, by)
    assert table("teams", "team") == expected(teams, 0)
    for row in found["label_names"]:
        assert row["value_count"] == len({v for k, v in pairs if k == row["name"]})


@pytest.mark.parametrize("count", [0, 1])
def test_few_series_are_no_trouble(count: int) -> None:
    series = [labels_from({"__name__": "up"})][:count]
    assert cardinality(index_of(*series), 0, 0.0, 10)["series_count"] == count
