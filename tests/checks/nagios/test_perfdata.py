"""Performance data, against the reference module and against what it is too strict for."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from checks.model import PERFDATA_COUNT_MAX, Perfdata
from checks.nagios.perfdata import parse_perfdata
from tests.shared import shared

WIDER = {
    # What the guidelines allow and the reference module cannot read, or the other way round: label, value, unit.
    "'it''s'=5%": [("it's", 5.0, "%")],
    "a=U": [("a", None, "")],
    "'a=b'=1": [("a=b", 1.0, "")],
    "a=1\nb=2": [("a", 1.0, ""), ("b", 2.0, "")],  # Lines of one output belong together.
}


def brief(items: tuple[Perfdata, ...]) -> list[tuple[str, float | None, str]]:
    return [(item.label, item.value, item.unit) for item in items]


def number(text: str | None) -> float | None:
    return None if text is None else float(text)


def test_every_case_of_the_oracle() -> None:
    cases: list[dict[str, Any]] = json.loads(shared("conformance/nagios/perfdata.json").read_text())["perfdata"]
    assert len(cases) > 25
    for case in cases:
        text, found = case["perfdata"], parse_perfdata(case["perfdata"])
        if text in WIDER:
            assert brief(found) == WIDER[text], text
            continue
        assert brief(found) == [(item["label"], item["value"], item["uom"]) for item in case["items"]], text
        for ours, theirs in zip(found, case["items"], strict=True):
            if ours.critical.startswith("@"):  # The reference module stops at a range that is inside out.
                continue
            assert (ours.minimum, ours.maximum) == (number(theirs["min"]), number(theirs["max"])), text
            assert ours.warning == (theirs["warning"] or ""), text
            assert ours.critical == (theirs["critical"] or ""), text


def test_neighbours_of_what_cannot_be_read_are_kept() -> None:
    found = parse_perfdata("a=U b=1.5e3 c=-3 x=~ y= =5 d=0.1s e=100% 'f g'=5c h=1;~:10;@5:6;0;; i=1e999")
    assert brief(found) == [
        ("a", None, ""), ("b", 1500.0, ""), ("c", -3.0, ""), ("d", 0.1, "s"), ("e", 100.0, "%"), ("f g", 5.0, "c"),
        ("h", 1.0, ""),
    ]  # fmt: skip
    assert found[-1] == Perfdata(label="h", value=1.0, warning="~:10", critical="@5:6", minimum=0.0)


def test_there_is_a_limit_to_how_many_are_kept() -> None:
    assert len(parse_perfdata(" ".join(f"l{i}=1" for i in range(1000)))) == PERFDATA_COUNT_MAX


@given(st.text(alphabet="a'=;1.U \n|~@:%-e", max_size=60))
def test_any_text_is_survived(text: str) -> None:
    for item in parse_perfdata(text):
        assert item.label
        assert item.value is None or item.value == item.value


label_texts = st.text(st.characters(codec="utf-8", exclude_characters="=\n\r", exclude_categories=["Cc", "Zl", "Zp"]))


@given(st.lists(st.tuples(label_texts.map(str.strip).filter(bool), st.floats(-1e12, 1e12)), min_size=1, max_size=5))
def test_quoted_labels_come_back(pairs: list[tuple[str, float]]) -> None:
    text = " ".join(f"'{label.replace(chr(39), chr(39) * 2)}'={value!r}" for label, value in pairs)
    assert [(item.label, item.value) for item in parse_perfdata(text)] == pairs
