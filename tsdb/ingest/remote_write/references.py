"""The series of a 2.0 body that lie as Prometheus writes them, all at once; the others are left to `symbols`.

Such a series has its references in one field of less than 128 bytes, then one sample in either form of `straight`, then
perhaps metadata of less than 128 bytes, then perhaps a created timestamp in a varint of six bytes; and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsdb.ingest.remote_write.straight import BARE_BYTES, FULL_BYTES, Bools, UInt8s, UInt64s, are_times, times_of
from tsdb.sample import LABEL_COUNT_MAX, Float64s, Int64s

_FULL_HEAD, _BARE_HEAD, _HEAD_MASK = np.uint64(0x091012), np.uint64(0x100712), np.uint64(0xFFFFFF)
_REFS_TAG, _METADATA_TAG = 0x0A, 0x2A
# Of a created timestamp: tag 30, five bytes that go on, one that ends.
_CREATED_HEAD, _CREATED_MASK, _CREATED_BYTES = np.uint64(0x0000_8080_8080_8030), np.uint64(0x0080_8080_8080_80FF), 7


class Referring(NamedTuple):
    """One sample of each series that is good. refs: of these series end to end; refs_count: of each of them.

    described: the numbers, among the good, of those with metadata, and where that lies.
    """

    is_good: Bools
    refs: Int64s
    refs_count: Int64s
    timestamp_ms: Int64s
    value: Float64s
    described: Int64s
    metadata_starts: Int64s
    metadata_ends: Int64s


def referring(data: bytes, starts: Int64s, ends: Int64s, is_name: Bools, is_empty: Bools) -> Referring:
    """Read the series that lie in data[starts[i]:ends[i]]; padding of 512 bytes has to follow the last of them.

    is_name, is_empty: of each symbol, whether it is __name__, and whether it is the empty one.
    """
    view = np.frombuffer(data, np.uint8)
    words: UInt64s = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    size = view[starts + 1].astype(np.int64)
    is_good = (view[starts] == _REFS_TAG) & (size < 0x80) & (size > 0)
    sample_at = starts + 2 + size
    heads = words[sample_at] & _HEAD_MASK
    are_full = heads == _FULL_HEAD
    times = words[sample_at + np.where(are_full, 11, 2)]
    is_good &= (are_full | (heads == _BARE_HEAD)) & are_times(times)
    after = sample_at + np.where(are_full, FULL_BYTES, BARE_BYTES)
    has_metadata = (view[after] == _METADATA_TAG) & (after < ends)
    metadata_bytes = view[after + 1].astype(np.int64)
    is_good &= ~has_metadata | (metadata_bytes < 0x80)
    metadata_at = after + 2
    after = np.where(has_metadata, after + 2 + metadata_bytes, after)
    has_created = ((words[after] & _CREATED_MASK) == _CREATED_HEAD) & (after + _CREATED_BYTES == ends)
    is_good &= (after == ends) | has_created
    value = words[sample_at + 3]
    value[~are_full] = 0
    good = np.flatnonzero(is_good)
    refs, counts = _refs(view, starts[good] + 2, size[good])
    good_refs = _are_good(refs, counts, is_name, is_empty)
    if not good_refs.all():
        is_good[good[~good_refs]] = False
        refs, counts, good = refs[np.repeat(good_refs, counts)], counts[good_refs], good[good_refs]
    described = np.flatnonzero(has_metadata[good])
    metadata_starts = metadata_at[good[described]]
    metadata_ends = metadata_starts + metadata_bytes[good[described]]
    told = (described, metadata_starts, metadata_ends)
    return Referring(is_good, refs, counts, times_of(times[good]), value[good].view(np.float64), *told)


def _refs(view: UInt8s, at: Int64s, size: Int64s) -> tuple[Int64s, Int64s]:
    """The numbers in fields of so many bytes end to end, and how many each has; -1, where one has none of 3 bytes."""
    offsets = np.cumsum(size) - size
    place = np.repeat(at - offsets, size) + np.arange(int(size.sum()))
    sevens = view[place].astype(np.int64)
    is_last = sevens < 0x80
    is_last[offsets + size - 1] = True  # What goes on behind the end of its field is made -1 below.
    lasts = np.flatnonzero(is_last)
    firsts = np.concatenate((np.zeros(min(1, lasts.size), np.int64), lasts[:-1] + 1))
    length = lasts - firsts + 1
    refs = sevens[firsts] & 0x7F
    for more in (1, 2):
        has_more = length > more
        refs[has_more] |= (sevens[firsts[has_more] + more] & 0x7F) << 7 * more
    refs[(length > 3) | (sevens[lasts] >= 0x80)] = -1
    counts = np.add.reduceat(is_last, offsets, dtype=np.int64) if offsets.size else offsets
    return refs, counts


def _are_good(refs: Int64s, counts: Int64s, is_name: Bools, is_empty: Bools) -> Bools:
    """Which series have pairs of references into the table, not too many, and among them one to a metric's name."""
    if not counts.size:
        return np.zeros(0, np.bool_)
    offsets = np.cumsum(counts) - counts
    is_inside = (refs >= 0) & (refs < is_name.size)
    inside = np.where(is_inside, refs, 0)
    names_it = np.zeros(refs.size, np.bool_)
    names_it[:-1] = is_name[inside[:-1]] & ~is_empty[inside[1:]]
    is_second = (np.arange(refs.size) - np.repeat(offsets, counts)) % 2 == 1
    good: Bools = np.logical_and.reduceat(is_inside, offsets)
    good &= (counts % 2 == 0) & (counts <= 2 * LABEL_COUNT_MAX)
    good &= np.logical_or.reduceat(names_it & ~is_second, offsets)
    return good
