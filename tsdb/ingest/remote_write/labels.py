"""From the bytes of a series' Label fields to canonical label bytes."""

from __future__ import annotations

from tsdb.errors import RefusedSample
from tsdb.sample import LABEL_COUNT_MAX, canonical_bytes, labels_from
from tsdb.wire import BYTES, BadWire, fields

LABELS = 1
_NAME, _VALUE = 1, 2
_LABELS_TAG, _NAME_TAG, _VALUE_TAG = 0x0A, 0x0A, 0x12


def canonical_of(raw: str | bytes) -> bytes:
    """The canonical bytes of labels in any order. Raises: RefusedSample, for labels that cannot be stored."""
    assert isinstance(raw, bytes), raw
    return _straight(raw) or _exact(raw)


def _straight(raw: bytes) -> bytes | None:
    """For labels as nearly all senders write them: short, sorted, none empty or twice. About 2 µs instead of 15."""
    parts: list[bytes] = []
    at, end, last = 0, len(raw), b""
    try:
        while at < end:
            size, name_size = raw[at + 1], raw[at + 3]
            value_at = at + 4 + name_size
            if raw[at] != _LABELS_TAG or raw[at + 2] != _NAME_TAG or raw[value_at] != _VALUE_TAG or size >= 0x80:
                return None
            at += 2 + size
            name, value = raw[value_at - name_size : value_at], raw[value_at + 2 : at]
            if raw[value_at + 1] != len(value) or len(value) != size - name_size - 4 or not value or name <= last:
                return None
            parts += (name, value)
            last = name
    except IndexError:
        return None
    if at != end or not parts or len(parts) > 2 * LABEL_COUNT_MAX:
        return None
    try:
        b"\n".join(parts).decode()
    except UnicodeDecodeError:
        return None
    return b"\xff".join(parts) + b"\xff"


def _exact(raw: bytes) -> bytes:
    try:
        pairs = [_pair(raw, start, end) for number, _, start, end in fields(raw, 0, len(raw)) if number == LABELS]
    except BadWire as error:
        raise RefusedSample("bad_protobuf", f"labels that are not protobuf: {error}") from error
    if len(pairs) > LABEL_COUNT_MAX:  # Before ten thousand of them are sorted and checked.
        raise RefusedSample("too_many_labels", f"{len(pairs):,} labels; the limit is {LABEL_COUNT_MAX}")
    try:
        decoded = [(name.decode(), value.decode()) for name, value in pairs]
    except UnicodeDecodeError as error:
        raise RefusedSample("invalid_utf8", f"labels that are not UTF-8: {error.object[:80]!r}") from error
    return canonical_bytes(labels_from(decoded))


def _pair(raw: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """Name and value; of a field that comes twice the last one counts, and one that is missing is empty."""
    name = value = b""
    for number, kind, first, last in fields(raw, start, end):
        if kind == BYTES and number == _NAME:
            name = raw[first:last]
        elif kind == BYTES and number == _VALUE:
            value = raw[first:last]
    return name, value
