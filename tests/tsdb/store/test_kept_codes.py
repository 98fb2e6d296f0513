"""Codes that were looked up once are given again for the same label and series, and for no others."""

from __future__ import annotations

import numpy as np
import pytest

from tsdb.sample import Int32s, canonical_bytes, labels_from
from tsdb.store import kept_codes
from tsdb.store.index import SeriesIndex
from tsdb.store.kept_codes import KeptCodes
from tsdb.store.labels import LabelColumn


def ids(*numbers: int) -> Int32s:
    return np.array(numbers, np.int32)


class LookUp:
    """Counts; every third series has a value of its own, and some have none."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []

    def __call__(self, name: str, among: Int32s) -> tuple[Int32s, list[str]]:
        self.asked.append((name, among.tolist()))
        return (among % 3 - 1).astype(np.int32), [f"{name}0", f"{name}1"]


def test_the_same_label_of_the_same_series_is_looked_up_once() -> None:
    kept, look_up = KeptCodes(), LookUp()
    for _ in range(2):
        for name, among in (("a", ids(0, 1, 2)), ("b", ids(0, 1, 2)), ("a", ids(0, 1, 2, 3))):
            codes, values = kept.of(name, among, look_up)
            assert codes.tolist() == (among % 3 - 1).tolist()
            assert values == [f"{name}0", f"{name}1"]
            values.clear()  # The caller's own.
    assert look_up.asked == [("a", [0, 1, 2]), ("b", [0, 1, 2]), ("a", [0, 1, 2, 3])]


def test_what_was_not_asked_for_lately_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_codes, "_KEPT_COUNT_MAX", 2)
    kept, look_up = KeptCodes(), LookUp()
    for name in "abacab":
        kept.of(name, ids(0), look_up)
    assert [name for name, _ in look_up.asked] == ["a", "b", "c", "b"]


def test_many_series_and_many_values_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_codes, "_SERIES_COUNT_MAX", 2)
    kept, look_up = KeptCodes(), LookUp()
    for _ in range(2):
        kept.of("a", ids(0, 1, 2), look_up)
    monkeypatch.setattr(kept_codes, "_VALUE_COUNT_MAX", 1)
    for _ in range(2):
        kept.of("a", ids(0), look_up)
    assert len(look_up.asked) == 4


def test_a_series_that_came_since_has_its_value() -> None:
    index = SeriesIndex()

    def add(host: str) -> None:
        index.add([canonical_bytes(labels_from({"__name__": "up", "host": host}))])

    add("a")
    assert LabelColumn(index, ids(0)).codes("host")[1] == ["a"]
    add("b")
    codes, values = LabelColumn(index, ids(0, 1)).codes("host")
    assert [values[code] for code in codes.tolist()] == ["a", "b"]
    assert LabelColumn(index, ids(0)).codes("host")[1] == ["a"]
