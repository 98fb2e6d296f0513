"""Retentions as whisper reads them; its recorded answers are run by tests.scripts.graphite."""

from __future__ import annotations

import pytest

from tsdb.carbon.retentions import Archive, parse_archive, parse_archives

GOOD = {
    "60:1440": Archive(60, 1_440),
    "10s:6h": Archive(10, 2_160),
    "1min:7d": Archive(60, 10_080),
    " 1m:1y ": Archive(60, 525_600),
    "1m:30": Archive(60, 30),
    "7s:1m": Archive(7, 8),
}
BAD = {  # text: what is said of it
    "": "'' is not step:duration",
    "60": "'60' is not step:duration",
    ":1d": "the step '' is not a whole number and a unit",
    "1m:": "the duration '' is not a whole number and a unit",
    "1.5m:1d": "the step '1.5m'",
    "1m:1x": "the unit 'x'; seconds, minutes",
    "0:10": "a step of 0 s",
    "1h:1m": "keeps 0 points",
    "1m:" + "9" * 400: "the duration",
    "1s:9999999y": "at most 1,000 years",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_retention_is_a_step_and_a_number_of_points(text: str) -> None:
    assert parse_archive(text) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_retention_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_archive(text)
    assert BAD[text] in str(refused.value)


def test_archives_are_sorted_and_hold_against_each_other() -> None:
    assert parse_archives("1m:7d,10s:6h") == (Archive(10, 2_160), Archive(60, 10_080))
    for text, words in {
        "10s:1h,10s:2h": "two archives have the step 10 s",
        "10s:1h,15s:2h": "no multiple of the finer 10 s",
        "10s:2h,1m:1h": "covers 3,600 s, no more than the finer one's 7,200 s",
        "60:1,300:10": "a point of the next takes 5",
    }.items():
        with pytest.raises(ValueError, match=words):
            parse_archives(text)
