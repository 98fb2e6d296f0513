"""The drawings of the server: heartbeat bars, sparklines, meters; and numbers in words."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.model import State
from web import words
from web.draw.heartbeat import Beat, bar, bar_with_titles
from web.draw.meter import meter
from web.draw.sparkline import sparkline

beats = st.lists(st.builds(Beat, st.integers(0, 10**13), st.sampled_from(State), st.text(max_size=20)), max_size=120)


@given(beats)
def test_a_bar_is_well_formed_and_has_a_stroke_for_every_place(found: list[Beat]) -> None:
    small = ET.fromstring(bar(found))
    assert sum(path.attrib["d"].count("z") for path in small) == 30
    printable = [Beat(beat.at_ms, beat.state, "reason") for beat in found]
    assert len(ET.fromstring(bar_with_titles(printable))) == 90


def test_a_bar_tells_its_states_in_words_and_in_height() -> None:
    drawn = bar([Beat(1, State.OK), Beat(2, State.OK), Beat(3, State.CRITICAL)])
    assert 'aria-label="last 3 results: 2 ok, 1 critical"' in drawn
    heights = {
        path.attrib["class"]: path.attrib["d"].partition("v")[2].partition("h")[0] for path in ET.fromstring(drawn)
    }
    assert heights["beat-critical"] > heights["beat-ok"]
    assert "no results yet" in bar([])
    assert "&lt;b&gt;" in bar_with_titles([Beat(1, State.OK, "<b>")])


@given(st.lists(st.floats(0, 1e9), max_size=40))
def test_a_sparkline_stays_inside_its_frame(values: list[float]) -> None:
    drawn = sparkline(values, label="latency")
    if len(values) < 2:
        assert drawn == ""
        return
    line = ET.fromstring(drawn)[1].attrib["d"]
    points = [tuple(map(float, point.split())) for point in line[1:].split("L")]
    assert len(points) == len(values)
    assert all(0 <= x <= 88.1 and 0 <= y <= 24 for x, y in points)


@pytest.mark.parametrize(
    ("used", "css_class"), [(10, "value "), (85, "warning"), (99, "critical"), (1_000, "critical")]
)
def test_a_meter_warns_before_it_is_full(used: float, css_class: str) -> None:
    assert css_class in meter(used, 100, label="disk")
    assert meter(1, 0, label="nothing")


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (words.duration(45_000), "45 s"),
        (words.duration(200_000), "3 min 20 s"),
        (words.duration(1_200_000), "20 min"),
        (words.duration(7_500_000), "2 h 5 min"),
        (words.duration(4 * 86_400_000 + 3 * 3_600_000), "4 d 3 h"),
        (words.ago(1_000, 1_500), "now"),
        (words.ago(0, 60_000), "1 min ago"),
        (words.ago(60_000, 0), "in 1 min"),
        (words.ago(None, 0), "never"),
        (words.latency(0.0012), "1.2 ms"),
        (words.latency(0.25), "250 ms"),
        (words.latency(2.5), "2.50 s"),
        (words.latency(None), "–"),
        (words.size(512), "512 B"),
        (words.size(1_536), "1.5 KiB"),
        (words.size(3 * 2**30), "3.0 GiB"),
        (words.number(1234567.0), "1,234,567"),
        (words.number(3.14159), "3.142"),
        (words.number(float("nan")), "NaN"),
        (words.plural(1, "check"), "1 check"),
        (words.plural(2, "series", "series"), "2 series"),
        (words.measured(0.002, "s"), "2.0 ms"),
        (words.measured(5, "%"), "5 %"),
        (words.series_name({"__name__": "up", "job": 'a"b'}), 'up{job="a\\"b"}'),
        (words.series_name({}), "{}"),
    ],
)
def test_numbers_and_times_in_words(got: str, want: str) -> None:
    assert got == want
