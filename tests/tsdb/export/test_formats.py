"""What is written reads back: by polars, by our own Arrow door, by a plain reader of text."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.export.arrow import ArrowWriter
from tsdb.export.piece import Piece, series_text
from tsdb.export.text import CsvWriter, OpenMetricsWriter
from tsdb.ingest.arrow.names import canonical_of
from tsdb.sample import STALE_NAN_BITS, Labels, canonical_bytes, labels_from

ODD = [
    STALE_NAN_BITS,
    0x7FF8000000000001,
    0xFFF8000000000123,
    1,
    0x8000000000000000,
    0x7FF0000000000000,
    0xFFF0000000000000,
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.one_of(texts, st.sampled_from(["up", "a.b", 'q"uo\\te', "new\nline", "a:b", "{x}", "a,b", " "]))
labels = (
    st.dictionaries(st.one_of(st.just("__name__"), names.filter(bool)), names.filter(bool), min_size=1, max_size=4)
).map(labels_from)
bits = st.one_of(
    st.integers(0, 2**64 - 1), st.sampled_from(ODD), st.floats().map(lambda x: int(np.float64(x).view(np.uint64)))
)
times = st.integers(0, 2**53)
series = st.lists(st.tuples(labels, st.lists(st.tuples(times, bits), min_size=1, max_size=6)), max_size=5)
pieces = st.lists(series, max_size=3)


def piece_of(series: list[tuple[Labels, list[tuple[int, int]]]]) -> Piece:
    return Piece(
        [canonical_bytes(one) for one, _ in series],
        np.cumsum([0, *(len(samples) for _, samples in series)]),
        np.array([at_ms for _, samples in series for at_ms, _ in samples], np.int64),
        np.array([bits for _, samples in series for _, bits in samples], np.uint64).view(np.float64),
    )


def rows_of(pieces: list[Any]) -> list[tuple[Labels, int, int]]:
    return [(one, at_ms, bits) for series in pieces for one, samples in series for at_ms, bits in samples]


@given(labels)
def test_a_series_reads_back_by_the_door_that_takes_arrow(one: Labels) -> None:
    assert canonical_of(series_text(one)) == canonical_bytes(one)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ({"__name__": "up"}, "up{}"),
        ({"__name__": "up", "job": 'a"\\\n'}, 'up{job="a\\"\\\\\\n"}'),
        ({"__name__": "a.b", "my.label": "x"}, '{"a.b","my.label"="x"}'),
        ({"job": "x"}, '{job="x"}'),
    ],
)
def test_a_series_is_written_as_the_page_says(pairs: dict[str, str], text: str) -> None:
    assert series_text(labels_from(pairs)) == text


@pytest.mark.parametrize("compresses", [True, False])
@given(pieces=pieces)
def test_an_arrow_stream_is_read_by_polars_bit_for_bit(compresses: bool, pieces: list[Any]) -> None:
    out = io.BytesIO()
    writer = ArrowWriter(out, compresses=compresses)
    for one in pieces:
        writer.write(piece_of(one))
    writer.finish()
    frame = pl.read_ipc_stream(io.BytesIO(out.getvalue()))
    assert frame.columns == ["series", "timestamp_ms", "value"]
    found = zip(
        map(canonical_of, frame["series"].cast(pl.String).to_list()),
        frame["timestamp_ms"].to_list(),
        frame["value"].to_numpy().view(np.uint64).tolist(),
        strict=True,
    )
    assert list(found) == [(canonical_bytes(one), at_ms, bits) for one, at_ms, bits in rows_of(pieces)]


def number_of(text: str) -> int:
    return int(np.float64(text).view(np.uint64))


def wanted(pieces: list[Any]) -> list[tuple[Labels, int, int]]:
    """Without stale markers, every other NaN alike."""
    usual = number_of("nan")
    return [
        (one, at_ms, usual if math.isnan(np.uint64(bits).view(np.float64)) else bits)
        for one, at_ms, bits in rows_of(pieces)
        if bits != STALE_NAN_BITS
    ]


@given(pieces)
def test_csv_reads_back(pieces: list[Any]) -> None:
    out = io.BytesIO()
    writer = CsvWriter(out)
    for one in pieces:
        writer.write(piece_of(one))
    writer.finish()
    head, *rows = csv.reader(io.StringIO(out.getvalue().decode(), newline=""))
    assert head == ["series", "timestamp_ms", "value"]
    found = [(canonical_of(text), int(at_ms), number_of(value)) for text, at_ms, value in rows]
    assert found == [(canonical_bytes(one), at_ms, bits) for one, at_ms, bits in wanted(pieces)]


LINE = re.compile(r'((?:[^"\s]|"(?:[^"\\\n]|\\.)*")*) (\S+) (\d+)\.(\d{3})')


@given(pieces)
def test_openmetrics_reads_back(pieces: list[Any]) -> None:
    out = io.BytesIO()
    writer = OpenMetricsWriter(out)
    for one in pieces:
        writer.write(piece_of(one))
    writer.finish()
    *lines, end, rest = out.getvalue().decode().split("\n")
    assert (end, rest) == ("# EOF", "")
    found = []
    for line in lines:
        match = LINE.fullmatch(line)
        assert match is not None, line
        text, value, seconds, milliseconds = match.groups()
        assert "inf" not in value
        found.append((canonical_of(text), 1_000 * int(seconds) + int(milliseconds), number_of(value)))
    assert found == [(canonical_bytes(one), at_ms, bits) for one, at_ms, bits in wanted(pieces)]


def test_half_a_million_samples_are_written_without_a_loop_over_them() -> None:
    import time

    random = np.random.default_rng(1)
    count = 1 << 19
    piece = Piece(
        [canonical_bytes(labels_from({"__name__": "up", "host": f"h{n}"})) for n in range(512)],
        np.arange(0, count + 1, 1_024),
        np.tile(np.arange(1_024) * 10_000, 512) + 1_700_000_000_000,
        random.normal(size=count),
    )
    for writer in (ArrowWriter(io.BytesIO()), CsvWriter(io.BytesIO()), OpenMetricsWriter(io.BytesIO())):
        began_s = time.process_time()
        writer.write(piece)
        assert time.process_time() - began_s < 2, "a loop in Python takes longer"
