"""Bodies of remote-write 2.0, in which series name their labels by references to one table of symbols.

    message Request    { repeated string symbols = 4; repeated TimeSeries timeseries = 5; }
    message TimeSeries { repeated uint32 labels_refs = 1; repeated Sample samples = 2;
                         repeated Histogram histograms = 3; repeated Exemplar exemplars = 4;
                         Metadata metadata = 5; int64 created_timestamp = 6; }

Most series are read all at once by `references`, others here. Each is written out as the Label fields that it has in
version 1.0: so it has the same name in the register whichever version brings it, and whatever may be wrong with labels
is found where it is found for 1.0. Samples are as in 1.0. A small body can name long symbols again and again, hence the
bound on what names may take when written out.

Source: prometheus.io/docs/specs/prw/remote_write_spec_2_0; io/prometheus/write/v2/types.proto. As Prometheus does, and
unlike 1.0, a series without a metric's name is refused.
"""

from __future__ import annotations

import contextlib
from array import array
from dataclasses import dataclass, field

import numpy as np

from tsdb.compression import snappy_block, zstd_frames
from tsdb.errors import BodyTooLarge, RefusedSample
from tsdb.ingest.decoded import EXAMPLE_BYTES_MAX, Body, Decoded, Refusals
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.raw_names import PADDING, RawNames
from tsdb.ingest.remote_write.exact import HISTOGRAM, Series, read_sample
from tsdb.ingest.remote_write.known import KnownSeries
from tsdb.ingest.remote_write.labels import canonical_of
from tsdb.ingest.remote_write.metadata import Said, of_series
from tsdb.ingest.remote_write.references import Referring, referring
from tsdb.sample import LABEL_COUNT_MAX, Int64s
from tsdb.wire import BYTES, VARINT, BadWire, field_of_bytes, fields, varint

_REQUEST_OF_1_0 = 1
_SYMBOLS_TAG, _TIMESERIES_TAG = 4 << 3 | BYTES, 5 << 3 | BYTES
_REFS, _SAMPLES, _HISTOGRAMS, _EXEMPLARS, _METADATA = 1, 2, 3, 4, 5
_LABEL, _NAME, _VALUE = 1, 1, 2  # Of 1.0.
_METRIC_NAME = b"__name__"
_REFS_KEPT_COUNT_MAX = 2 * (LABEL_COUNT_MAX + 1)  # Enough to see that they are too many.
SYMBOLS_COUNT_MAX = 1_000_000  # About 50 B each beside their text.
_NAMES_BYTES_TIMES = 2  # Written out, names may take so many times what a body may: 64 MiB.
NO_NAME = "a series without a metric's name (__name__), which remote-write 2.0 demands"


def decode_snappy(body: Body, limits: IntakeLimits, known: KnownSeries | None = None) -> Decoded:
    """known: not asked. Raises: RefusedSample bad_snappy, bad_protobuf; BodyTooLarge."""
    return _decode(snappy_block(body, limits.remote_write_bytes_max, PADDING), limits)


def decode_zstd(body: Body, limits: IntakeLimits, known: KnownSeries | None = None) -> Decoded:
    """known: not asked. Raises: RefusedSample bad_zstd, bad_protobuf; BodyTooLarge."""
    return _decode(zstd_frames(body, limits.remote_write_bytes_max, PADDING), limits)


@dataclass(slots=True)
class _Samples:
    """Of the whole body. name_index: of each sample, the number of its series' name."""

    names: list[bytes] = field(default_factory=list)
    name_index: array[int] = field(default_factory=lambda: array("i"))
    times_ms: array[int] = field(default_factory=lambda: array("q"))
    values: bytearray = field(default_factory=bytearray)

    def add(self, name: bytes, series: Series) -> None:
        self.name_index.extend([len(self.names)] * len(series.times_ms))
        self.names.append(name)
        self.times_ms.extend(series.times_ms)
        self.values += series.values


def _decode(data: bytes, limits: IntakeLimits) -> Decoded:
    """data: a Request with PADDING behind it."""
    try:
        symbols, places = _places(data, len(data) - len(PADDING), limits.remote_write_series_count_max)
    except BadWire as error:
        raise RefusedSample("bad_protobuf", f"the body is not a remote-write 2.0 Request: {error}") from error
    samples, refusals = _Samples(), Refusals()
    names = _Names(symbols, _NAMES_BYTES_TIMES * limits.remote_write_bytes_max)
    straight, text, text_ends = _straight(data, places, symbols, names)
    said = _said(data, straight, symbols)
    crooked = np.flatnonzero(~straight.is_good).tolist()
    for start, end in map(places.__getitem__, crooked):
        left_count = limits.remote_write_samples_count_max - len(samples.times_ms)
        try:
            series, refs, metadata = _read_series(data, start, end, left_count, refusals)
        except BadWire as error:
            refusals.add("bad_protobuf", data[start : start + EXAMPLE_BYTES_MAX], start, message=f"a series: {error}")
            continue
        said += _said_of(data, metadata, refs, symbols)
        count = len(series.times_ms) + series.histograms_count
        if not count:
            continue
        try:
            name = names.written_out(refs)
        except BodyTooLarge:
            raise
        except RefusedSample as error:
            refusals.add(error.reason, offset=start, message=str(error), count=count)
            continue
        if series.histograms_count:
            refusals.add("native_histogram", name, start, message=HISTOGRAM, count=series.histograms_count)
        if series.times_ms:
            samples.add(name, series)
    is_one_each = len(samples.names) == len(samples.times_ms)
    straight_count = straight.timestamp_ms.size
    index = np.array(samples.name_index, np.int32) + np.int32(straight_count)
    ends = np.concatenate((text_ends, len(text) + np.cumsum(np.array([len(name) for name in samples.names], np.int64))))
    starts = np.concatenate((np.zeros(min(1, ends.size), np.int64), ends[:-1]))
    return Decoded(
        names=RawNames(b"".join((text, *samples.names, PADDING)), starts, ends),
        name_index=None if is_one_each else np.concatenate((np.arange(straight_count, dtype=np.int32), index)),
        timestamp_ms=np.concatenate((straight.timestamp_ms, np.array(samples.times_ms, np.int64))),
        value=np.concatenate((straight.value, np.frombuffer(bytes(samples.values), "<f8"))),
        canonical_of=canonical_of,
        refusals=refusals,
        said=said,
    )


def _straight(
    data: bytes, places: list[tuple[int, int]], symbols: list[bytes], names: _Names
) -> tuple[Referring, bytes, Int64s]:
    """The series that lie as Prometheus writes them: their names end to end, and where each ends."""
    bounds = np.array(places, np.int64).reshape(-1, 2)
    is_name = np.array([symbol == _METRIC_NAME for symbol in symbols] or [False])
    is_empty = np.array([not symbol for symbol in symbols] or [False])
    found = referring(data, bounds[:, 0], bounds[:, 1], is_name, is_empty)
    pairs, place = np.unique(found.refs[::2] * is_name.size + found.refs[1::2], return_inverse=True)
    labels = [names.label(divmod(pair, is_name.size)) for pair in pairs.tolist()]
    label_ends = np.cumsum(np.array([len(label) for label in labels], np.int64)[place])
    ends = label_ends[np.cumsum(found.refs_count) // 2 - 1]
    names.take(int(ends[-1]) if ends.size else 0)
    return found, b"".join(map(labels.__getitem__, place.tolist())), ends


def _said(data: bytes, straight: Referring, symbols: list[bytes]) -> list[Said]:
    """What the straight series say of their metrics: each metric is asked once, by the first of its series."""
    if not straight.described.size:
        return []
    is_name = np.array([symbol == _METRIC_NAME for symbol in symbols])
    offsets = np.cumsum(straight.refs_count) - straight.refs_count
    names_at = np.flatnonzero(is_name[straight.refs[::2]])
    first_name = names_at[np.searchsorted(names_at, offsets[straight.described] // 2)]
    metrics, first = np.unique(straight.refs[2 * first_name + 1], return_index=True)
    starts, ends = straight.metadata_starts[first].tolist(), straight.metadata_ends[first].tolist()
    found: list[Said] = []
    for number, start, end in zip(metrics.tolist(), starts, ends, strict=True):
        with contextlib.suppress(BadWire):  # It costs the description, and no sample.
            if (said := of_series(data, start, end, symbols[number], symbols)) is not None:
                found.append(said)
    return found


def _said_of(data: bytes, metadata: tuple[int, int] | None, refs: list[int], symbols: list[bytes]) -> list[Said]:
    """The same of one series that is read field by field."""
    if metadata is None or len(refs) % 2 or not refs or max(refs) >= len(symbols):
        return []
    pairs = zip(refs[::2], refs[1::2], strict=True)
    metric = next((symbols[value] for name, value in pairs if symbols[name] == _METRIC_NAME), b"")
    with contextlib.suppress(BadWire):
        if metric and (said := of_series(data, *metadata, metric, symbols)) is not None:
            return [said]
    return []


def _places(data: bytes, end: int, series_count_max: int) -> tuple[list[bytes], list[tuple[int, int]]]:
    """The symbols, and where each series lies. Raises: BadWire, BodyTooLarge."""
    symbols: list[bytes] = []
    places: list[tuple[int, int]] = []
    at = 0
    while at < end:
        tag, size = data[at], data[at + 1]
        if size < 0x80 and tag in (_SYMBOLS_TAG, _TIMESERIES_TAG) and at + 2 + size <= end:  # Nearly all fields.
            first, at = at + 2, at + 2 + size
        else:
            number, kind, first, at = next(fields(data, at, end))
            if number == _REQUEST_OF_1_0:
                raise BadWire("a field 1, as a WriteRequest of 1.0 has it; Content-Type has to name what is sent")
            tag = number << 3 | kind
        if tag == _SYMBOLS_TAG:
            symbols.append(data[first:at])
            if len(symbols) > SYMBOLS_COUNT_MAX:
                raise BodyTooLarge(f"the body has more than {SYMBOLS_COUNT_MAX:,} symbols; split it")
        elif tag == _TIMESERIES_TAG:
            places.append((first, at))
            if len(places) > series_count_max:
                raise BodyTooLarge(f"the body has more than {series_count_max:,} series; split it")
    return symbols, places


def _read_series(
    data: bytes, start: int, end: int, samples_count_max: int, refusals: Refusals
) -> tuple[Series, list[int], tuple[int, int] | None]:
    """A series without its labels, its references, and where its metadata lie; what nobody keeps is counted.

    Raises: BadWire, BodyTooLarge.
    """
    series = Series()
    refs: list[int] = []
    exemplars_count = 0
    metadata: tuple[int, int] | None = None
    for number, kind, first, last in fields(data, start, end):
        if number == _REFS and kind in (BYTES, VARINT):  # In one field together, as a rule; or one by one.
            while first < last and len(refs) < _REFS_KEPT_COUNT_MAX:
                ref, first = varint(data, first, last)
                refs.append(ref)
        elif kind != BYTES:
            continue
        elif number == _SAMPLES:
            _read_sample(series, data, first, last)
            if len(series.times_ms) > samples_count_max:
                raise BodyTooLarge("the body has more samples than one may bring; split it")
        elif number == _HISTOGRAMS:
            series.histograms_count += 1
        elif number == _EXEMPLARS:
            exemplars_count += 1
        elif number == _METADATA:
            metadata = first, last
    refusals.ignore("exemplars", exemplars_count)
    return series, refs, metadata


def _read_sample(series: Series, data: bytes, start: int, end: int) -> None:
    """As a rule: tag 09, the value, tag 10, the time in six bytes."""
    if end - start == 16 and data[start] == 0x09 and data[start + 9] == 0x10:
        time_ms, at = varint(data, start + 10, end)
        if at == end and time_ms < 2**63:
            series.times_ms.append(time_ms)
            series.values += data[start + 1 : start + 9]
            return
    read_sample(series, data, start, end)


class _Names:
    """From references to the Label fields of 1.0."""

    def __init__(self, symbols: list[bytes], bytes_left: int) -> None:
        self._symbols = symbols
        self._bytes_left = bytes_left
        self._labels: dict[tuple[int, int], bytes] = {}

    def written_out(self, refs: list[int]) -> bytes:
        """Raises: RefusedSample bad_symbols, too_many_labels, no_metric_name; BodyTooLarge."""
        if len(refs) % 2:
            raise RefusedSample("bad_symbols", f"{len(refs):,} references to symbols, which are no pairs")
        if refs and max(refs) >= len(self._symbols):
            raise RefusedSample("bad_symbols", f"a reference to symbol {max(refs):,} of {len(self._symbols):,}")
        if len(refs) > 2 * LABEL_COUNT_MAX:
            raise RefusedSample("too_many_labels", f"{len(refs) // 2:,} labels; the limit is {LABEL_COUNT_MAX}")
        pairs = list(zip(refs[::2], refs[1::2], strict=True))
        if not any(self._symbols[name] == _METRIC_NAME and self._symbols[value] for name, value in pairs):
            raise RefusedSample("no_metric_name", NO_NAME)
        labels = self._labels
        written = b"".join([labels.get(pair) or self.label(pair) for pair in pairs])
        self.take(len(written))
        return written

    def label(self, pair: tuple[int, int]) -> bytes:
        name, value = (self._symbols[number] for number in pair)
        self.take(len(name) + len(value))  # What is kept is written out, too.
        label = self._labels[pair] = field_of_bytes(_LABEL, field_of_bytes(_NAME, name), field_of_bytes(_VALUE, value))
        return label

    def take(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise BodyTooLarge("the labels of the body's series are too long when they are written out; split it")
