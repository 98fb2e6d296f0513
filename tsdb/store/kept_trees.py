"""The trees of the bare names of an index's segments, kept from one search for paths to the next."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from tsdb.canonical import CanonicalColumn
from tsdb.sample import METRIC_NAME, Int64s
from tsdb.store.disk import Bytes
from tsdb.store.path_tree import PathTree
from tsdb.store.paths import are_bare_names
from tsdb.store.postings import Segment

# Series whose labels are counted at a time: a few megabytes.
_STEP_COUNT = 50_000


class KeptTrees:
    """For any thread. Made when somebody searches, for each segment once: about 1 s for a million names.

    At most two trees of a name are held: that of a segment, until the next search, beside that of the one it is merged
    into."""

    def __init__(self) -> None:
        self._trees: dict[Segment, PathTree] = {}
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        return sum(tree.size_bytes for tree in list(self._trees.values()))

    def of(self, text: Bytes, ends: Int64s, segments: Sequence[Segment]) -> list[PathTree]:
        """By segment. text, ends: of the index."""
        with self._lock:
            known = self._trees
            self._trees = {
                segment: tree if (tree := known.get(segment)) is not None else _tree_of(text, ends, segment)
                for segment in segments
            }
            return list(self._trees.values())


def _tree_of(text: Bytes, ends: Int64s, segment: Segment) -> PathTree:
    part = segment.parts.get(METRIC_NAME.encode())
    if part is None:
        return PathTree.empty()
    numbers = part.value_by_series(segment.first, segment.series_count)
    for first in range(segment.first, segment.end, _STEP_COUNT):
        end = min(segment.end, first + _STEP_COUNT)
        low = int(ends[first])
        column = CanonicalColumn(text[low : int(ends[end])], ends[first + 1 : end + 1] - low)
        numbers[first - segment.first : end - segment.first][~are_bare_names(column)] = -1
    order = np.argsort(numbers)  # A name is the whole of one series, at most: no number comes twice.
    order = order[np.searchsorted(numbers[order], 0) :]
    return PathTree.of(text, part.values.taken(numbers[order]), (order + segment.first).astype(np.int32))
