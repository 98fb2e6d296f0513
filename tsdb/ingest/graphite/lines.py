"""The fast path: a batch of Graphite lines → columns, by polars' CSV reader, with no loop over the lines in Python.

polars cuts long lines, skips a byte-order mark and knows no tabs, so what it reads is trusted only line by line as far
as counting proves it: a line with exactly three bytes below "!" (two blanks and its line feed, then; blanks, control
characters and the line feed are all there is) of which polars reads three non-empty fields has the form `name value
timestamp` and nothing else. Such lines are *straight*. A batch of straight lines alone is proved by two counts over
the whole batch. Otherwise the crooked lines are taken out, their blanks evened in numpy, and read by themselves; rows
with a field that polars could not read go through `exact`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import EXAMPLE_BYTES_MAX, Decoded, Refusals
from tsdb.ingest.graphite.exact import LINE_BYTES_MAX, MESSAGES, SECONDS_MAX, decode_line
from tsdb.ingest.graphite.names import canonical_of
from tsdb.sample import Float64s, Int64s

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.intp]

_SCHEMA = {"name": pl.String(), "value": pl.Float64(), "seconds": pl.Float64()}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A first line that polars may take the width of the table from, and in front of which no byte-order mark can stand.
_FRONT = b"_ 0 0\n"
_BLANK, _LINE_FEED = 0x20, 0x0A
_STRAIGHT_COUNT = 3  # Two blanks and a line feed.
_OTHER_BLANKS = (b"\t", b"\r", b"\v", b"\f")
_BLANKS = bytes.maketrans(b"".join(_OTHER_BLANKS), b" " * len(_OTHER_BLANKS))
# Up to so many lines are left out of a batch by joining what lies between them; for more, a mask over all bytes is
# cheaper (about 2 ns a byte; a slice costs 0.2 µs).
_SLICES_COUNT_MAX = 10_000


def decode(data: bytes, now_ms: int) -> Decoded:
    """Decode whole lines, each ended by a line feed; now_ms stands in for the timestamp -1.

    Samples keep the order of their lines, but crooked lines and those that took the slow path come last.
    """
    assert not data or data.endswith(b"\n"), data[-EXAMPLE_BYTES_MAX:]
    lines, refusals = _Lines(data), Refusals()
    frame = _read(data) if _looks_straight(data) else None
    if frame is not None and _is_full(frame):
        return _decoded(_samples(frame, None, lines, now_ms, refusals), refusals)
    parts = []
    for text, line_index in _sieved(lines, refusals):
        frame = _read(_FRONT + text)
        assert frame is not None, "the sieve let a line through that is not UTF-8"
        assert frame.height == 1 + line_index.size, (frame.height, line_index.size)
        parts += _samples(frame[1:], line_index, lines, now_ms, refusals)
    return _decoded(parts, refusals)


class _Lines:
    """The lines of a batch one by one: found out only when one has to be looked at by itself."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def _ends_and_low_count(self) -> tuple[Int64s, Int64s]:
        view = np.frombuffer(self.data, np.uint8)
        return _ends_and_count(view, view <= _BLANK)

    @property
    def ends(self) -> Int64s:
        """Where the line feeds are."""
        return self._ends_and_low_count[0]

    @property
    def low_count(self) -> Int64s:
        """How many bytes below "!" each line has, its line feed included."""
        return self._ends_and_low_count[1]

    @property
    def lengths(self) -> Int64s:
        """Bytes of each line without its line feed."""
        return np.diff(self.ends, prepend=-1) - 1

    def start(self, line: int) -> int:
        return int(self.ends[line - 1]) + 1 if line else 0

    def line(self, line: int) -> bytes:
        return self.data[self.start(line) : int(self.ends[line])]

    def refuse(self, line_index: Indexes, reason: str, refusals: Refusals) -> None:
        """Count these lines under the reason, with the first of them as examples."""
        count = int(line_index.size)
        for line in line_index.tolist():
            if not refusals.wants_example(reason):
                break
            text = self.line(line)[:EXAMPLE_BYTES_MAX]
            refusals.add(reason, text, self.start(line), message=MESSAGES[reason])
            count -= 1
        if count:
            refusals.add(reason, count=count)


@dataclass(frozen=True, slots=True)
class _Samples:
    names: pl.Series
    timestamp_ms: Int64s
    value: Float64s


def _looks_straight(data: bytes) -> bool:
    """As many low bytes as a batch of straight lines has. Cheap; where it is wrong, _is_full tells."""
    view = np.frombuffer(data, np.uint8)
    lines_count = int(np.count_nonzero(view == _LINE_FEED))
    if not lines_count or np.count_nonzero(view <= _BLANK) != _STRAIGHT_COUNT * lines_count:
        return False
    return not data.startswith(_BYTE_ORDER_MARK) and not _may_have_long_line(data)


def _may_have_long_line(data: bytes) -> bool:
    """A line over the limit covers a whole window of half that size: look for windows without a line feed."""
    window = LINE_BYTES_MAX // 2
    return any(data.find(b"\n", start, start + window) < 0 for start in range(0, len(data) - window, window))


def _read(data: bytes) -> pl.DataFrame | None:
    """The three columns of each line; None where polars refuses the whole batch (bad UTF-8, an odd first line)."""
    try:
        return pl.read_csv(
            data,
            has_header=False,
            separator=" ",
            quote_char=None,
            schema=_SCHEMA,
            ignore_errors=True,
            glob=False,
        )
    except pl.exceptions.PolarsError:
        return None


def _is_full(frame: pl.DataFrame) -> bool:
    """No field is empty or unread: then every line has its three low bytes at least, hence exactly."""
    return not any(frame[name].null_count() for name in _SCHEMA)


def _sieved(lines: _Lines, refusals: Refusals) -> list[tuple[bytes, Indexes]]:
    """The lines that polars may read, with their numbers: the straight ones, then the crooked ones that were evened.

    All others are refused here.
    """
    too_long = lines.lengths > LINE_BYTES_MAX
    invalid = _invalid_utf8(lines) & ~too_long
    lines.refuse(np.flatnonzero(too_long), "line_too_long", refusals)
    lines.refuse(np.flatnonzero(invalid), "invalid_utf8", refusals)
    rest = ~(too_long | invalid)
    straight = rest & (lines.low_count == _STRAIGHT_COUNT)
    crooked = np.flatnonzero(rest & ~straight)
    data = lines.data.translate(_BLANKS) if any(blank in lines.data for blank in _OTHER_BLANKS) else lines.data
    sieved = [(_only(data, lines.ends, straight), np.flatnonzero(straight))]
    if crooked.size:
        is_crooked = np.zeros(straight.size, np.bool_)
        is_crooked[crooked] = True
        text, ends, blanks_count = _evened(_only(data, lines.ends, is_crooked))
        lines.refuse(crooked[blanks_count < 2], "fields_missing", refusals)
        lines.refuse(crooked[blanks_count > 2], "too_many_fields", refusals)
        sieved.append((_only(text, ends, blanks_count == 2), crooked[blanks_count == 2]))
    return sieved


def _ends_and_count(view: Bytes, marked: Bools) -> tuple[Int64s, Int64s]:
    """Where the line feeds are, and how many marked bytes each line has; line feeds must be marked."""
    places = np.flatnonzero(marked)
    feeds = np.flatnonzero(view[places] == _LINE_FEED)
    return places[feeds], np.diff(feeds, prepend=-1)


def _only(data: bytes, ends: Int64s, wanted: Bools) -> bytes:
    """The wanted lines of data."""
    unwanted = np.flatnonzero(~wanted)
    if unwanted.size > _SLICES_COUNT_MAX:
        kept = np.repeat(wanted, np.diff(ends, prepend=-1))
        return np.frombuffer(data, np.uint8)[kept].tobytes()
    starts = np.concatenate((np.zeros(1, np.int64), ends[unwanted] + 1)).tolist()
    stops = np.concatenate((ends[unwanted - 1] + 1, np.full(1, len(data)))).tolist()
    if unwanted.size and unwanted[0] == 0:
        stops[0] = 0
    return b"".join(data[start:stop] for start, stop in zip(starts, stops, strict=True))


def _evened(data: bytes) -> tuple[bytes, Int64s, Int64s]:
    """The same lines with one blank for each run of them, and none at the start or the end of a line.

    Returns: them, where their line feeds are, and how many blanks each has.
    """
    view = np.frombuffer(data, np.uint8)
    following = np.append(view[1:], np.uint8(_LINE_FEED))
    view = view[~((view == _BLANK) & ((following == _BLANK) | (following == _LINE_FEED)))]
    before = np.append(np.uint8(_LINE_FEED), view[:-1])
    view = view[~((view == _BLANK) & (before == _LINE_FEED))]
    ends, marked_count = _ends_and_count(view, (view == _BLANK) | (view == _LINE_FEED))
    return view.tobytes(), ends, marked_count - 1


def _invalid_utf8(lines: _Lines) -> Bools:
    """Which lines are not UTF-8. Only lines with a byte above 0x7F are looked at one by one, and only if one is bad."""
    invalid = np.zeros(lines.ends.size, np.bool_)
    if lines.data.isascii() or _is_utf8(lines.data):
        return invalid
    high = np.flatnonzero(np.frombuffer(lines.data, np.uint8) > 0x7F)
    for line in np.unique(np.searchsorted(lines.ends, high)).tolist():
        invalid[line] = not _is_utf8(lines.line(line))
    return invalid


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _samples(
    frame: pl.DataFrame, line_index: Indexes | None, lines: _Lines, now_ms: int, refusals: Refusals
) -> list[_Samples]:
    """The rows that are samples, then those that `exact` makes samples of.

    line_index: the line of each row; None where row i is line i.
    """
    names, value, seconds = frame["name"], _floats(frame["value"]), _floats(frame["seconds"])
    unread = frame["value"].is_null() | frame["seconds"].is_null() | frame["name"].is_null()
    is_now = (seconds > -2) & (seconds <= -1)
    is_timely = is_now | ((seconds >= 0) & (seconds <= SECONDS_MAX))
    is_nan = np.isnan(value) & ~unread.to_numpy()
    doubtful = (unread.to_numpy() | ~is_timely) & ~is_nan
    good = ~(doubtful | is_nan)
    if good.all():
        return [_Samples(names, _milliseconds(seconds, is_now, now_ms), value)]
    line_index = np.arange(good.size) if line_index is None else line_index
    lines.refuse(line_index[is_nan], "nan", refusals)
    timestamp_ms = _milliseconds(seconds[good], is_now[good], now_ms)
    kept = _Samples(names.filter(pl.Series(good)), timestamp_ms, value[good])
    return [kept, *_exactly(lines, line_index[doubtful], now_ms, refusals)]


def _floats(column: pl.Series) -> Float64s:
    """The column, with NaN where polars read nothing."""
    return (column.fill_null(float("nan")) if column.null_count() else column).to_numpy()


def _milliseconds(seconds: Float64s, is_now: Bools, now_ms: int) -> Int64s:
    timestamp_ms = np.rint(seconds * 1000).astype(np.int64)
    if is_now.any():
        timestamp_ms[is_now] = now_ms
    return timestamp_ms


def _exactly(lines: _Lines, line_index: Indexes, now_ms: int, refusals: Refusals) -> list[_Samples]:
    """One line after the other through the slow path."""
    names, timestamps_ms, values = [], [], []
    for number in line_index.tolist():
        line = lines.line(number)
        try:
            name, timestamp_ms, value = decode_line(line, now_ms)
        except RefusedSample as error:
            refusals.add(error.reason, line, lines.start(number), message=str(error))
            continue
        names.append(name)
        timestamps_ms.append(timestamp_ms)
        values.append(value)
    if not names:
        return []
    return [_Samples(pl.Series("name", names, pl.String), np.array(timestamps_ms, np.int64), np.array(values))]


def _decoded(parts: list[_Samples], refusals: Refusals) -> Decoded:
    empty = _Samples(pl.Series("name", [], pl.String), np.empty(0, np.int64), np.empty(0))
    parts = parts or [empty]
    is_one = len(parts) == 1
    return Decoded(
        names=parts[0].names if is_one else pl.concat([part.names for part in parts]),
        name_index=None,
        timestamp_ms=parts[0].timestamp_ms if is_one else np.concatenate([part.timestamp_ms for part in parts]),
        value=parts[0].value if is_one else np.concatenate([part.value for part in parts]),
        canonical_of=canonical_of,
        refusals=refusals,
    )
