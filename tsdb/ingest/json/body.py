"""A JSON body → columns. What is wrong with one series or one sample costs only that; what is no JSON is refused.

A body is first decoded as a whole, by type; only if that fails is it taken apart, to find out what to leave out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import TIMESTAMP_MS_MAX, Body, Decoded, Refusals
from tsdb.ingest.series import Columns

TimestampMs = Annotated[int, msgspec.Meta(ge=0, le=TIMESTAMP_MS_MAX)]
Value = float | Literal["NaN", "+Inf", "-Inf"]
Pair = tuple[TimestampMs, Value]


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: dict[str, str]
    samples: list[Pair]


class _RawSeries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: dict[str, str]
    samples: list[msgspec.Raw]


_BODY = msgspec.json.Decoder(list[Series])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_SERIES = msgspec.json.Decoder(Series)
_RAW_SERIES = msgspec.json.Decoder(_RawSeries)
_PAIR = msgspec.json.Decoder(Pair)


def decode(body: Body) -> Decoded:
    """Decode a body. Raises: RefusedSample, reason bad_json, if it is no JSON array."""
    refusals = Refusals()
    columns = Columns(refusals)
    try:
        elements: Iterable[Series] = _BODY.decode(body)
    except msgspec.ValidationError:
        elements = _one_by_one(body, refusals)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error) from error
    for element in elements:
        columns.add(element.labels, element.samples)
    return columns.decoded()


def _one_by_one(body: Body, refusals: Refusals) -> Iterable[Series]:
    try:
        elements = _ELEMENTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error) from error
    for number, element in enumerate(elements):
        try:
            yield _SERIES.decode(element)
        except (msgspec.ValidationError, UnicodeDecodeError):
            yield from _what_is_good(element, number, refusals)


def _what_is_good(element: msgspec.Raw, number: int, refusals: Refusals) -> Iterable[Series]:
    """The series with those of its samples that can be read; nothing, if the fault lies elsewhere."""
    try:
        raw = _RAW_SERIES.decode(element)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        refusals.add("bad_series", bytes(element), message=f"series {number}: {error}")
        return
    samples = []
    for position, pair in enumerate(raw.samples):
        try:
            samples.append(_PAIR.decode(pair))
        except (msgspec.ValidationError, UnicodeDecodeError) as error:
            refusals.add(_reason(error), bytes(pair), message=f"series {number}, sample {position}: {error}")
    yield Series(raw.labels, samples)


def _reason(error: Exception) -> str:
    text = str(error)
    if text.endswith("`$[0]`"):
        return "bad_timestamp"
    return "not_a_number" if text.endswith("`$[1]`") else "bad_sample"


def _not_json(error: Exception) -> RefusedSample:
    return RefusedSample("bad_json", f'the body is not a JSON array of {{"labels", "samples"}} objects: {error}')
