"""Names to ids: new ones travel once, known ones never again, and an epoch's end is survived."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.ingest.fake_store import FakeStore
from tsdb.errors import StaleEpoch
from tsdb.ingest.decoded import Decoded, Refusals
from tsdb.ingest.graphite.names import canonical_of
from tsdb.ingest.register import SeriesRegister
from tsdb.interface import Ack


def decoded(names: Iterable[str], name_index: list[int] | None = None) -> Decoded:
    column = pl.Series("name", list(names), pl.String)
    count = len(column) if name_index is None else len(name_index)
    return Decoded(
        names=column,
        name_index=None if name_index is None else np.array(name_index, np.int32),
        timestamp_ms=np.arange(count, dtype=np.int64),
        value=np.arange(count, dtype=np.float64),
        canonical_of=canonical_of,
        refusals=Refusals(),
    )


def register(epoch: int = 1) -> SeriesRegister:
    begun = SeriesRegister()
    begun.begin(epoch)
    return begun


def ack(*ids: int, epoch: int = 1) -> Ack:
    return Ack(epoch, np.array(ids, np.int32), 0, {})


def test_new_names_get_provisional_ids_then_the_stores() -> None:
    known = register()
    first = known.resolve(decoded(["a", "b", "a"]))
    assert sorted(first.new_series) == [b"__name__\xffa\xff", b"__name__\xffb\xff"]
    a, b = (first.new_series.index(b"__name__\xff" + name + b"\xff") for name in (b"a", b"b"))
    assert first.batch.series.tolist() == [-1 - a, -1 - b, -1 - a]
    ids = [0, 0]
    ids[a], ids[b] = 70, 80
    known.learn(first, ack(*ids))
    second = known.resolve(decoded(["b", "c", "a"]))
    assert second.batch.series.tolist() == [80, -1, 70]
    assert list(second.new_series) == [b"__name__\xffc\xff"]


def test_a_batch_of_known_names_is_resolved_for_little_work() -> None:
    known = register()
    assert known.resolve_known(decoded(["a", "b"])) is None
    first = known.resolve(decoded(["a"]))
    known.learn(first, ack(70))
    assert known.resolve_known(decoded(["a", "b"])) is None
    again = known.resolve_known(decoded(["a", "a"]))
    assert again is not None
    assert again.batch.series.tolist() == [70, 70]
    assert list(again.new_series) == []


def test_two_spellings_of_one_series_travel_once_and_are_both_learnt() -> None:
    known = register()
    first = known.resolve(decoded(["m;a=1;b=2", "m;b=2;a=1"]))
    assert len(first.new_series) == 1
    assert first.batch.series.tolist() == [-1, -1]
    known.learn(first, ack(5))
    assert known.resolve(decoded(["m;b=2;a=1", "m;a=1;b=2"])).batch.series.tolist() == [5, 5]


def test_endless_spellings_of_a_few_series_take_no_more_and_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a sender whose labels come in another order each time; what he sends is stored all the same."""
    monkeypatch.setattr("tsdb.ingest.register.NAMES_SPARE_COUNT", 10)
    known = register()
    for order in list(permutations("abcde")):
        name = ";".join(["m", *(f"{tag}=1" for tag in order)])
        found = known.resolve(decoded([name, "other"]))
        series = list(found.new_series)
        known.learn(found, ack(*(5 if one.startswith(b"__name__\xffm") else 6 for one in series)))
        again = known.resolve_known(decoded([name]))
        assert again is not None
        assert again.batch.series.tolist() == [5]
        assert known.series_count <= 10 + 4 * 7 + 2


def test_many_series_with_a_few_names_each_are_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.ingest.register.NAMES_SPARE_COUNT", 0)
    known = register()
    for order in list(permutations("abc"))[:4]:
        found = known.resolve(decoded([f"m{n};" + ";".join(f"{tag}=1" for tag in order) for n in range(50)]))
        known.learn(found, ack(*range(50)))
    assert known.series_count == 200


def test_a_series_that_the_store_refused_is_left_out_for_a_while_then_asked_for_again() -> None:
    times_s = [0.0]
    known = SeriesRegister(monotonic_s=lambda: times_s[0])
    known.begin(1)
    words = {"too_many_new_series": "7 series may be new in a minute"}
    first = known.resolve(decoded(["a", "b"]))
    place = {series: at for at, series in enumerate(first.new_series)}
    ids = [0, 0]
    ids[place[b"__name__\xffa\xff"]] = -3
    known.learn(first, Ack(1, np.array(ids, np.int32), 1, {"too_many_new_series": 1}, words))
    again = known.resolve_known(decoded(["a", "b"], [0, 1, 0]))
    assert again is not None
    assert again.batch.series.tolist() == [0]
    assert again.refusals.count_by_reason == {"too_many_new_series": 2}
    assert again.refusals.first_error == words["too_many_new_series"]
    mixed = known.resolve(decoded(["a", "c"]))
    assert (mixed.batch.series.tolist(), list(mixed.new_series)) == ([-1], [b"__name__\xffc\xff"])
    assert mixed.refusals.count_by_reason == {"too_many_new_series": 1}
    times_s[0] = 11.0
    assert list(known.resolve(decoded(["a"])).new_series) == [b"__name__\xffa\xff"]


def test_refused_names_kept_in_mind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.ingest.register.REFUSALS_COUNT_MAX", 3)
    known = register()
    for names in (["a", "b"], ["c", "d", "e"]):
        asked = known.resolve(decoded(names))
        known.learn(asked, ack(*[-1] * len(asked.new_series)))
    assert len(known.resolve(decoded("abcde")).new_series) == 2


def test_the_same_name_in_two_batches_in_flight_is_learnt_once() -> None:
    known = register()
    first, second = known.resolve(decoded(["a"])), known.resolve(decoded(["a", "b"]))
    known.learn(first, ack(5))
    places = {series: place for place, series in enumerate(second.new_series)}
    ids = [0, 0]
    ids[places[b"__name__\xffa\xff"]], ids[places[b"__name__\xffb\xff"]] = 5, 6
    known.learn(second, ack(*ids))
    assert known.resolve(decoded(["a", "b"])).batch.series.tolist() == [5, 6]


def test_bad_names_cost_their_own_samples_only() -> None:
    resolved = register().resolve(decoded(["a;b=", "good", "a;b=", ";x=y"]))
    assert resolved.batch.timestamp_ms.tolist() == [1]
    assert resolved.refusals.count_by_reason == {"bad_tag": 2, "empty_name": 1}
    assert {example.text for example in resolved.refusals.examples} == {b"a;b=", b";x=y"}


def test_bad_names_are_counted_by_samples_where_names_are_shared() -> None:
    resolved = register().resolve(decoded(["a;b=", "good"], [0, 1, 0, 0]))
    assert resolved.batch.timestamp_ms.tolist() == [1]
    assert resolved.refusals.count_by_reason == {"bad_tag": 3}


def test_an_epoch_that_is_over_is_forgotten() -> None:
    known = register()
    known.learn(known.resolve(decoded(["a"])), ack(5))
    known.forget(1)
    with pytest.raises(StaleEpoch):
        known.resolve(decoded(["a"]))
    known.begin(2)
    assert known.resolve(decoded(["a"])).batch.series.tolist() == [-1]


def test_an_answer_of_an_old_epoch_teaches_nothing() -> None:
    known = register()
    first = known.resolve(decoded(["a"]))
    known.begin(2)
    known.learn(first, ack(5))
    assert known.resolve(decoded(["a"])).batch.series.tolist() == [-1]


def test_forgetting_an_older_epoch_keeps_the_present_one() -> None:
    known = register(epoch=2)
    known.learn(known.resolve(decoded(["a"])), ack(5, epoch=2))
    known.forget(1)
    assert known.resolve(decoded(["a"])).batch.series.tolist() == [5]


names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=6).filter(
    lambda text: ";" not in text and not text.endswith('"}')
)


@given(st.lists(st.lists(names | st.sampled_from("abcdef"), max_size=20), max_size=8))
def test_every_sample_reaches_the_series_of_its_name(batches: list[list[str]]) -> None:
    """Model: the store keeps labels and values; the names come back as they were sent, in any order of batches."""
    store, known = FakeStore(), register()
    sent = []
    for batch in batches:
        wanted = [name for name in batch if name.lstrip("~")]
        resolved = known.resolve(decoded(wanted))
        answer = store.append(resolved.batch, resolved.new_series, protocol="graphite", epoch=1)
        known.learn(resolved, answer)
        sent += [(canonical_of(name), number, float(number)) for number, name in enumerate(wanted)]
    assert sorted(store.stored) == sorted(sent)


def test_a_plain_name_and_a_tagged_one_of_one_series_get_one_id() -> None:
    """carbon drops a tag called name, so both are the series m."""
    store, known = FakeStore(), register()
    for _ in range(2):
        resolved = known.resolve(decoded(["x", "m;name=other", "m", "m;a=", "m;a=1"]))
        answer = store.append(resolved.batch, resolved.new_series, protocol="graphite", epoch=1)
        known.learn(resolved, answer)
        assert resolved.refusals.count_by_reason == {"bad_tag": 1}
    assert known.resolve_known(decoded(["m", "m;name=other", "x"])) is not None
    x, other, m, tagged = known.resolve(decoded(["x", "m;name=other", "m", "m;a=1"])).batch.series.tolist()
    assert (m, len({x, m, tagged})) == (other, 3)
    assert len({series for series, _, _ in store.stored}) == 3
