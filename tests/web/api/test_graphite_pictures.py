"""/graphite/render as a picture, over HTTP, on samples that are stored."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.web.draw.series import SVG, curves, points, texts
from tests.web.house import House

START_S = 1_700_000_000
HOUR = {"from": START_S, "until": START_S + 3_600}


@pytest.fixture(scope="module", autouse=True)
def _stored(house: House) -> None:
    body = [
        {
            "labels": {"__name__": f"pictures.web{number}.load"},
            "samples": [[(START_S + 60 * index) * 1_000, index * number] for index in range(60)],
        }
        for number in (1, 2)
    ]
    assert house.call("POST", "/api/v1/series", body).status_code == 200


def drawn(house: House, **arguments: Any) -> Any:
    asked = {"target": "pictures.web1.load", **HOUR, "format": "svg", **arguments}
    return house.call("GET", f"/graphite/render?{urlencode(asked, doseq=True)}", role="viewer")


def test_without_a_format_a_png_is_drawn(house: House) -> None:
    for picture_format in ("", "png", "whatever"):
        answer = drawn(house, format=picture_format, width=400, height=300)
        assert (answer.status_code, answer.mimetype) == (200, "image/png")
        assert struct.unpack_from(">8s8xII", answer.data) == (b"\x89PNG\r\n\x1a\n", 400, 300)
        assert answer.headers["Cache-Control"] == "private, max-age=60"


def test_an_svg_is_drawn_that_can_do_nothing(house: House) -> None:
    answer = drawn(house, target='alias(pictures.web1.load,"<script>alert(1)</script>")')
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert b"<script" not in answer.data
    assert "<script>alert(1)</script>" in texts(answer.text)


def test_only_viewers_see_pictures(house: House) -> None:
    assert (
        house.client().get(f"/graphite/render?{urlencode({'target': 'pictures.web1.load', **HOUR})}").status_code == 401
    )


def test_nothing_is_a_picture_that_says_so(house: House) -> None:
    assert texts(drawn(house, target="pictures.nobody").text) == ["No Data"]
    assert texts(drawn(house, target=[]).text) == ["No Data"]


def test_arguments_change_what_is_drawn(house: House) -> None:
    svg = drawn(
        house,
        target=["pictures.web1.load", "secondYAxis(pictures.web2.load)", "drawAsInfinite(pictures.web1.load)"],
        title="Load",
        vtitle="left",
        vtitleRight="right",
        yMinLeft=0,
        yMaxLeft=100,
        colorList="red,00ff00",
        bgcolor="ffffff",
        fgcolor="black",
        lineWidth=3,
        tz="Europe/Berlin",
        xFormat="%Hh%M",
    ).text
    assert {"Load", "left", "right", "100", "secondYAxis(pictures.web2.load) (right)"} <= set(texts(svg))
    assert any(text.startswith("23h") for text in texts(svg))  # 22:13 UTC.
    assert [curve["stroke"] for curve in curves(svg)] == ["#c80032", "#00ff00", "#c80032"]
    assert curves(svg)[0]["stroke-width"] == "3"
    rectangle = ET.fromstring(svg).find(f"{SVG}rect")
    assert rectangle is not None
    assert rectangle.attrib["fill"] == "#ffffff"


def test_a_graph_alone_fills_the_picture(house: House) -> None:
    svg = drawn(house, graphOnly="true", title="not seen").text
    assert texts(svg) == []
    (stretch,) = points(curves(svg)[0]["d"])
    assert stretch[0][0] == 0.0


def test_a_picture_has_no_more_points_than_pixels(house: House) -> None:
    svg = drawn(house, width=32, hideAxes="true").text
    assert len(points(curves(svg)[0]["d"])[0]) <= 32
    svg = drawn(house, width=330, minXStep=60).text
    assert len(points(curves(svg)[0]["d"])[0]) <= 6


def test_a_pie_mixes_series_and_values_of_the_address(house: House) -> None:
    target = ["first:30", "pictures.web1.load", "last:30.5"]
    shown = texts(drawn(house, graphType="pie", target=target, pieMode="maximum", valueLabels="number").text)
    assert [text for text in shown if text[0].isdigit()] == ["30", "59", "30.5"]
    assert [text for text in shown if not text[0].isdigit()] == ["first", "pictures.web1.load", "last"]


REFUSED = {  # name: (arguments; words of the answer)
    "far too wide": ({"width": 1_000_000}, "width: 1,000,000 pixels are not in 16..4,096"),
    "too wide": ({"width": 5_000}, "width: 5,000 pixels are not in 16..4,096"),
    "not high": ({"height": 1}, "height: 1 pixels are not in 16..4,096"),
    "no number": ({"width": "wide"}, "width: 'wide' is no number"),
    "not finite": ({"yMax": "inf"}, "yMax: 'inf' is no number"),
    "upside down": ({"yMin": 5, "yMax": 4}, "yMinLeft: 5 is not below yMaxLeft, 4"),
    "no colour": ({"bgcolor": "url(#a)"}, "bgcolor: 'url(#a)' is no colour"),
    "no colour of a series": ({"target": "color(pictures.web1.load,'x\"y')"}, "is no colour"),
    "no mode": ({"lineMode": "wavy"}, "lineMode: 'wavy' is not known; there are slope, staircase, connected"),
    "no unit": ({"yUnitSystem": "feet"}, "there are si, binary, sec, msec, none"),
    "no base": ({"logBase": 1}, "logBase: 1 is not in 1.1..1e+06"),
    "a format that hurts": ({"xFormat": "%999999999d"}, "xFormat: '%999999999d' is no format"),
    "a long title": ({"title": "x" * 1_001}, "title: 1,001 characters are more than 1,000"),
    "a PDF": ({"format": "pdf"}, "take png or svg"),
    "in a call": ({"jsonp": "cb"}, "jsonp: a picture cannot be handed to a function"),
    "a billion points": ({"target": "randomWalk('a')", "from": 0, "until": START_S}, "points"),
    "more than can be drawn": (
        {"target": [f"constantLine({number})" for number in range(1_000)] * 6},
        "6,000 targets are more than 1,000",
    ),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_drawn_is_refused_by_name(house: House, arguments: dict[str, Any], words: str) -> None:
    answer = drawn(house, **arguments)
    assert answer.status_code == 400, answer.data[:200]
    assert words in answer.text
