"""Floats and times as Prometheus writes them, whole columns at a time.

A million values are one call of msgspec's encoder; only values whose text differs from ours (NaN, infinities, whole
numbers past 2^53, tiny ones) meet a Python loop.
"""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import numpy as np

from tsdb.sample import Float64s, Int64s
from web.api.texts import Texts

PLAIN_MIN = 1e-5  # Below it msgspec writes an exponent, which Prometheus does only below 1e-6.
WHOLE_MAX = 2.0**53  # Every whole float below it is that integer exactly.
EXPONENT_BELOW, EXPONENT_FROM = 1e-6, 1e21


def number_text(value: float) -> bytes:
    """One float: shortest text that reads back to it, without an exponent between 1e-6 and 1e21."""
    if math.isnan(value):
        return b"NaN"
    if math.isinf(value):
        return b"+Inf" if value > 0 else b"-Inf"
    if value == 0:
        return b"-0" if math.copysign(1, value) < 0 else b"0"
    text = repr(value)
    if EXPONENT_BELOW <= abs(value) < EXPONENT_FROM:
        text = f"{Decimal(text):f}"
        return (text.removesuffix(".0")).encode()
    return text.encode()  # Python writes 1e-07 and 1e+21 as Go does.


def number_texts(value: Float64s) -> Texts:
    """The text of each value of a column."""
    return Texts.between_commas(listed(value)) if value.size else Texts.of([])


def listed(value: Float64s) -> bytes:
    """The same as a JSON list, `[1,2.5,+Inf]`; only its commas are those of JSON."""
    size = np.abs(value)
    whole = (value == np.floor(value)) & (size < WHOLE_MAX)
    odd = np.flatnonzero(~(whole | ((size >= PLAIN_MIN) & (size < WHOLE_MAX))) | ((value == 0) & np.signbit(value)))
    if whole.all() and not odd.size:
        return msgspec.json.encode(value.astype(np.int64).tolist())
    numbers = value.astype(object)
    numbers[whole] = value[whole].astype(np.int64)
    items: list[object] = numbers.tolist()
    for index, number in zip(odd.tolist(), value[odd].tolist(), strict=True):
        items[index] = msgspec.Raw(number_text(number))
    return msgspec.json.encode(items)


def time_text(timestamp_ms: int) -> bytes:
    """Seconds with three decimals, or none when they are zero."""
    seconds, milliseconds = divmod(timestamp_ms, 1_000)
    if timestamp_ms < 0 and milliseconds:
        return b"%.3f" % (timestamp_ms / 1_000)
    return b"%d.%03d" % (seconds, milliseconds) if milliseconds else b"%d" % seconds


def pair_heads(timestamp_ms: Int64s) -> Texts:
    """For each time the text that stands before its value: `"],[12.5,"`; times repeat, so each text is made once."""
    if (timestamp_ms[1:] > timestamp_ms[:-1]).all():
        return Texts.of(_heads(timestamp_ms))
    distinct, inverse = np.unique(timestamp_ms, return_inverse=True)
    return Texts.of(_heads(distinct)).taken(inverse)


def _heads(rising_ms: Int64s) -> list[bytes]:
    if not rising_ms.size:
        return []
    seconds, milliseconds = np.divmod(rising_ms, 1_000)
    if milliseconds.any():
        return [b'"],[' + time_text(time) + b',"' for time in rising_ms.tolist()]
    texts = msgspec.json.encode(seconds.tolist())[1:-1].replace(b",", b',"\n"],[')
    return (b'"],[' + texts + b',"').split(b"\n")
