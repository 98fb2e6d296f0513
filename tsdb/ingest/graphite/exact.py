"""The slow path: one line of Graphite plaintext, field by field, kept or refused with a reason."""

from __future__ import annotations

import math
import re

from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import TIMESTAMP_MS_MAX

LINE_BYTES_MAX = 64 * 1024
SECONDS_MAX = TIMESTAMP_MS_MAX // 1000

_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITY = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)
_NAN = re.compile(rb"[+-]?nan", re.IGNORECASE)

MESSAGES = {
    "line_too_long": f"the line is longer than {LINE_BYTES_MAX:,} bytes",
    "invalid_utf8": "the line is not valid UTF-8",
    "fields_missing": "the line has fewer than three fields; it should read `path value timestamp`",
    "too_many_fields": "the line has more than three fields; `path value timestamp`, without blanks in a path",
    "not_a_number": "the value is not a number",
    "nan": "the value is NaN; send nothing where there is no value",
    "bad_timestamp": "the timestamp is not a time in seconds since 1970, nor -1 for now",
    "too_far_in_future": "the timestamp is after the year 9999; it is expected in seconds, not milliseconds",
}


def refused(reason: str) -> RefusedSample:
    return RefusedSample(reason, MESSAGES[reason])


def decode_line(line: bytes, now_ms: int) -> tuple[str, int, float]:
    """The name, the time in ms and the value of one line, given without its line feed.

    Raises: RefusedSample; its reason is a key of MESSAGES.
    """
    if len(line) > LINE_BYTES_MAX:
        raise refused("line_too_long")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise refused("invalid_utf8") from error
    fields = line.split()
    if len(fields) < 3:
        raise refused("fields_missing")
    if len(fields) > 3:
        raise refused("too_many_fields")
    name, value_text, timestamp_text = fields
    value = read_value(value_text)  # First, so that a line with two faults is counted as `lines` counts it.
    return name.decode(), read_timestamp_ms(timestamp_text, now_ms), value


def read_value(text: bytes) -> float:
    """Raises: RefusedSample, not_a_number or nan."""
    if _NUMBER.fullmatch(text) or _INFINITY.fullmatch(text):
        return float(text)
    raise refused("nan" if _NAN.fullmatch(text) else "not_a_number")


def read_timestamp_ms(text: bytes, now_ms: int) -> int:
    """Raises: RefusedSample, bad_timestamp or too_far_in_future."""
    if not _NUMBER.fullmatch(text):
        raise refused("bad_timestamp")
    seconds = float(text)
    if seconds > SECONDS_MAX:
        raise refused("too_far_in_future")
    if math.trunc(seconds) == -1:  # carbon's rule, so -1.5 is now as well.
        return now_ms
    if seconds < 0:
        raise refused("bad_timestamp")
    return round(seconds * 1000)
