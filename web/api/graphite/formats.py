"""Rendered series in the formats of the render API, as graphite-web 1.2 writes them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tsdb.answer import RenderedSeries
from web.api.graphite.arguments import Asked
from web.api.graphite.columns import (
    Grid,
    days_and_hours,
    json_numbers,
    numbers_between,
    python_numbers,
    rows,
)
from web.api.texts import Texts, joined_in_pairs

Series = Sequence[RenderedSeries]

JSON_TYPE = "application/json"
MSGPACK_TYPE = "application/x-msgpack"
PICKLE_TYPE = "application/pickle"
_NEEDS_QUOTES = frozenset('",\r\n')


def json_body(series: Series, asked: Asked) -> bytes:
    """`[{"target", "tags", "datapoints": [[value, time], …]}, …]`; series without points are left out."""
    shown = [one for one in series if one.values.size]
    stamps = numbers_between(",", "],[")
    parts = []
    found = rows(shown, json_numbers, stamps, time_first=False, leaves_nulls_out=asked.leaves_nulls_out)
    for one, pairs in zip(shown, found, strict=True):
        if len(pairs):
            head = msgspec.json.encode({"target": one.name, "tags": one.tags})[:-1]
            parts.append(b"".join((head, b',"datapoints":[[', pairs[:-2], b"]}")))
    return b"[" + b",".join(parts) + b"]"


def csv_body(series: Series, asked: Asked) -> bytes:
    """A line for each point: name, local time, value; a value that is none is left empty."""
    stamps = days_and_hours(ZoneInfo(asked.zone), "\n,", ",")
    parts = []
    for one, lines in zip(series, rows(series, _csv_numbers, stamps, time_first=True), strict=True):
        parts.append(bytes(lines).replace(b"\n", b"\r\n" + _quoted(one.name)))
    body = b"".join(parts)
    return body[2:] + b"\r\n" if body else b""


def _csv_numbers(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Texts:
    return python_numbers(values, b"")


def _quoted(name: str) -> bytes:
    """As csv has it: in quotes where a comma, a quote or a line feed would be mistaken."""
    if _NEEDS_QUOTES.isdisjoint(name):
        return name.encode()
    return ('"' + name.replace("\r", " ").replace("\n", " ").replace('"', '""') + '"').encode()


def raw_body(series: Series, asked: Asked) -> bytes:
    """A line for each series: `name,start,end,step|value,…`; a value that is none is None."""

    def commas(times: Any) -> list[bytes]:
        return [b","] * len(times)

    found = rows(series, lambda values: python_numbers(values, b"None"), commas, time_first=False)
    return b"".join(
        b"".join((f"{one.name},{one.start_s},{one.end_s},{one.step_s}|".encode(), values[:-1], b"\n"))
        for one, values in zip(series, found, strict=True)
    )


def rickshaw_body(series: Series, asked: Asked) -> bytes:
    """`[{"target", "datapoints": [{"x": time, "y": value}, …]}, …]`"""
    stamps = numbers_between('},{"x":', ',"y":')
    parts = []
    for one, points in zip(series, rows(series, json_numbers, stamps, time_first=True), strict=True):
        head = msgspec.json.encode({"target": one.name})[:-1]
        inside = b"".join((points[2:], b"}")) if len(points) else b""
        parts.append(b"".join((head, b',"datapoints":[', inside, b"]}")))
    return b"[" + b",".join(parts) + b"]"


def dygraph_body(series: Series, asked: Asked) -> bytes:
    """`{"labels": ["Time", name, …], "data": [[milliseconds, value, …], …]}`, a row for each time that a series has."""
    if not series:
        return b"{}"
    times = np.unique(np.concatenate([grid.times() for grid in {Grid.of(one) for one in series}]))
    table = np.full((times.size, len(series)), np.nan)
    for column, one in zip(table.T, series, strict=True):
        column[np.searchsorted(times, Grid.of(one).times())] = one.values
    heads = numbers_between("],[", ",")(times * 1_000)
    width = len(series)
    numbers = json_numbers(table.ravel())
    gaps = Texts.of([*heads, b","])
    at = np.full((times.size, width), len(heads), np.int64)
    at[:, 0] = np.arange(times.size)
    body, _ = joined_in_pairs(gaps.taken(at.ravel()), numbers)
    labels = msgspec.json.encode(["Time", *(one.name for one in series)])
    inside = b"".join((body[2:], b"]")) if len(body) else b""
    return b"".join((b'{"labels":', labels, b',"data":[', inside, b"]}"))


def described(series: Series) -> list[dict[str, Any]]:
    """As programs read it that add series up themselves."""
    return [
        {
            "name": one.name,
            "start": one.start_s,
            "end": one.end_s,
            "step": one.step_s,
            "values": _listed(one.values),
            "pathExpression": one.path,
            "valuesPerPoint": 1,
            "consolidationFunc": one.consolidate_by,
            "xFilesFactor": one.x_files_factor,
        }
        for one in series
    ]


def _listed(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float | None]:
    """Both formats of objects want an object for each value; None where there is none."""
    boxed = values.astype(object)
    boxed[np.isnan(values)] = None
    found: list[float | None] = boxed.tolist()
    return found


def pickle_body(series: Series, asked: Asked) -> bytes:
    return pickle.dumps(described(series), protocol=4)


def msgpack_body(series: Series, asked: Asked) -> bytes:
    return msgspec.msgpack.encode(described(series))


FORMATS: Mapping[str, tuple[str, Callable[[Series, Asked], bytes]]] = {
    "json": (JSON_TYPE, json_body),
    "csv": ("text/csv", csv_body),
    "raw": ("text/plain", raw_body),
    "pickle": (PICKLE_TYPE, pickle_body),
    "msgpack": (MSGPACK_TYPE, msgpack_body),
    "dygraph": (JSON_TYPE, dygraph_body),
    "rickshaw": (JSON_TYPE, rickshaw_body),
}
"""By name: the type of the answer, and what writes it."""
JSON_FORMATS = ("json", "dygraph", "rickshaw")
NOT_DRAWN = ("pdf",)
"""Pictures of graphite-web that there are none of here."""
