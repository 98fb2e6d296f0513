"""The request: snappy around protobuf, small, so it is read field by field."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb import regex
from tsdb.compression import snappy_block
from tsdb.errors import BodyTooLarge, RefusedQuery, RefusedSample
from tsdb.sample import Matcher, MatchOp
from tsdb.wire import BYTES, VARINT, BadWire, fields, int64, varint

REQUEST_BYTES_MAX = 1024 * 1024  # Decompressed. A selection has some hundred bytes.
QUERY_COUNT_MAX = 100
STREAMED_XOR_CHUNKS = 1
_OPS = (MatchOp.EQUAL, MatchOp.NOT_EQUAL, MatchOp.REGEX, MatchOp.NOT_REGEX)


@dataclass(frozen=True, slots=True)
class Asked:
    """One selection of a request; both ends of the range are included."""

    matchers: list[Matcher]
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class ReadRequest:
    queries: list[Asked]
    is_streamed: bool


def read_request(body: bytes | memoryview) -> ReadRequest:
    """Raises: RefusedQuery."""
    try:
        data = snappy_block(body, REQUEST_BYTES_MAX)
    except BodyTooLarge as error:
        raise RefusedQuery(str(error)) from error
    except RefusedSample as error:
        raise RefusedQuery("snappy: corrupt input") from error
    try:
        return _request(data)
    except (BadWire, UnicodeDecodeError, IndexError) as error:
        raise RefusedQuery(f"the body is not a prometheus.ReadRequest: {error}") from error


def _request(data: bytes) -> ReadRequest:
    queries: list[Asked] = []
    accepted: list[int] = []
    for number, kind, start, end in fields(data, 0, len(data)):
        if (number, kind) == (1, BYTES):
            queries.append(_query(data, start, end))
        elif (number, kind) == (2, VARINT):
            accepted.append(varint(data, start, end)[0])
        elif (number, kind) == (2, BYTES):
            while start < end:
                value, start = varint(data, start, end)
                accepted.append(value)
    if len(queries) > QUERY_COUNT_MAX:
        raise RefusedQuery(f"the request has {len(queries):,} queries of at most {QUERY_COUNT_MAX}; split it")
    # The first type that both sides know counts; one without any wants samples, as in the first version.
    return ReadRequest(queries, next((kind == STREAMED_XOR_CHUNKS for kind in accepted if kind in (0, 1)), False))


def _query(data: bytes, start: int, end: int) -> Asked:
    times = [0, 0]
    matchers: list[Matcher] = []
    for number, kind, at, stop in fields(data, start, end):
        if number in (1, 2) and kind == VARINT:
            times[number - 1] = int64(varint(data, at, stop)[0])
        elif (number, kind) == (3, BYTES):
            matchers.append(_matcher(data, at, stop))
    return Asked(matchers, times[0], times[1])


def _matcher(data: bytes, start: int, end: int) -> Matcher:
    op, texts = 0, ["", ""]
    for number, kind, at, stop in fields(data, start, end):
        if (number, kind) == (1, VARINT):
            op = varint(data, at, stop)[0]
        elif number in (2, 3) and kind == BYTES:
            texts[number - 2] = data[at:stop].decode()
    if op >= len(_OPS):
        raise RefusedQuery(f"{op} is not a kind of matcher; 0 to 3 are")
    if _OPS[op] in (MatchOp.REGEX, MatchOp.NOT_REGEX):
        regex.compiled(texts[1])
    return Matcher(texts[0], _OPS[op], texts[1])
