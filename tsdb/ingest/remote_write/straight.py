"""The fields of all series of a body at once, for those that lie as Prometheus and its kin write them.

Such a series has its labels first, each shorter than 16 KiB, and then samples alone, each in one of two forms:

    12 10 | 09 <8 B: the value> | 10 <6 B: the time>        18 bytes
    12 07 | 10 <6 B: the time>                                9 bytes; protobuf leaves a value of 0 out

A varint of 6 bytes holds the times from February 1971 to 2109 in milliseconds. Whether a series is of this form is
found out here byte by byte, never guessed: all others are given back as crooked.

Every read is of 8 bytes from a place inside the body, hence the PADDING of raw_names behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.sample import LABEL_COUNT_MAX, Float64s, Int64s

Bools = npt.NDArray[np.bool_]
UInt8s = npt.NDArray[np.uint8]
UInt64s = npt.NDArray[np.uint64]

_SERIES_TAG, _LABELS_TAG, _SAMPLES_TAG = 0x0A, 0x0A, 0x12
FULL_BYTES, BARE_BYTES = 18, 9
# The first bytes of a sample as a little-endian word: 12 10 09, and 12 07 10.
_FULL_HEAD, _BARE_HEAD, _HEAD_MASK = np.uint64(0x091012), np.uint64(0x100712), np.uint64(0xFFFFFF)
# Tag 10, five bytes that go on, one that ends; the eighth byte belongs to the next field.
_TIME_HEAD, _TIME_MASK = np.uint64(0x0000_8080_8080_8010), np.uint64(0x0080_8080_8080_80FF)


class Straight(NamedTuple):
    """Samples by series. labels_end: of each series of the body, also of the crooked; series: of each sample."""

    labels_end: Int64s
    is_crooked: Bools
    series: Int64s
    timestamp_ms: Int64s
    value: Float64s


class _Samples(NamedTuple):
    series: Int64s
    is_good: Bools
    timestamp_ms: Int64s
    value: Float64s


def straight(data: bytes, starts: Int64s, ends: Int64s) -> Straight:
    """Read the series that lie in data[starts[i]:ends[i]]; PADDING follows the last of them.

    First as if all samples were full, or the only one bare; then series with both kinds, a step a sample.
    """
    view = np.frombuffer(data, np.uint8)
    words: UInt64s = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    if not starts.size:
        return Straight(starts, np.zeros(0, np.bool_), starts, starts, np.empty(0))
    labels_end, is_crooked = _labels_ends(view, starts, ends)
    series, at = _even_places(labels_end, ends, is_crooked)
    found = _read(words, series, at, ends)
    is_mixed = ~is_crooked & (ends > labels_end)
    is_mixed[found.series] = False
    is_mixed[found.series[~found.is_good]] = True
    if not is_mixed.any():
        return Straight(labels_end, is_crooked, found.series, found.timestamp_ms, found.value)
    places = [
        (number, at) for number in np.flatnonzero(is_mixed) for at in _places(data, labels_end[number], ends[number])
    ]
    number_and_place = np.array(places, np.int64).reshape(-1, 2)
    mixed = _read(words, number_and_place[:, 0], number_and_place[:, 1], ends)
    has_places = np.zeros(starts.size, np.bool_)
    has_places[mixed.series] = True
    is_crooked |= is_mixed & ~has_places
    is_crooked[mixed.series[~mixed.is_good]] = True
    kept, kept_mixed = ~(is_mixed | is_crooked)[found.series], ~is_crooked[mixed.series]
    return Straight(
        labels_end,
        is_crooked,
        np.concatenate((found.series[kept], mixed.series[kept_mixed])),
        np.concatenate((found.timestamp_ms[kept], mixed.timestamp_ms[kept_mixed])),
        np.concatenate((found.value[kept], mixed.value[kept_mixed])),
    )


def places(data: bytes, end: int) -> tuple[Int64s, Int64s] | None:
    """Where the series of a body start and end, without a walk from one to the next: None, if this does not find out.

    Supposed is that each series ends with a sample, and that nothing else is in the body. Then what follows a sample
    and is no further one is the next series; and whether each says of itself that it ends there, is looked at.
    """
    view = np.frombuffer(data, np.uint8)[: end + 3]
    for has_bare in (False, True):
        found = _places_by_samples(view, end, has_bare=has_bare)
        if found is not None:
            return found
    return None


def _places_by_samples(view: UInt8s, end: int, *, has_bare: bool) -> tuple[Int64s, Int64s] | None:
    second = view[1:]
    at = np.flatnonzero(are_samples(view[:-1], has_bare=has_bare))
    ends = at + (np.where(second[at] == 0x10, FULL_BYTES, BARE_BYTES) if has_bare else FULL_BYTES)
    if not ends.size or ends[-1] != end or int(ends.max()) > end:
        return None
    ends = ends[view[ends] != _SAMPLES_TAG]
    tags = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    low, high = view[tags + 1].astype(np.int64), view[tags + 2].astype(np.int64)
    is_long = low >= 0x80
    starts = tags + 2 + is_long
    size = np.where(is_long, low + (high << 7) - 0x80, low)
    is_right = (view[tags] == _SERIES_TAG) & (starts + size == ends) & ~(is_long & (high >= 0x80))
    return (starts, ends) if is_right.all() else None


def are_samples(view: UInt8s, *, has_bare: bool = True) -> Bools:
    """Whether there begins at each byte, but for the last two, what looks like a full sample, or a bare one."""
    first, second, third = view[:-2], view[1:-1], view[2:]
    are_full = (second == 0x10) & (third == 0x09)
    found: Bools = first == 0x12
    found &= are_full | ((second == 0x07) & (third == 0x10)) if has_bare else are_full
    return found


def _even_places(labels_end: Int64s, ends: Int64s, is_crooked: Bools) -> tuple[Int64s, Int64s]:
    """The series and the place of each sample, if samples are full, or the series' only one bare."""
    rest = ends - labels_end
    count = np.where(rest % FULL_BYTES == 0, rest // FULL_BYTES, rest == BARE_BYTES)
    count[is_crooked] = 0
    if (count == 1).all():
        return np.arange(count.size), labels_end
    series = np.repeat(np.arange(count.size), count)
    first = np.cumsum(count) - count
    return series, labels_end[series] + FULL_BYTES * (np.arange(series.size) - first[series])


def _places(data: bytes, at: int, end: int) -> list[int]:
    """Where the samples of one series lie, by the sizes that they tell; none, if they do not end where it ends."""
    places = []
    at, end = int(at), int(end)
    while at < end:
        places.append(at)
        at += FULL_BYTES if data[at + 1] == FULL_BYTES - 2 else BARE_BYTES
    return places if at == end else []


def _read(words: UInt64s, series: Int64s, at: Int64s, ends: Int64s) -> _Samples:
    """What the samples at these places are, and which of them are samples in one of the two forms.

    A bare one is good only where a full one cannot be meant: where the next place is, or the series' end.
    """
    heads = words[at] & _HEAD_MASK
    are_full = heads == _FULL_HEAD
    if are_full.all():
        is_good, times, value = are_full, words[at + 11], words[at + 3]
    else:
        size = np.append(at[1:], 0) - at
        are_bare = (heads == _BARE_HEAD) & ((size == BARE_BYTES) | (at + BARE_BYTES == ends[series]))
        is_good = are_full | are_bare
        times, value = words[np.where(are_full, at + 11, at + 2)], words[at + 3]
        value[are_bare] = 0
    is_good &= are_times(times)
    return _Samples(series, is_good, times_of(times), value.view(np.float64))


def _labels_ends(view: UInt8s, starts: Int64s, ends: Int64s) -> tuple[Int64s, Bools]:
    """Where the labels of each series end, and which cannot be told here: a label a round, of all series at once."""
    is_crooked = np.zeros(starts.size, np.bool_)
    labels_end = starts.copy()
    open_, at, end = np.arange(starts.size), starts, ends
    for _ in range(LABEL_COUNT_MAX + 1):
        is_label = (view[at] == _LABELS_TAG) & (at < end)
        if not is_label.all():
            labels_end[open_[~is_label]] = at[~is_label]
            open_, at, end = open_[is_label], at[is_label], end[is_label]
            if not open_.size:
                break
        size = view[at + 1].astype(np.int64)
        if int(size.max()) >= 0x80:
            high = view[at + 2].astype(np.int64)
            is_long = size >= 0x80
            is_crooked[open_[is_long & (high >= 0x80)]] = True
            size = np.where(is_long, (size & 0x7F) + (high << 7) + 1, size)
        at = at + 2 + size
        if (at > end).any():
            is_crooked[open_[at > end]] = True
            at = np.minimum(at, end)
    else:
        is_crooked[open_] = True
    return labels_end, is_crooked


def are_times(words: UInt64s) -> Bools:
    """Which words begin with the field of a time in a varint of six bytes."""
    are_good: Bools = (words & _TIME_MASK) == _TIME_HEAD
    return are_good


def times_of(words: UInt64s) -> Int64s:
    """The numbers in the six varint bytes above the lowest byte: seven bits of each, pushed together by halves."""
    sevens = (words >> np.uint64(8)) & np.uint64(0x7F7F_7F7F_7F7F)
    fourteens = (sevens & np.uint64(0x007F_007F_007F)) | ((sevens & np.uint64(0x7F00_7F00_7F00)) >> np.uint64(1))
    low, middle, high = (fourteens & np.uint64(0x3FFF << at) for at in (0, 16, 32))
    times_ms: UInt64s = low | (middle >> np.uint64(2)) | (high >> np.uint64(4))
    return times_ms.view(np.int64)
