"""A column of texts → names, each checked: inside of its buffer, of bounded length, UTF-8."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.errors import BodyTooLarge
from tsdb.ingest.arrow.buffers import Budget, Column
from tsdb.ingest.arrow.flatbuffer import BadArrow
from tsdb.ingest.arrow.messages import LARGE_UTF8, UTF8, UTF8_VIEW
from tsdb.sample import CANONICAL_BYTES_MAX, Int64s

TEXT_KINDS = (UTF8, LARGE_UTF8, UTF8_VIEW)
# The longest label set that can be stored is about so long as a text; what is longer is refused by its length alone.
NAME_BYTES_MAX = CANONICAL_BYTES_MAX
REASONS = {1: "null", 2: "invalid_utf8", 3: "name_too_long"}
NULL, INVALID, TOO_LONG = REASONS
_INLINE_BYTES_MAX = 12
_VIEW_BYTES = 16


class Names(NamedTuple):
    """fault: of each name, 0 or a key of REASONS; None: all are good. A name with a fault is empty."""

    texts: pl.Series
    fault: npt.NDArray[np.uint8] | None


def names_of(column: Column, kind: int, budget: Budget, *, count_max: int) -> Names:
    """Raises: BadArrow, BodyTooLarge."""
    count = column.length
    if count > count_max:
        raise BodyTooLarge(f"the body has more than {count_max:,} names of series; use a dictionary, or split it")
    if count < 0:
        raise BadArrow(f"a column of {count:,} texts")
    if count == 0:
        return Names(pl.Series("series", [], pl.String), None)
    fault = np.zeros(count, np.uint8)
    valid = column.valid()
    if valid is not None:
        fault[~valid] = NULL
    read = _viewed if kind == UTF8_VIEW else _laid_out
    texts = read(column, kind, fault, budget)
    return Names(pl.Series("series", texts, pl.String), fault if fault.any() else None)


def _laid_out(column: Column, kind: int, fault: npt.NDArray[np.uint8], budget: Budget) -> list[str]:
    """Texts one after the other, told apart by where each ends."""
    dtype = np.dtype("<i4") if kind == UTF8 else np.dtype("<i8")
    offsets: Int64s = column.array(1, dtype, column.length + 1).astype(np.int64)
    data = column.data(2)
    lengths = np.diff(offsets)
    # The bounds first: between them no difference can overflow.
    if int(offsets.min()) < 0 or int(offsets.max()) > len(data) or int(lengths.min()) < 0:
        raise BadArrow(f"offsets of texts that do not rise from 0 to {len(data):,}")
    fault[(lengths > NAME_BYTES_MAX) & (fault == 0)] = TOO_LONG
    first = int(offsets[0])
    raw = bytes(data[first : int(offsets[-1])])
    edges = (offsets - first).tolist()
    if not fault.any() and raw.isascii():
        text = raw.decode("ascii")
        return [text[start:end] for start, end in pairwise(edges)]
    parts = (b"" if bad else raw[start:end] for (start, end), bad in zip(pairwise(edges), fault.tolist(), strict=True))
    return _decoded(parts, fault)


def _viewed(column: Column, kind: int, fault: npt.NDArray[np.uint8], budget: Budget) -> list[str]:
    """Views: a length, then the text itself, or its first bytes, the number of a buffer and the place in it."""
    assert kind == UTF8_VIEW, kind
    views = column.array(1, np.dtype(np.uint8), _VIEW_BYTES * column.length).tobytes()
    length, _, number, offset = np.frombuffer(views, "<i4").reshape(-1, 4).T.astype(np.int64)
    buffers = [column.data(2 + extra) for extra in range(column.extra_count)]
    sizes = np.array([len(data) for data in buffers] or [0], np.int64)
    fault[(length > NAME_BYTES_MAX) & (fault == 0)] = TOO_LONG
    is_far = (length > _INLINE_BYTES_MAX) & (fault == 0)
    inside = (number >= 0) & (number < len(buffers)) & (offset >= 0)
    inside &= offset + length <= sizes[np.where(inside, number, 0)]
    if (length < 0).any() or not inside[is_far].all():
        raise BadArrow(f"a view of a text outside of its {len(buffers)} buffers")
    budget.take(int(length[is_far].sum()))  # A thousand views of one text are a thousand texts.
    rows = zip(length.tolist(), number.tolist(), offset.tolist(), fault.tolist(), strict=True)
    parts = (
        b""
        if bad
        else bytes(buffers[where][start : start + size])
        if size > _INLINE_BYTES_MAX
        else views[_VIEW_BYTES * row + 4 : _VIEW_BYTES * row + 4 + size]
        for row, (size, where, start, bad) in enumerate(rows)
    )
    return _decoded(parts, fault)


def _decoded(parts: Iterable[bytes], fault: npt.NDArray[np.uint8]) -> list[str]:
    texts = []
    for row, part in enumerate(parts):
        try:
            texts.append(part.decode())
        except UnicodeDecodeError:
            fault[row] = INVALID
            texts.append("")
    return texts
