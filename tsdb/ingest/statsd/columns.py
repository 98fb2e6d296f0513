"""The fast path: a batch of StatsD lines → columns, with no loop over the lines in Python.

The places of `:`, `|`, `@`, `#` and of line feeds tell the form of each line. Two forms are *straight*, each with tags
or without: `name:value|type` and `name:value|type|@rate`; with `:` and `@` written as `|`, polars' CSV reader reads
them. Lines of any other form, with a blank, a control character or a byte beyond ASCII, and rows with a number that
polars cannot read or JavaScript would not, go through `exact`. Rows keep the order of their lines, for a gauge depends
on it, and so does the last bit of a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.ingest.decoded import EXAMPLE_BYTES_MAX, Refusals
from tsdb.ingest.statsd.datadog import EVENT
from tsdb.ingest.statsd.exact import COUNTER, GAUGE, MESSAGES, SET, TIMER, Metric, decode_line, factor_of
from tsdb.notices import Notice
from tsdb.sample import Float64s

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.intp]

_FEED, _COLON, _PIPE, _AT, _HASH, _ODD = range(1, 7)
_COMMON = {0x0A: _FEED, ord(":"): _COLON, ord("|"): _PIPE, ord("@"): _AT, ord("#"): _HASH}
# By byte: one of the marks, 0 for what may stand in a name, a number or a tag.
_MARKS = np.array([_COMMON.get(byte, _ODD if byte <= 0x20 or byte >= 0x7F else 0) for byte in range(256)], np.uint8)
_TO_PIPES = bytes.maketrans(b":@", b"||")
# Read in front of the lines: polars takes the width of the table from its first line.
_FRONT = b"_|0|c||1\n"
_COLUMNS = ("name", "value", "type", "at", "rate")
_UNKNOWN = 255  # A type that DogStatsD does not have; to statsd it is a counter.
_EVENT = EVENT.encode()
_FORM_COUNT = 6  # Marks that tell the form: `:`, `|`, `|`, `@`, then `|`, `#`.


@dataclass(frozen=True, slots=True)
class Metrics:
    """Values in the order of arrival, a row each.

    raw: String, name and tags as they came, which `exact.name_of` reads. kind: COUNTER, GAUGE, TIMER or SET. text: of
    sets the members, else empty; None, if there is no set.
    """

    raw: pl.Series
    kind: npt.NDArray[np.uint8]
    value: Float64s
    factor: Float64s  # One over the sample rate.
    is_delta: Bools
    text: pl.Series | None
    lines_count: int
    bad_count: int
    refusals: Refusals
    notices: Sequence[tuple[Notice, int]] = ()  # Events and service checks of DogStatsD, and where their lines begin.

    def __len__(self) -> int:
        return self.value.size


@dataclass(frozen=True, slots=True)
class _Part:
    line_index: Indexes
    raw: pl.Series
    kind: npt.NDArray[np.uint8]
    value: Float64s
    factor: Float64s
    is_delta: Bools
    text: pl.Series | None


def decode(data: bytes, *, dogstatsd: bool = False) -> Metrics:
    """Decode whole lines, each ended by a line feed; empty ones do not count."""
    assert not data or data.endswith(b"\n"), data[-EXAMPLE_BYTES_MAX:]
    refusals = Refusals()
    lines = _Lines(data, dogstatsd)
    parts, slow = [], lines.is_slow
    for wanted, is_tagged in ((lines.is_plain, False), (lines.is_tagged, True)):
        if wanted.any():
            part, doubtful = _read(lines, wanted, is_tagged=is_tagged)
            parts.append(part)
            slow[doubtful] = True
    bad_count = 0
    notices: list[tuple[Notice, int]] = []
    if slow.any():
        part, bad_count = _exactly(lines, np.flatnonzero(slow), refusals, notices)
        parts.append(part)
    joined = _joined(parts)
    return Metrics(
        *(joined.raw, joined.kind, joined.value, joined.factor, joined.is_delta, joined.text),
        lines_count=int(np.count_nonzero(lines.lengths)),
        bad_count=bad_count,
        refusals=refusals,
        notices=notices,
    )


class _Lines:
    """The form of each line, by the marks in it. is_plain, is_tagged and is_slow exclude each other."""

    def __init__(self, data: bytes, dogstatsd: bool) -> None:
        self.data = data
        self.dogstatsd = dogstatsd
        self.view = np.frombuffer(data, np.uint8)
        marks = _MARKS[self.view]
        self._places = np.flatnonzero(marks)
        codes = marks[self._places]
        self._feeds = np.flatnonzero(codes == _FEED)
        self.ends = self._places[self._feeds]
        self.starts = np.concatenate((np.zeros(min(1, self.ends.size), np.intp), self.ends[:-1] + 1))
        self.lengths = self.ends - self.starts
        self._first = np.concatenate((np.zeros(min(1, self.ends.size), np.intp), self._feeds[:-1] + 1))
        self.marks_count = self._feeds - self._first
        self._sort(codes)

    def place(self, nth: int, lines: Indexes | Bools | slice = slice(None)) -> Indexes:
        """Where the nth mark of lines is; their line feed counts as one."""
        return self._places[self._first[lines] + nth]

    def _sort(self, codes: Bytes) -> None:
        padded = np.concatenate((codes, np.zeros(_FORM_COUNT, np.uint8)))
        nth = [padded[self._first + index] for index in range(_FORM_COUNT)]
        count = self.marks_count
        places = np.concatenate((self._places, np.zeros(_FORM_COUNT, np.intp)))
        is_head = (count >= 2) & (nth[0] == _COLON) & (nth[1] == _PIPE)
        self.is_rated = is_head & (count >= 4) & (nth[2] == _PIPE) & (nth[3] == _AT)
        self.is_rated &= places[self._first + 3] == places[self._first + 2] + 1
        self.is_plain = (is_head & (count == 2)) | (self.is_rated & (count == 4))
        self.is_tagged = np.zeros(count.size, np.bool_)
        if (codes == _HASH).any():
            # Behind the marks of the head, `|#` and nothing odd; no second `#`, so that the tags go to the end.
            tags = np.where(self.is_rated, 4, 2)
            has_tags = is_head & (count >= tags + 2) & (padded[self._first + tags] == _PIPE)
            has_tags &= padded[self._first + tags + 1] == _HASH
            has_tags &= places[self._first + tags + 1] == places[self._first + tags] + 1
            has_tags &= self._count(codes == _HASH) == 1
            if self.dogstatsd:  # Other fields may follow the tags.
                has_tags &= self._count(codes == _PIPE) == np.where(self.is_rated, 3, 2)
            self.is_tagged = has_tags & ~self.is_plain
        if (codes == _ODD).any():
            is_clean = self._count(codes == _ODD) == 0
            self.is_tagged &= is_clean
            self.is_plain &= is_clean
        if self.dogstatsd and _EVENT in self.data:  # One of a title and a text looks like a metric of that value.
            self._leave_out_events()
        self.is_slow = ~(self.is_plain | self.is_tagged) & (self.lengths > 0)

    def _leave_out_events(self) -> None:
        is_event = self.lengths >= len(_EVENT)
        for at, byte in enumerate(_EVENT):
            is_event &= self.view[np.minimum(self.starts + at, self.view.size - 1)] == byte
        self.is_plain &= ~is_event
        self.is_tagged &= ~is_event

    def _count(self, marked: Bools) -> npt.NDArray[np.int64]:
        """How many of the marked marks each line has."""
        total: npt.NDArray[np.int64] = np.zeros(marked.size + 1, np.int64)
        np.cumsum(marked, out=total[1:])
        return total[self._feeds] - total[self._first]

    def line(self, index: int) -> bytes:
        return self.data[int(self.starts[index]) : int(self.ends[index])]

    def cut(self, starts: Indexes, ends: Indexes) -> bytes:
        """These stretches of the data one after the other; they lie in order and do not overlap."""
        steps = np.zeros(self.view.size + 1, np.int8)
        steps[starts] += 1
        steps[ends] -= 1
        return self.view[np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)].tobytes()


def _read(lines: _Lines, wanted: Bools, *, is_tagged: bool) -> tuple[_Part, Indexes]:
    """The straight lines that are wanted, by polars. Returns: their rows, and the lines that are doubtful after all."""
    index = np.flatnonzero(wanted)
    kind = _kinds(lines, index)
    has_sets = bool((kind == SET).any())
    frame = _table(_heads(lines, index, is_tagged=is_tagged), has_sets)
    assert frame.height == index.size, (frame.height, index.size)
    raw = frame["name"]
    if is_tagged:
        raw = raw + _lines_of(_tags(lines, index))
    value = frame["value"].cast(pl.Float64, strict=False) if has_sets else frame["value"]
    number = (value.fill_null(np.nan) if value.null_count() else value).to_numpy()
    factor = np.ones(index.size)
    is_rated = lines.is_rated[index]
    if is_rated.any():
        factor[is_rated] = _factors(frame["rate"].filter(pl.Series(is_rated)))
    is_good = np.isfinite(number) & ~((kind == TIMER) & (number < 0))
    is_good |= kind == SET
    is_good &= ~np.isnan(factor) & (kind != _UNKNOWN)
    signs = lines.view[lines.place(0, index) + 1]
    is_delta = (kind == GAUGE) & ((signs == ord("+")) | (signs == ord("-")))
    text = frame["value"].set(pl.Series(kind != SET), "") if has_sets else None
    if text is not None and (text == "").any():
        text = text.set(pl.Series(kind == SET) & (text == ""), "0")
    number = np.where(kind == SET, 0.0, number) if has_sets else number
    part = _Part(index, raw, kind, number, factor, is_delta, text)
    return (part, index[:0]) if is_good.all() else (_only(part, is_good), index[~is_good])


def _heads(lines: _Lines, index: Indexes, *, is_tagged: bool) -> bytes:
    if not is_tagged and index.size == lines.ends.size:
        return lines.data
    if not is_tagged:
        return lines.cut(lines.starts[index], lines.ends[index] + 1)
    # Of a tagged line the head, then its line feed.
    starts = np.stack((lines.starts[index], lines.ends[index]), axis=1).ravel()
    ends = np.stack((_tags_place(lines, index), lines.ends[index] + 1), axis=1).ravel()
    return lines.cut(starts, ends)


def _tags_place(lines: _Lines, index: Indexes) -> Indexes:
    found = np.where(lines.is_rated[index], lines.place(4, index), lines.place(2, index))
    return found.astype(np.intp)


def _tags(lines: _Lines, index: Indexes) -> bytes:
    return lines.cut(_tags_place(lines, index), lines.ends[index] + 1)


def _kinds(lines: _Lines, index: Indexes) -> npt.NDArray[np.uint8]:
    start = lines.place(1, index) + 1
    length = lines.place(2, index) - start
    first, second = lines.view[start], lines.view[np.minimum(start + 1, lines.view.size - 1)]
    kind = np.full(index.size, COUNTER, np.uint8)
    kind[(length == 1) & (first == ord("g"))] = GAUGE
    kind[(length == 1) & (first == ord("s"))] = SET
    kind[(length == 2) & (first == ord("m")) & (second == ord("s"))] = TIMER
    if lines.dogstatsd:
        kind[(length == 1) & ((first == ord("h")) | (first == ord("d")))] = TIMER
        kind[(kind == COUNTER) & ~((length == 1) & (first == ord("c")))] = _UNKNOWN
    return kind


def _table(text: bytes, has_sets: bool) -> pl.DataFrame:
    types = {"name": pl.String(), "value": pl.String() if has_sets else pl.Float64(), "rate": pl.String()}
    return pl.read_csv(
        _FRONT + text.translate(_TO_PIPES),
        has_header=False,
        separator="|",
        quote_char=None,
        schema={name: types.get(name, pl.String()) for name in _COLUMNS},
        columns=[0, 1, 4],
        empty_string_is_null=False,
        ignore_errors=True,
        glob=False,
    )[1:]


def _lines_of(text: bytes) -> pl.Series:
    """Lines that are not empty and hold no control character, as a column."""
    return pl.read_csv(
        text, has_header=False, separator="\0", quote_char=None, schema={"line": pl.String()}, glob=False
    )["line"]


def _factors(rates: pl.Series) -> Float64s:
    """One over each rate, NaN where it is none: senders have a few rates, each is read exactly, once."""
    found = rates.unique()
    factors = [factor_of("@" + rate) for rate in found.to_list()]
    numbers = pl.Series([np.nan if factor is None else factor for factor in factors], dtype=pl.Float64)
    return rates.replace_strict(found, numbers, return_dtype=pl.Float64).to_numpy()


def _exactly(lines: _Lines, index: Indexes, refusals: Refusals, notices: list[tuple[Notice, int]]) -> tuple[_Part, int]:
    """One line after the other through the slow path. Returns: their rows, and how many values were bad."""
    raws: list[str] = []
    metrics: list[Metric] = []
    line_index: list[int] = []
    bad_count = 0
    for number in index.tolist():
        line = decode_line(lines.line(number).decode(errors="replace"), dogstatsd=lines.dogstatsd)
        for reason in line.bad:
            example = lines.line(number)[:EXAMPLE_BYTES_MAX]
            refusals.add(reason, example, int(lines.starts[number]), message=MESSAGES[reason])
        if line.notice is not None:
            notices.append((line.notice, int(lines.starts[number])))
        bad_count += len(line.bad)
        raws += [line.raw] * len(line.metrics)
        metrics += line.metrics
        line_index += [number] * len(line.metrics)
    kind, value, factor, is_delta, text = zip(*metrics, strict=True) if metrics else ((),) * 5
    part = _Part(
        np.array(line_index, np.intp),
        pl.Series("name", raws, pl.String),
        np.array(kind, np.uint8),
        np.array(value, np.float64),
        np.array(factor, np.float64),
        np.array(is_delta, np.bool_),
        pl.Series("value", text, pl.String) if SET in kind else None,
    )
    return part, bad_count


def _only(part: _Part, wanted: Bools | Indexes) -> _Part:
    take: Callable[[pl.Series], pl.Series] = (
        (lambda column: column.filter(pl.Series(wanted)))
        if wanted.dtype == np.bool_
        else (lambda column: column.gather(pl.Series(wanted)))
    )
    return _Part(
        part.line_index[wanted],
        take(part.raw),
        part.kind[wanted],
        part.value[wanted],
        part.factor[wanted],
        part.is_delta[wanted],
        None if part.text is None else take(part.text),
    )


def _joined(parts: list[_Part]) -> _Part:
    """All rows in the order of their lines."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return _nothing()
    text = None
    if any(part.text is not None for part in parts):
        empty = [pl.repeat("", part.value.size, dtype=pl.String, eager=True) for part in parts]
        text = pl.concat([empty[at] if part.text is None else part.text for at, part in enumerate(parts)], rechunk=True)
    joined = _Part(
        np.concatenate([part.line_index for part in parts]),
        pl.concat([part.raw.alias("name") for part in parts], rechunk=True),
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.factor for part in parts]),
        np.concatenate([part.is_delta for part in parts]),
        text,
    )
    return _only(joined, np.argsort(joined.line_index, kind="stable"))


def _nothing() -> _Part:
    number = np.empty(0)
    return _Part(
        line_index=np.empty(0, np.intp),
        raw=pl.Series("name", [], pl.String),
        kind=np.empty(0, np.uint8),
        value=number,
        factor=number,
        is_delta=np.empty(0, np.bool_),
        text=None,
    )
