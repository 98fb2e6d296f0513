"""A remote-write body → columns. A series that cannot be stored costs only itself; what is no protobuf is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.compression import snappy_block, zstd_frames
from tsdb.errors import BodyTooLarge, RefusedSample
from tsdb.ingest.decoded import EXAMPLE_BYTES_MAX, Body, Decoded, Refusals, used_names
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.raw_names import PADDING, RawNames
from tsdb.ingest.remote_write.exact import HISTOGRAM, read_series
from tsdb.ingest.remote_write.known import KnownSeries
from tsdb.ingest.remote_write.labels import canonical_of
from tsdb.ingest.remote_write.metadata import COUNT_MAX, Said, of_requests
from tsdb.ingest.remote_write.straight import BARE_BYTES, FULL_BYTES, places, straight
from tsdb.sample import LABEL_COUNT_MAX, Float64s, Int32s, Int64s
from tsdb.wire import BYTES, BadWire, varint

_TIMESERIES, _METADATA = 1, 3
_TIMESERIES_TAG = 0x0A
_COUNT_EVERY_BYTES = 2**20  # Of two bytes each: 512 Ki series more than allowed before it is noticed.
_OTHER_SIZE = {0: None, 1: 8, 5: 4}  # By wire type; a varint's size is found by reading it.


class _Samples(NamedTuple):
    """series: of each sample, its number in the body."""

    series: Int64s
    timestamp_ms: Int64s
    value: Float64s


def decode_snappy(body: Body, limits: IntakeLimits, known: KnownSeries | None = None) -> Decoded:
    """known: of the bodies before this one. Raises: RefusedSample bad_snappy, bad_protobuf; BodyTooLarge."""
    return _decode(snappy_block(body, limits.remote_write_bytes_max, PADDING), limits, known)


def decode_zstd(body: Body, limits: IntakeLimits, known: KnownSeries | None = None) -> Decoded:
    """known: of the bodies before this one. Raises: RefusedSample bad_zstd, bad_protobuf; BodyTooLarge."""
    return _decode(zstd_frames(body, limits.remote_write_bytes_max, PADDING), limits, known)


def _decode(data: bytes, limits: IntakeLimits, known: KnownSeries | None) -> Decoded:
    """data: a WriteRequest with PADDING behind it."""
    refusals = Refusals()
    seen = None if known is None else known.read(data, limits.remote_write_series_count_max)
    if seen is not None:
        samples = _Samples(np.arange(len(seen.names)), seen.timestamp_ms, seen.value)
        return _decoded(seen.names, samples, refusals)
    try:
        starts, ends, described = _series(data, len(data) - len(PADDING), limits.remote_write_series_count_max)
    except BadWire as error:
        raise RefusedSample("bad_protobuf", f"the body is not a protobuf WriteRequest: {error}") from error
    said = of_requests(data, described[:COUNT_MAX])
    refusals.ignore("metadata", len(described) - len(said))
    found = straight(data, starts, ends)
    samples = _Samples(found.series, found.timestamp_ms, found.value)
    names = RawNames(data, starts, found.labels_end)
    if found.is_crooked.any():
        crooked = np.flatnonzero(found.is_crooked)
        listed = names.to_list()
        samples = _joined((samples, _crooked(data, crooked, starts, ends, listed, limits, refusals)))
        names = RawNames.of(listed)
    elif known is not None and _is_usual(samples.series, starts, found.labels_end, ends, len(data) - len(PADDING)):
        names = known.learn(data, names, ends)
    return _decoded(names, samples, refusals, said)


def _is_usual(series: Int64s, starts: Int64s, labels_end: Int64s, ends: Int64s, end: int) -> bool:
    """Whether a body of straight series has one sample for each, and no other field."""
    if not starts.size or series.size != starts.size or ends[-1] != end:
        return False
    head_bytes = starts - np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    tail_bytes = ends - labels_end
    return bool(
        ((head_bytes == 2) | (head_bytes == 3)).all()
        and ((tail_bytes == FULL_BYTES) | (tail_bytes == BARE_BYTES)).all()
        and (series == np.arange(series.size)).all()
    )


def _series(data: bytes, end: int, count_max: int) -> tuple[Int64s, Int64s, list[tuple[int, int]]]:
    """Where each series starts and ends, and where metadata lie. Raises: BadWire, BodyTooLarge."""
    if (found := places(data, end)) is not None:
        _check_count(found[0].size, count_max)
        return *found, []
    starts, sizes, described = _walk(data, end, count_max)
    start_of = np.array(starts, np.int64)
    return start_of, start_of + np.array(sizes, np.int64), described


def _walk(data: bytes, end: int, count_max: int) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Where each series starts, its size, and where metadata lie. Raises: BadWire, BodyTooLarge."""
    starts: list[int] = []
    sizes: list[int] = []
    add_start, add_size = starts.append, sizes.append
    described: list[tuple[int, int]] = []
    at = counted_to = 0
    while at < end:
        if at >= counted_to:
            _check_count(len(starts) + len(described), count_max)
            counted_to = at + _COUNT_EVERY_BYTES
        if data[at] == _TIMESERIES_TAG:
            size = data[at + 1]
            if size < 0x80:
                at += 2
            else:
                high = data[at + 2]
                if high < 0x80:
                    size += (high << 7) - 0x80
                    at += 3
                else:
                    size, at = varint(data, at + 1, end)
            add_start(at)
            add_size(size)
            at += size
            continue
        begin = at
        number, at = _passed(data, at, end)
        if number == _METADATA and data[begin] & 7 == BYTES and at <= end:
            described.append((varint(data, begin + 1, end)[1], at))
    if at > end:
        raise BadWire(f"the last field ends {at - end:,} bytes behind the body")
    _check_count(len(starts), count_max)
    return starts, sizes, described


def _check_count(count: int, count_max: int) -> None:
    if count > count_max:
        raise BodyTooLarge(f"the body has more than {count_max:,} series; split it")


def _passed(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Pass over a field that is no series: its number, and where it ends."""
    tag, at = varint(data, at, end)
    if tag >> 3 == 0 or tag == _TIMESERIES_TAG:
        raise BadWire(f"a field of number {tag >> 3} at byte {at:,}")
    if tag & 7 == BYTES:
        size, at = varint(data, at, end)
        return tag >> 3, at + size
    if tag & 7 not in _OTHER_SIZE:
        raise BadWire(f"wire type {tag & 7} at byte {at:,}")
    size_or_none = _OTHER_SIZE[tag & 7]
    return tag >> 3, varint(data, at, end)[1] if size_or_none is None else at + size_or_none


def _crooked(
    data: bytes,
    crooked: npt.NDArray[np.intp],
    start_of: Int64s,
    end_of: Int64s,
    names: list[bytes],
    limits: IntakeLimits,
    refusals: Refusals,
) -> _Samples:
    """The samples of the crooked series; puts the names of these series right."""
    parts = []
    left_count = limits.remote_write_samples_count_max
    for number in crooked.tolist():
        start, end = int(start_of[number]), int(end_of[number])
        try:
            series = read_series(data, start, end, samples_count_max=left_count)
        except BadWire as error:
            refusals.add("bad_protobuf", data[start : start + EXAMPLE_BYTES_MAX], start, message=f"a series: {error}")
            continue
        refusals.ignore("exemplars", series.exemplars_count)
        count = len(series.times_ms)
        left_count -= count
        if series.histograms_count:
            refusals.add("native_histogram", series.raw_labels, start, message=HISTOGRAM, count=series.histograms_count)
        if series.labels_count > LABEL_COUNT_MAX:
            message = f"{series.labels_count:,} labels; the limit is {LABEL_COUNT_MAX}"
            refusals.add("too_many_labels", series.raw_labels, start, message=message, count=max(1, count))
        elif count:
            names[number] = series.raw_labels
            times_ms = np.array(series.times_ms, np.int64)
            parts.append(_Samples(np.full(count, number, np.int64), times_ms, series.value))
    return _joined(parts)


def _joined(parts: Sequence[_Samples]) -> _Samples:
    if not parts:
        return _Samples(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return _Samples(*map(np.concatenate, zip(*parts, strict=True)))


def _decoded(names: RawNames, samples: _Samples, refusals: Refusals, said: Sequence[Said] = ()) -> Decoded:
    series = samples.series
    name_index: Int32s | None = None  # As a rule each series brings one sample.
    if series.size != len(names) or not (series == np.arange(series.size)).all():
        places, name_index = used_names(len(names), series)
        if places is not None:
            names = names.gather(places)
    return Decoded(
        names=names,
        name_index=name_index,
        timestamp_ms=samples.timestamp_ms,
        value=samples.value,
        canonical_of=canonical_of,
        refusals=refusals,
        said=said,
    )
