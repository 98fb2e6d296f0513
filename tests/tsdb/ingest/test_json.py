"""JSON bodies: what is there twice, and the words for what cannot be read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.ingest.json.body import decode

GOOD = '{"labels":{"__name__":"good"},"samples":[[5,6]]}'

TWICE = {  # what: (the series, its refusals)
    "a label": ('{"labels":{"a":"1","a":"2"},"samples":[[1,2],[3,4]]}', {"duplicate_label": 2}),
    "a label with one value": ('{"labels":{"a":"1","a":"1"},"samples":[[1,2]]}', {"duplicate_label": 1}),
    "a label, once by escape": ('{"labels":{"a":"1","\\u0061":"2"},"samples":[[1,2]]}', {"duplicate_label": 1}),
    "a label beside quotes": ('{"labels":{"a":"\\"","b":"\\"\\"","a":"2"},"samples":[[1,2]]}', {"duplicate_label": 1}),
    "a label beside NaN": ('{"labels":{"a":"NaN","a":"2"},"samples":[[1,"NaN"]]}', {"duplicate_label": 1}),
    "a label beside a bad time": (
        '{"labels":{"a":"1","a":"2"},"samples":[[-1,2],[1,2]]}',
        {"duplicate_label": 1, "bad_timestamp": 1},
    ),
    "the labels": ('{"labels":{"a":"1"},"labels":{"a":"2"},"samples":[[1,2],[3,4]]}', {"bad_series": 2}),
    "the samples": ('{"labels":{"a":"1"},"samples":[[1,2]],"samples":[[3,4]]}', {"bad_series": 1}),
}


@pytest.mark.parametrize("what", TWICE)
def test_what_is_there_twice_is_refused_and_its_neighbours_are_kept(what: str) -> None:
    series, refused = TWICE[what]
    found = decode(f"[{GOOD},{series},{GOOD}]".encode())
    assert found.refusals.count_by_reason == refused
    assert found.timestamp_ms.tolist() == [5, 5]
    words = [example.message for example in found.refusals.examples if example.reason != "bad_timestamp"]
    assert all("is given twice" in one or "is there twice" in one for one in words), words


TEXTS = st.text(st.sampled_from('a"\\n é:{},[]'), min_size=1, max_size=5)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_labels_are_refused_just_when_one_is_there_twice(
    pairs: list[tuple[str, str]], is_ascii: bool, has_nan: bool
) -> None:
    inside = ", ".join(
        f"{json.dumps(name, ensure_ascii=is_ascii)}: {json.dumps(value, ensure_ascii=is_ascii)}"
        for name, value in pairs
    )
    value = '"NaN"' if has_nan else "1"
    found = decode(f'[{{"labels": {{{inside}}}, "samples": [[1, {value}]]}}]'.encode())
    is_twice = len(dict(pairs)) < len(pairs)
    assert found.refusals.count_by_reason == ({"duplicate_label": 1} if is_twice else {})
    assert len(found) == (not is_twice)


@pytest.mark.parametrize(
    ("sample", "reason", "words"),
    [
        ("[-1,2]", "bad_timestamp", "the time -1 is not a whole number of milliseconds since 1970, from 0 to 2534"),
        ("[1.5,2]", "bad_timestamp", "the time 1.5 is not a whole number"),
        ('["now",2]', "bad_timestamp", 'the time "now" is not a whole number'),
        ("[9223372036854775807,2]", "bad_timestamp", "the time 9223372036854775807 is not"),
        ("[1,null]", "not_a_number", 'the value null is neither a number nor "NaN", "+Inf" or "-Inf"'),
        ('[1,"nan"]', "not_a_number", 'the value "nan" is neither'),
        ("[1]", "bad_sample", "[1] is not [time in milliseconds, value]"),
        ("[1,2,3]", "bad_sample", "[1,2,3] is not"),
        ("7", "bad_sample", "7 is not"),
    ],
)
def test_a_sample_that_cannot_be_read_is_refused_in_our_words(sample: str, reason: str, words: str) -> None:
    found = decode(f'[{{"labels":{{"a":"b"}},"samples":[[1,2],{sample}]}}]'.encode())
    assert found.refusals.count_by_reason == {reason: 1}
    assert f"series 0, sample 1: {words}" in str(found.refusals.first_error)
    assert "Expected" not in str(found.refusals.first_error)
    assert len(found) == 1
