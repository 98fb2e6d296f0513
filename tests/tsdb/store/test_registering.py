"""New series a column at a time, against a dict and a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsdb.store.stores import labels
from tsdb.canonical import CanonicalColumn
from tsdb.sample import Int32s, canonical_bytes
from tsdb.store.index import Keys, SeriesIndex
from tsdb.store.series_limits import OVER_COUNT, OVER_RATE, OVER_TEAM, SeriesLimits

SERIES = [
    canonical_bytes(
        labels(
            name=f"m{number}",
            **({"team": team} if team else {}),
            **({"area": "red", "zone": "red"} if number % 2 else {}),
        )
    )
    for number in range(5)
    for team in ("", "red", "blue", "re")
]
batches = st.lists(st.lists(st.sampled_from(SERIES), max_size=30), max_size=5)


@given(batches, st.sets(st.sampled_from(SERIES)))
def test_ids_are_given_in_the_order_of_first_coming_and_refused_series_get_none(
    batches: list[list[bytes]], refused: set[bytes]
) -> None:
    """The refused take no id, and are asked about again whenever they come."""
    index, id_of = SeriesIndex(), dict[bytes, int]()
    for batch in batches:
        asked = []

        def admit(new: CanonicalColumn) -> Int32s:
            asked.extend(new)  # noqa: B023 – it is called before the loop goes on.
            return np.array([-2 if one in refused else 0 for one in new], np.int32)

        expected_new = [one for one in dict.fromkeys(batch) if one not in id_of]
        ids = index.add(batch, at_s=5, admit=admit)
        for one in expected_new:
            if one not in refused:
                id_of[one] = len(id_of)
        assert asked == expected_new
        assert ids.tolist() == [id_of.get(one, -2) for one in batch]
    assert index.canonical_of(np.arange(len(index))) == list(id_of)
    assert index.find(Keys.of(list(id_of))).tolist() == list(id_of.values())
    for some in ([], range(len(index)), range(1, len(index), 2), range(1, len(index) - 1)):
        ids = np.array(some, np.int32)
        assert list(index.column_of(ids)) == index.canonical_of(ids)


def test_bytes_that_are_not_canonical_add_nothing() -> None:
    index = SeriesIndex()
    with pytest.raises(ValueError, match=r"not canonical label bytes: b'a\\xff'"):
        index.add([SERIES[0], b"a\xff", SERIES[1]])
    assert len(index) == 0


@given(batches, st.integers(0, 12), st.integers(0, 5), st.integers(0, 8))
def test_limits_on_series_are_those_of_a_count_one_by_one(
    batches: list[list[bytes]], count_max: int, team_max: int, rate_max: int
) -> None:
    """A team's share is looked at first, then the minute's, then that of all, for each in the order of its coming."""
    limits = SeriesLimits(
        series_count_max=count_max,
        series_per_team_max=team_max,
        new_series_per_minute_max=rate_max,
        started_s=0.0,
    )
    count, by_team = 0, dict[bytes, int]()
    for minute, batch in enumerate(batches):
        new = list(dict.fromkeys(batch))
        expected = []
        room_in_minute, room = rate_max, count_max - count
        room_of = {team: team_max - by_team.get(team, 0) for team in map(team_of, new)}
        for one in new:
            team = team_of(one)
            room_of[team] -= 1
            if team and room_of[team] < 0:
                expected.append(OVER_TEAM)
            elif room_in_minute <= 0:
                expected.append(OVER_RATE)
            else:
                room_in_minute -= 1
                room -= 1
                expected.append(OVER_COUNT if room < 0 else 0)
            if not expected[-1]:
                count += 1
                by_team[team] = by_team.get(team, 0) + 1
        assert limits.admit(CanonicalColumn.of(new), 600.0 + 60 * minute).tolist() == expected
        assert limits.active_count == count


def team_of(one: bytes) -> bytes:
    parts = one.split(b"\xff")
    return parts[parts.index(b"team") + 1] if b"team" in parts[::2] else b""
