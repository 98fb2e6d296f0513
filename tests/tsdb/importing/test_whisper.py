"""Whisper files as they lie, held against what whisper's own fetch gives."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import whisper
from hypothesis import given
from hypothesis import strategies as st

from tests.running import CHECKOUT
from tests.tsdb.importing.whisper_files import POINT, file_of, ring
from tsdb.importing.whisper import BadFile, History, archives_of, read

NOW_S = 1_700_000_040
NOW_MS = NOW_S * 1_000
CONFORMANCE = CHECKOUT.parent / "shared" / "conformance" / "graphite" / "carbon.json"


def points(history: History) -> dict[int, float]:
    return dict(zip((history.timestamp_ms // 1_000).tolist(), history.value.tolist(), strict=True))


def fetched(path: Path, now_s: int) -> dict[int, float]:
    """Every point that whisper gives at that time, each from the finest archive that reaches back to it or has one."""
    found: dict[int, float] = {}
    reached_s: int | None = None
    for archive in whisper.info(str(path))["archives"]:
        step_s = archive["secondsPerPoint"]
        (start, end, _), values = whisper.fetch(
            str(path), now_s - archive["retention"], now_s, now=now_s, archiveToSelect=f"{step_s}s"
        )
        for time, value in zip(range(start, end, step_s), values, strict=True):
            is_held = any(at in found for at in range(time, time + step_s)) and (reached_s is None or time >= reached_s)
            if value is not None and not is_held:
                found[time] = value
        reached_s = start if reached_s is None else min(start, reached_s)
    return found


@given(
    archives=st.sampled_from([[(1, 30)], [(10, 12), (60, 10)], [(1, 20), (5, 12), (20, 9)], [(60, 5), (300, 3)]]),
    laps=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    method=st.sampled_from(sorted(whisper.aggregationMethods)),
    factor=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_file_that_whisper_wrote_holds_what_whisper_fetches(
    tmp_path_factory: pytest.TempPathFactory,
    archives: list[tuple[int, int]],
    laps: list[int],
    method: str,
    factor: float,
) -> None:
    """Goal: nothing lost, nothing stale. Method: updates in any order and over several laps of the rings, written by
    whisper itself; then its fetch at the newest time against ours."""
    path = tmp_path_factory.mktemp("one") / "a.wsp"
    whisper.create(str(path), archives, factor, method)
    end_s = NOW_S + max(laps)
    for number, at in enumerate(laps):
        whisper.update(
            str(path), number / 8, NOW_S + at, now=end_s if end_s - NOW_S - at < _span(archives) else NOW_S + at
        )
    data = path.read_bytes()
    newest_s = _newest(data)
    assert points(read(data, from_ms=0, now_ms=end_s * 1_000)) == fetched(path, newest_s)


def _span(archives: list[tuple[int, int]]) -> int:
    return archives[-1][0] * archives[-1][1]


def _newest(data: bytes) -> int:
    return max(
        int(np.frombuffer(data, POINT, archive.count, archive.offset)["time"].max()) for archive in archives_of(data)
    )


@pytest.mark.parametrize("start", [0, 1, 4, 9])
def test_a_ring_begins_anywhere(start: int) -> None:
    found = points(read(file_of([(10, ring(10, 10, NOW_S, start=start))]), from_ms=0, now_ms=NOW_MS))
    assert found == {time: float(time) for time in range(NOW_S - 90, NOW_S + 1, 10)}


def test_a_time_comes_from_the_finest_archive_that_holds_it() -> None:
    archives = [
        (10, ring(10, 6, NOW_S)),
        (60, ring(60, 5, NOW_S, scale=2.0)),
        (300, ring(300, 3, NOW_S // 300 * 300, scale=3.0)),
    ]
    found = points(read(file_of(archives), from_ms=0, now_ms=NOW_MS))
    fine = {time: float(time) for time in range(NOW_S - 50, NOW_S + 1, 10)}
    middle = {time: 2.0 * time for time in range(NOW_S - 240, NOW_S - 50, 60)}
    coarse = {time: 3.0 * time for time in range(NOW_S // 300 * 300 - 600, NOW_S - 240, 300)}
    assert found == coarse | middle | fine


def test_a_coarser_point_fills_a_hole_of_the_finer_archive() -> None:
    fine = np.frombuffer(ring(10, 60, NOW_S), POINT).copy()
    fine[10:30] = 0  # 200 s, in which three minutes lie whole.
    data = file_of([(10, fine.tobytes()), (60, ring(60, 10, NOW_S, scale=2.0))])
    found = points(read(data, from_ms=0, now_ms=NOW_MS))
    filled = sorted(time for time, value in found.items() if value == 2.0 * time)
    assert len([time for time in filled if time > NOW_S - 590]) == 3
    assert len(found) == 40 + len(filled)


def test_what_an_earlier_lap_left_is_left_out() -> None:
    old = np.frombuffer(ring(10, 10, NOW_S - 100), POINT).copy()
    old["time"][3:] += 100
    assert len(points(read(file_of([(10, old.tobytes())]), from_ms=0, now_ms=NOW_MS))) == 7


def test_what_is_left_out_is_counted() -> None:
    some = np.frombuffer(ring(10, 10, NOW_S), POINT).copy()
    some["value"][8] = math.nan
    found = read(file_of([(10, some.tobytes())]), from_ms=(NOW_S - 70) * 1_000 - 5, now_ms=NOW_MS - 10_000)
    assert found.left_out == {"before_from": 2, "future": 1, "nan": 1}
    assert found.timestamp_ms[0] == (NOW_S - 70) * 1_000
    assert found.value.size == 6


def test_an_empty_file_has_no_points() -> None:
    assert read(file_of([(10, bytes(120)), (60, bytes(120))]), from_ms=0, now_ms=NOW_MS).value.size == 0


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="the recorded answers of carbon are not beside this checkout")
def test_each_archive_gives_the_ages_that_graphite_reads_it_for() -> None:
    recorded = json.loads(CONFORMANCE.read_text())["archive_choice"]["archives"]
    newest_s = NOW_S // 600 * 600
    data = file_of([(step_s, ring(step_s, count, newest_s, scale=float(step_s))) for step_s, count in recorded])
    found = points(read(data, from_ms=0, now_ms=NOW_MS))
    younger_s = 0
    for step_s, count in recorded:
        ages_s = [newest_s - time for time, value in found.items() if value == time * step_s]
        assert sorted(ages_s) == list(range(younger_s, step_s * count, step_s))
        younger_s = step_s * count


@pytest.mark.parametrize("case", json.loads(CONFORMANCE.read_text())["whisper_rollup"] if CONFORMANCE.exists() else [])
def test_rolled_up_points_come_as_carbon_wrote_them(case: dict[str, object], tmp_path: Path) -> None:
    """The fine archive forgets all but its newest minutes; what it rolled up is then the history."""
    values, results = case["values"], case["result"]
    assert isinstance(values, list)
    assert isinstance(results, list)
    fine_s, coarse_s = case["from_step"], case["to_step"]
    assert isinstance(fine_s, int)
    assert isinstance(coarse_s, int)
    first_s = NOW_S // 86_400 * 86_400
    path = tmp_path / "a.wsp"
    method = {"avg_zero": "avg_zero"}.get(str(case["method"]), str(case["method"]))
    whisper.create(str(path), [(fine_s, 60), (coarse_s, 400)], case["xFilesFactor"], method)
    for number, value in enumerate(values):
        if value is not None:
            at_s = first_s + fine_s * number
            whisper.update(str(path), value, at_s, now=at_s)
    later_s = first_s + 3_600 * 5
    whisper.update(str(path), 1.0, later_s, now=later_s)
    found = points(read(path.read_bytes(), from_ms=0, now_ms=later_s * 1_000))
    want = {first_s + coarse_s * number: value for number, value in enumerate(results) if value is not None}
    assert {time: value for time, value in found.items() if time < first_s + 3_600} == pytest.approx(want)


HEADER = "!2LfL"
WHOLE = file_of([(10, ring(10, 10, NOW_S))])
DAMAGE = {  # name: (bytes, a word of the reason)
    "nothing at all": (b"", "truncated"),
    "half a header": (WHOLE[:10], "truncated"),
    "no archive infos": (WHOLE[:20], "truncated"),
    "half a ring": (WHOLE[:-5], "truncated"),
    "an unknown aggregation": (struct.pack(HEADER, 99, 1, 0.5, 1) + WHOLE[16:], "aggregation"),
    "a factor that is none": (struct.pack(HEADER, 1, 1, math.nan, 1) + WHOLE[16:], "xFilesFactor"),
    "no archives": (struct.pack(HEADER, 1, 1, 0.5, 0) + WHOLE[16:], "archives"),
    "too many archives": (struct.pack(HEADER, 1, 1, 0.5, 2**32 - 1) + WHOLE[16:], "archives"),
    "a negative count": (WHOLE[:16] + struct.pack("!LLl", 28, 10, -1) + WHOLE[28:], "points"),
    "a step of nothing": (WHOLE[:16] + struct.pack("!3L", 28, 0, 10) + WHOLE[28:], "points"),
    "a ring in the header": (WHOLE[:16] + struct.pack("!3L", 4, 10, 10) + WHOLE[28:], "inside of the header"),
    "text": (b"this is no whisper file, but long enough for one" * 3, "wrong header"),
}


@pytest.mark.parametrize(("data", "word"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_refused_with_a_reason(data: bytes, word: str) -> None:
    with pytest.raises(BadFile, match=word):
        read(data, from_ms=0, now_ms=NOW_MS)


@given(st.binary(max_size=200))
def test_noise_is_refused_or_read_and_nothing_else(tail: bytes) -> None:
    for data in (tail, WHOLE[:16] + tail, WHOLE[:28] + tail + WHOLE[28 + len(tail) :]):
        try:
            history = read(data, from_ms=0, now_ms=NOW_MS)
        except BadFile:
            continue
        assert (np.diff(history.timestamp_ms) > 0).all()
