"""A JSON body → columns. What is wrong with one series or one sample costs only that; what is no JSON is refused.

A body is first decoded as a whole, by type; only if that fails is it taken apart, to find out what to leave out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np

from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import TIMESTAMP_MS_MAX, Body, Decoded, Refusals
from tsdb.ingest.series import Columns
from tsdb.sample import Labels

TimestampMs = Annotated[int, msgspec.Meta(ge=0, le=TIMESTAMP_MS_MAX)]
Value = float | Literal["NaN", "+Inf", "-Inf"]
Pair = tuple[TimestampMs, Value]


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: dict[str, str]
    samples: list[Pair]


class _RawSeries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: dict[str, str]
    samples: list[msgspec.Raw]


class _Halves(msgspec.Struct, frozen=True):
    labels: msgspec.Raw
    samples: msgspec.Raw


class Taken(NamedTuple):
    """A series that is read; labels as pairs, if one of them is there twice."""

    labels: dict[str, str] | Labels
    samples: list[Pair]


_BODY = msgspec.json.Decoder(list[Series])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_SERIES = msgspec.json.Decoder(Series)
_RAW_SERIES = msgspec.json.Decoder(_RawSeries)
_HALVES = msgspec.json.Decoder(_Halves)
_PAIR = msgspec.json.Decoder(Pair)
_RAW_PAIR = msgspec.json.Decoder(tuple[msgspec.Raw, msgspec.Raw])
_TIMESTAMP_MS = msgspec.json.Decoder(TimestampMs)
_QUOTE = b'"'
# Quotes of `"labels"` and `"samples"`; a label has as many, unless a quote is part of its name or value.
_QUOTES_OF_KEYS = _QUOTES_OF_LABEL = 4
_SHOWN_BYTES = 60


def decode(body: Body) -> Decoded:
    """Decode a body. Raises: RefusedSample, reason bad_json, if it is no JSON array."""
    refusals = Refusals()
    columns = Columns(refusals)
    try:
        decoded: list[Series] = _BODY.decode(body)
        elements: Iterable[Series | Taken] = (
            decoded if _is_each_key_once(body, decoded) else _one_by_one(body, refusals)
        )
    except msgspec.ValidationError:
        elements = _one_by_one(body, refusals)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error) from error
    for element in elements:
        columns.add(element.labels, element.samples)
    return columns.decoded()


def _is_each_key_once(body: Body, decoded: Sequence[Series]) -> bool:
    """Whether no key of any object was there twice, of which the decoder keeps the last without a word.

    Told by the quotes of the whole body: each key, and each text, has two at least. False may also mean that there are
    quotes within texts, or values such as "NaN"."""
    quotes_count = np.count_nonzero(np.frombuffer(body, np.uint8) == _QUOTE[0])
    return bool(quotes_count == sum(_QUOTES_OF_LABEL * len(one.labels) + _QUOTES_OF_KEYS for one in decoded))


def _one_by_one(body: Body, refusals: Refusals) -> Iterable[Taken]:
    try:
        elements = _ELEMENTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error) from error
    for number, element in enumerate(elements):
        try:
            series = _SERIES.decode(element)
            samples = series.samples
        except (msgspec.ValidationError, UnicodeDecodeError):
            try:
                raw = _RAW_SERIES.decode(element)
            except (msgspec.ValidationError, UnicodeDecodeError) as error:
                refusals.add("bad_series", bytes(element), message=f"series {number}: {error}")
                continue
            samples = _what_is_good(raw.samples, number, refusals)
        if (labels := _labels(element)) is not None:
            yield Taken(labels, samples)
        else:
            words = f'series {number}: "labels" or "samples" is there twice'
            refusals.add("bad_series", bytes(element), message=words, count=max(1, len(samples)))


def _labels(element: msgspec.Raw) -> dict[str, str] | Labels | None:
    """The labels of a series that can be read, each as often as it is there; None if a whole half is there twice."""
    halves = _HALVES.decode(element)
    of_labels = bytes(halves.labels)
    quotes_count = of_labels.count(_QUOTE)
    if bytes(element).count(_QUOTE) - quotes_count - bytes(halves.samples).count(_QUOTE) != _QUOTES_OF_KEYS:
        return None
    labels: dict[str, str] = msgspec.json.decode(of_labels)
    if quotes_count == _QUOTES_OF_LABEL * len(labels):
        return labels
    pairs: list[tuple[str, str]] = json.loads(of_labels, object_pairs_hook=list)
    return tuple(pairs) if len(pairs) > len(labels) else labels


def _what_is_good(raw: Sequence[msgspec.Raw], number: int, refusals: Refusals) -> list[Pair]:
    """Those of the samples of a series that can be read."""
    samples = []
    for position, pair in enumerate(raw):
        try:
            samples.append(_PAIR.decode(pair))
        except (msgspec.ValidationError, UnicodeDecodeError):
            reason, words = _fault(pair)
            refusals.add(reason, bytes(pair), message=f"series {number}, sample {position}: {words}")
    return samples


def _fault(pair: msgspec.Raw) -> tuple[str, str]:
    """Why a sample cannot be read: the reason, and in words."""
    try:
        time, value = _RAW_PAIR.decode(pair)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return "bad_sample", f"{_shown(pair)} is not [time in milliseconds, value]"
    try:
        _TIMESTAMP_MS.decode(time)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return "bad_timestamp", (
            f"the time {_shown(time)} is not a whole number of milliseconds since 1970, "
            f"from 0 to {TIMESTAMP_MS_MAX} (the end of the year 9999)"
        )
    return "not_a_number", f'the value {_shown(value)} is neither a number nor "NaN", "+Inf" or "-Inf"'


def _shown(raw: msgspec.Raw) -> str:
    return bytes(raw)[:_SHOWN_BYTES].decode(errors="replace")


def _not_json(error: Exception) -> RefusedSample:
    return RefusedSample("bad_json", f'the body is not a JSON array of {{"labels", "samples"}} objects: {error}')
