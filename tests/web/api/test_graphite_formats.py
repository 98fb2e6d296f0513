"""Rendered series are written as loops over their points would write them."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.answer import RenderedSeries
from web.api.graphite import formats
from web.api.graphite.arguments import Asked

VALUES = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1e16, 9.999e15, 1e-4, 9.9e-5, 74.0, 1e22]))


def asked(*, leaves_nulls_out: bool = False, zone: str = "UTC") -> Asked:
    return Asked(
        targets=[],
        from_text="",
        until_text="",
        now_s=0,
        zone=zone,
        x_files_factor=0.0,
        points_max=None,
        template={},
        leaves_nulls_out=leaves_nulls_out,
        format="",
        kept_s=0,
    )


def one(name: str, start_s: int, step_s: int, values: Sequence[float]) -> RenderedSeries:
    return RenderedSeries(
        target=0,
        name=name,
        start_s=start_s,
        end_s=start_s + step_s * len(values),
        step_s=step_s,
        values=np.array(values, np.float64),
        tags={"name": name},
        path=name,
        consolidate_by="average",
        x_files_factor=0.0,
        options={},
    )


SERIES = st.lists(
    st.builds(
        one,
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=8),
        st.integers(0, 4_000_000_000),
        st.sampled_from([1, 60, 86_400]),
        st.lists(VALUES, max_size=5),
    ),
    max_size=4,
)


def points(series: RenderedSeries) -> list[tuple[int, float | None]]:
    """None where there is no value."""
    return [
        (series.start_s + index * series.step_s, None if math.isnan(value) else value)
        for index, value in enumerate(series.values.tolist())
    ]


@given(SERIES, st.booleans())
def test_json_holds_every_point(series: list[RenderedSeries], leaves_nulls_out: bool) -> None:
    wanted = [
        {
            "target": found.name,
            "tags": found.tags,
            "datapoints": [[value, at_s] for at_s, value in points(found) if not leaves_nulls_out or value is not None],
        }
        for found in series
    ]
    given_back = json.loads(formats.json_body(series, asked(leaves_nulls_out=leaves_nulls_out)))
    assert given_back == [found for found in wanted if found["datapoints"]]


@given(SERIES)
def test_rickshaw_holds_every_point(series: list[RenderedSeries]) -> None:
    assert json.loads(formats.rickshaw_body(series, asked())) == [
        {"target": found.name, "datapoints": [{"x": at_s, "y": value} for at_s, value in points(found)]}
        for found in series
    ]


@given(SERIES)
def test_raw_is_a_line_for_each_series(series: list[RenderedSeries]) -> None:
    assert formats.raw_body(series, asked()).decode() == "".join(
        f"{found.name},{found.start_s},{found.end_s},{found.step_s}|"
        + ",".join(str(value) for _, value in points(found))
        + "\n"
        for found in series
    )


@given(SERIES, st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]))
def test_csv_is_a_line_for_each_point_in_the_time_of_a_zone(series: list[RenderedSeries], zone: str) -> None:
    wanted = io.StringIO()
    lines = csv.writer(wanted)
    for found in series:
        for at_s, value in points(found):
            moment = datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(zone))
            lines.writerow([found.name, f"{moment:%Y-%m-%d %H:%M:%S}", "" if value is None else value])
    assert formats.csv_body(series, asked(zone=zone)).decode() == wanted.getvalue()


@given(SERIES)
def test_dygraph_has_a_row_for_each_time_and_a_column_for_each_series(series: list[RenderedSeries]) -> None:
    columns = [dict(points(found)) for found in series]
    times = sorted({at_s for column in columns for at_s in column})
    wanted = {
        "labels": ["Time", *(found.name for found in series)],
        "data": [[at_s * 1_000, *(column.get(at_s) for column in columns)] for at_s in times],
    }
    assert json.loads(formats.dygraph_body(series, asked())) == (wanted if series else {})


@given(SERIES)
def test_both_formats_of_objects_hold_the_same(series: list[RenderedSeries]) -> None:
    wanted = [[value for _, value in points(found)] for found in series]
    for read, write in ((pickle.loads, formats.pickle_body), (msgspec.msgpack.decode, formats.msgpack_body)):
        found = read(write(series, asked()))
        assert [one["values"] for one in found] == wanted
        assert [one["end"] - one["start"] for one in found] == [one["step"] * len(one["values"]) for one in found]


@pytest.mark.parametrize("name", formats.FORMATS)
def test_nothing_is_written_for_no_series(name: str) -> None:
    _, write = formats.FORMATS[name]
    empty = {"csv": b"", "raw": b"", "dygraph": b"{}", "pickle": pickle.dumps([], 4), "msgpack": b"\x90"}
    assert write([], asked()) == empty.get(name, b"[]")
