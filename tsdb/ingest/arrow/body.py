"""An Arrow IPC stream → columns. Rows that cannot be stored are counted; a stream that is wrong anywhere is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.errors import RefusedSample
from tsdb.ingest.arrow.buffers import Budget, Column, columns
from tsdb.ingest.arrow.flatbuffer import BadArrow, Table
from tsdb.ingest.arrow.messages import DICTIONARY, FLOAT, INT, RECORDS, SCHEMA, Field, batch_of, fields_of, messages
from tsdb.ingest.arrow.names import canonical_of
from tsdb.ingest.arrow.text import NULL, REASONS, TEXT_KINDS, Names, names_of
from tsdb.ingest.decoded import Body, Decoded, Refusals, used_names
from tsdb.ingest.limits import IntakeLimits
from tsdb.sample import Float64s, Int32s, Int64s

SERIES, TIMESTAMP_MS, VALUE = "series", "timestamp_ms", "value"
WANTED = (SERIES, TIMESTAMP_MS, VALUE)
_INT64, _FLOAT64 = np.dtype("<i8"), np.dtype("<f8")
_MESSAGES = {
    "null": "a null in series, timestamp_ms or value; leave such rows out",
    "invalid_utf8": "the name of the series is not valid UTF-8",
    "name_too_long": "the name of the series is longer than any label set that can be stored",
}


def decode(body: Body, limits: IntakeLimits) -> Decoded:
    """Raises: RefusedSample arrow_file, arrow_schema, arrow_delta_dictionary, bad_arrow; BodyTooLarge."""
    try:
        return _Stream(limits).read(memoryview(body))
    except BadArrow as error:
        raise RefusedSample("bad_arrow", f"the body is not an Arrow IPC stream: {error}") from error


class _Part(NamedTuple):
    """The rows of one batch."""

    name_index: Int32s
    timestamp_ms: Int64s
    value: Float64s


class _Stream:
    def __init__(self, limits: IntakeLimits) -> None:
        self._budget = Budget(limits.arrow_bytes_max)
        self._names_left_count = limits.arrow_names_count_max
        self._refusals = Refusals()
        self._names: list[Names] = []
        self._names_count = 0
        self._dictionary: tuple[Names, int] | None = None  # The current one, and the number of its first name.
        self._parts: list[_Part] = []

    def read(self, data: memoryview) -> Decoded:
        fields: list[Field] | None = None
        for message in messages(data):
            if message.kind == SCHEMA and fields is None:
                fields = fields_of(message.header)
                series = _checked(fields)
            elif fields is None or message.kind not in (DICTIONARY, RECORDS):
                raise BadArrow(f"a message of kind {message.kind} {'before' if fields is None else 'after'} the schema")
            elif message.kind == DICTIONARY:
                self._take_dictionary(message.header, message.body, series)
            else:
                batch = batch_of(message.header, message.body)
                self._take_rows(columns(batch, fields, WANTED, self._budget), series)
        if fields is None:
            raise BadArrow("it holds no schema")
        return self._decoded()

    def _take_dictionary(self, header: Table, body: memoryview, series: Field) -> None:
        table = header.table(1)
        if header.int64(0) != series.dictionary_id:
            return  # Of a column that is passed over.
        if header.uint8(2):
            raise RefusedSample(
                "arrow_delta_dictionary", "the dictionary of series is sent as a delta; send it whole (replacement)"
            )
        if table is None:
            raise BadArrow("a dictionary without data")
        batch = batch_of(table, body)
        if len(batch.nodes) != 1 or len(batch.buffers) < series.buffers_of_values:
            raise BadArrow(f"a dictionary of {len(batch.nodes)} nodes, {len(batch.buffers)} buffers")
        column = Column(batch, 0, range(len(batch.buffers)), self._budget)
        if column.length != batch.length:
            raise BadArrow(f"a dictionary of {batch.length:,} texts with a node of {column.length:,}")
        self._dictionary = (names := self._read_names(column, series)), self._add(names)

    def _read_names(self, column: Column, series: Field) -> Names:
        names = names_of(column, series.kind, self._budget, count_max=self._names_left_count)
        self._names_left_count -= len(names.texts)
        return names

    def _add(self, names: Names) -> int:
        first, self._names_count = self._names_count, self._names_count + len(names.texts)
        self._names.append(names)
        return first

    def _take_rows(self, found: dict[str, Column], series: Field) -> None:
        count = found[SERIES].length
        timestamp_ms = found[TIMESTAMP_MS].array(1, _INT64, count)
        value = found[VALUE].array(1, _FLOAT64, count)
        if series.index_dtype is None:
            names = self._read_names(found[SERIES], series)
            first, index = self._add(names), np.arange(count, dtype=np.int32)
        else:
            if self._dictionary is None:
                raise BadArrow("rows before the dictionary of their series")
            names, first = self._dictionary
            index = found[SERIES].array(1, series.index_dtype, count)
        valid = _all_valid([column.valid() for column in found.values()])
        if series.index_dtype is not None:
            index = _checked_index(index, len(names.texts), valid)
        part = _Part(index + np.int32(first) if first else index, timestamp_ms, value)
        fault = None if names.fault is None else names.fault[index]
        if valid is not None:
            fault = np.zeros(count, np.uint8) if fault is None else fault
            fault[~valid] = NULL
        self._parts.append(part if fault is None else self._without(part, fault))

    def _without(self, part: _Part, fault: npt.NDArray[np.uint8]) -> _Part:
        for number, reason in REASONS.items():
            if count := int(np.count_nonzero(fault == number)):
                self._refusals.add(reason, message=_MESSAGES[reason], count=count)
        return _Part(*(column[fault == 0] for column in part))

    def _decoded(self) -> Decoded:
        rows = _joined(self._parts)
        texts = [names.texts for names in self._names]
        names = pl.concat(texts) if len(texts) > 1 else texts[0] if texts else pl.Series("series", [], pl.String)
        places, index = used_names(len(names), rows.name_index)
        if places is not None:
            names = names.gather(places)
        return Decoded(
            names=names,
            name_index=index,
            timestamp_ms=rows.timestamp_ms,
            value=rows.value,
            canonical_of=canonical_of,
            refusals=self._refusals,
        )


def _checked(fields: Sequence[Field]) -> Field:
    """The field of the series. Raises: RefusedSample, if the schema is not ours."""
    by_name = {field.name: field for field in fields if field.name in WANTED}
    if len(by_name) < len(WANTED) or sum(field.name in WANTED for field in fields) > len(WANTED):
        found = ", ".join(field.name[:40] for field in fields[:10])
        raise _wrong_schema(f"each of the columns series, timestamp_ms and value is needed once; there are: {found}")
    if by_name[SERIES].kind not in TEXT_KINDS:
        raise _wrong_schema("series must be utf8, large_utf8, utf8_view, or a dictionary of them")
    for name, kind, dtype, words in ((TIMESTAMP_MS, INT, _INT64, "int64"), (VALUE, FLOAT, _FLOAT64, "float64")):
        field = by_name[name]
        # None first: numpy takes a missing dtype for float64.
        if field.dictionary_id is not None or field.kind != kind or field.dtype is None or field.dtype != dtype:
            raise _wrong_schema(f"{name} must be {words}")
    return by_name[SERIES]


def _wrong_schema(message: str) -> RefusedSample:
    return RefusedSample("arrow_schema", message)


def _all_valid(masks: Sequence[npt.NDArray[np.bool_] | None]) -> npt.NDArray[np.bool_] | None:
    some = [mask for mask in masks if mask is not None]
    return np.logical_and.reduce(some) if some else None


def _checked_index(index: npt.NDArray[np.integer], count: int, valid: npt.NDArray[np.bool_] | None) -> Int32s:
    """The index as int32, each within the dictionary; at a null anything may stand. Raises: BadArrow."""
    if valid is not None:
        index = np.where(valid, index, index.dtype.type(0))
    if index.size and (int(index.min()) < 0 or int(index.max()) >= count) and (valid is None or valid.any()):
        raise BadArrow(f"an index of {int(index.min()):,} to {int(index.max()):,} into a dictionary of {count:,}")
    return index.view(np.int32) if index.dtype == np.uint32 else index.astype(np.int32, copy=False)


def _joined(parts: Sequence[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]  # As they came, where they lie.
    if not parts:
        return _Part(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0))
    return _Part(*map(np.concatenate, zip(*parts, strict=True)))
