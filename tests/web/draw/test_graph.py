"""Whole pictures: well-formed whatever the names, with what the arguments ask for."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.draw.series import SVG, curves, one, points, texts, wanted
from web.draw.graph import font
from web.draw.graph.colors import THEMES, Color, color
from web.draw.graph.errors import BadPicture
from web.draw.graph.picture import POINTS_DRAWN_MAX, SERIES_DRAWN_MAX, line_svg, pie_svg
from web.draw.graph.pie import Slice, slice_of
from web.draw.graph.scale import Bounds
from web.draw.graph.wanted import AREA_MODES, LINE_MODES, Side

HOSTILE = "<script>alert(1)</script>\"'&amp;]]>\x00\x1b\ud800<!--"
VALUES = st.lists(st.floats(), max_size=12)
SERIES = st.lists(
    st.builds(
        one,
        st.text(max_size=8),
        VALUES,
        start_s=st.sampled_from([1_700_000_000, 1_700_000_030, 0]),
        step_s=st.sampled_from([1, 60, 86_400]),
        stacked=st.booleans(),
        invisible=st.booleans(),
        secondYAxis=st.booleans(),
        drawAsInfinite=st.booleans(),
    ),
    max_size=5,
)


@given(
    SERIES,
    st.sampled_from(list(THEMES)),
    st.sampled_from(LINE_MODES),
    st.sampled_from(AREA_MODES),
    st.sampled_from([(16, 16), (330, 250), (40, 2_000)]),
    st.sampled_from([None, 10.0]),
)
def test_every_picture_is_well_formed_and_has_no_numbers_that_are_none(
    series, template, lines, areas, size, log
) -> None:  # type: ignore[no-untyped-def]
    look = wanted(template, line_mode=lines, area_mode=areas, width=size[0], height=size[1], log_base=log)
    svg = line_svg(series, look)
    root = ET.fromstring(svg)
    assert (root.attrib["width"], root.attrib["height"]) == tuple(map(str, size))
    for found in root.iter():
        if found.tag not in (f"{SVG}title", f"{SVG}text"):
            assert not {"nan", "inf"} & set(str(found.attrib).lower().replace(",", " ").split())


def test_a_name_is_text_whatever_stands_in_it() -> None:
    look = wanted(title=HOSTILE, left_title=HOSTILE, right_title=HOSTILE, width=900)
    for svg in (line_svg([one(HOSTILE, [1, 2])], look), pie_svg([Slice(HOSTILE, 1.0)], look)):
        tags = {found.tag.removeprefix(SVG) for found in ET.fromstring(svg).iter()}
        assert tags <= {"svg", "title", "rect", "path", "clipPath", "g", "text"}
        assert any("<script>" in text for text in texts(svg))  # Read back, it is what it was.
        assert "<script" not in svg


def test_without_data_the_picture_says_so() -> None:
    assert texts(line_svg([], wanted())) == ["No Data"]
    assert "No Data" in texts(line_svg([one("a", [math.nan] * 5)], wanted()))
    assert "No Data" in texts(pie_svg([], wanted()))
    assert "No Data" not in texts(line_svg([one("a", [0.0])], wanted()))


def test_too_much_is_refused_with_how_much_it_is() -> None:
    with pytest.raises(BadPicture, match=f"1 series have {POINTS_DRAWN_MAX + 1:,} points"):
        line_svg([one("a", [1.0] * (POINTS_DRAWN_MAX + 1))], wanted())
    with pytest.raises(BadPicture, match=f"{SERIES_DRAWN_MAX + 1:,} series are more than"):
        line_svg([one("a", [1.0])] * (SERIES_DRAWN_MAX + 1), wanted())


def test_a_curve_is_where_the_axes_say() -> None:
    look = wanted(show_axes=False, show_legend=False, margin=0, left=Side(bounds=Bounds(low=0, high=250)))
    (curve,) = curves(line_svg([one("a", [0, 250, math.nan, 125])], look))
    assert points(curve["d"]) == [[(0.0, 250.0), (110.0, 0.0)], [(330.0, 125.0)]]


def test_a_curve_that_leaves_the_axes_is_cut_off() -> None:
    cut = wanted(left=Side(bounds=Bounds(low=0, high=100)))
    assert "clip-path=" in line_svg([one("a", [0, 250])], cut)
    assert "clip-path=" in line_svg([one("a", [-1, 25])], cut)
    assert "clip-path=" not in line_svg([one("a", [0, 25, math.nan, 100])], cut)


def test_a_value_beside_the_axis_is_at_its_own_one() -> None:
    svg = line_svg([one("a", [0, 10]), one("b", [0, 4_000], secondYAxis=True)], wanted())
    first, second = (points(curve["d"])[0] for curve in curves(svg))
    assert first == second
    assert {"10", "4 K", "a", "b (right)"} <= set(texts(svg))


def test_stacked_areas_lie_on_one_another() -> None:
    look = wanted(show_axes=False, show_legend=False, margin=0, area_mode="stacked")
    lower, upper = curves(line_svg([one("a", [10, 10]), one("b", [10, 10])], look))
    assert lower["d"] == "M0.0,125.0,330.0,125.0,330.0,250.0,0.0,250.0z"
    assert upper["d"] == "M0.0,0.0,330.0,0.0,330.0,125.0,0.0,125.0z"


def test_series_of_other_steps_are_stacked_by_time() -> None:
    look = wanted(show_axes=False, show_legend=False, margin=0, area_mode="stacked", left=Side(bounds=Bounds(high=30)))
    fine, coarse = one("a", [10.0] * 4, step_s=30), one("b", [20.0, math.nan], step_s=60)
    _, upper = curves(line_svg([fine, coarse], look))
    assert upper["d"] == "M0.0,0.0,110.0,0.0,110.0,166.7,0.0,166.7z"


def test_the_lower_line_of_a_band_is_not_seen() -> None:
    look = wanted(show_axes=False, margin=0)
    series = [one("low", [10, 10], stacked=True, invisible=True), one("high", [20, 20], stacked=True)]
    svg = line_svg(series, look)
    (band,) = curves(svg)
    assert band["fill"] == look.lines[1].hex
    assert band["d"].count(",") == 7
    assert [text for text in texts(svg) if text in ("low", "high")] == ["high"]


@pytest.mark.parametrize(
    ("options", "attribute", "value"),
    [
        ({"color": "red"}, "stroke", "#c80032"),
        ({"color": "00ff0080"}, "stroke-opacity", "0.502"),
        ({"alpha": 0.5}, "stroke-opacity", "0.5"),
        ({"lineWidth": 3}, "stroke-width", "3"),
        ({"dashed": 7}, "stroke-dasharray", "7"),
    ],
)
def test_functions_say_how_a_curve_looks(options: dict[str, object], attribute: str, value: str) -> None:
    (curve,) = curves(line_svg([one("a", [1, 2], **options)], wanted()))
    assert curve[attribute] == value


@pytest.mark.parametrize("options", [{"color": "notacolour"}, {"lineWidth": -1}, {"alpha": math.inf}])
def test_what_no_curve_can_have_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadPicture):
        line_svg([one("a", [1, 2], **options)], wanted())


def test_the_legend_is_left_out_when_there_are_many_names() -> None:
    many = [one(f"name{index}", [1, 2]) for index in range(11)]
    assert not any(text.startswith("name") for text in texts(line_svg(many, wanted())))
    shown = texts(line_svg(many, wanted(show_legend=True)))
    assert {"name0", "name10"} <= set(shown)
    tight = texts(line_svg(many, wanted(show_legend=True, height=60, width=90)))
    assert not any(text.startswith("name") for text in tight)
    assert texts(line_svg([one("same", [1]), one("same", [2])], wanted(unique_legend=True))).count("same") == 1


def test_names_without_a_place_are_counted() -> None:
    many = [one(f"a rather long name, the {index}th of many in this picture", [1, 2]) for index in range(30)]
    shown = texts(line_svg(many, wanted(show_legend=True)))
    (more,) = (int(text.split()[1]) for text in shown if text.startswith("and "))
    assert sum("in this picture" in text for text in shown) + more == 30


@pytest.mark.parametrize("template", THEMES)
def test_text_is_told_from_its_background(template: str) -> None:
    """At least 4.5 to 1. Source: W3C, WCAG 2.2, 1.4.3."""
    look = THEMES[template]
    light, dark = sorted((_luminance(look.foreground), _luminance(look.background)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def _luminance(found: Color) -> float:
    parts = [int(found.hex[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_are_read_in_all_their_forms() -> None:
    assert [color(text) for text in ("blue", "#4080FF", "4080ff80", "f00")] == [
        Color("#6464ff"),
        Color("#4080ff"),
        Color("#4080ff", 128 / 255),
        Color("#ff0000"),
    ]


def test_a_pie_has_shares() -> None:
    svg = pie_svg([Slice("a", 3.0), Slice("b", 1.0), Slice("c", -5.0), Slice("d", math.nan)], wanted())
    assert [text for text in texts(svg) if "%" in text] == ["75.0%", "25.0%"]
    assert {"a", "b", "c", "d"} <= set(texts(svg))
    values = [one("x", [1, math.nan, 3])]
    found = [slice_of(values[0], wanted(pie_mode=mode)).value for mode in ("average", "maximum", "minimum")]
    assert found == [2, 3, 1]


def test_a_name_is_shortened_to_its_room() -> None:
    name = "servers.web01.a.very.long.path.cpu"
    short = font.fitted(name, 10, 100)
    assert font.width(short, 10) <= 100
    assert short.startswith("servers")
    assert short.endswith("cpu")
    assert font.fitted(name, 10, 1_000) == name
    assert font.width("iii", 10) < font.width("MMM", 10)
    assert font.width("日🙂", 10) > 0
