"""What series are called: names and values of their labels, and the tree of their dotted names, in head and blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

from tsdb.answer import PathNode
from tsdb.store.head import Run, are_present, by_index, present_ids
from tsdb.store.paths import Found, Glob, nodes_of
from tsdb.store.reader import BlockReader
from tsdb.store.tombstones import Tombstone

View = Callable[[int, int], tuple[Sequence[str], Sequence[Run], Sequence[Tombstone]]]
"""The blocks that overlap a range, the runs of the head and the tombstones, of one moment."""


class Names:
    """Of series that may have samples in a range of time, both ends included."""

    def __init__(self, view: View, reader: BlockReader) -> None:
        self._view = view
        self._reader = reader

    def label_names(self, start_ms: int, end_ms: int) -> list[str]:
        """The names of the labels of all series, in order."""
        names, runs, tombstones = self._view(start_ms, end_ms)
        heads = [index.label_names(present_ids(some, start_ms, end_ms)) for index, some in by_index(runs)]
        return sorted({*chain(*heads), *self._reader.label_names(names, start_ms, end_ms, tombstones)})

    def label_values(self, name: str, start_ms: int, end_ms: int, *, has_tags: bool = False) -> list[str]:
        """The values of a label among all series, or those that have a label beside their name, in order."""
        names, runs, tombstones = self._view(start_ms, end_ms)
        heads = [
            index.label_values(name, index.tagged(present) if has_tags else present)
            for index, some in by_index(runs)
            for present in (present_ids(some, start_ms, end_ms),)
        ]
        blocks = self._reader.label_values(name, names, start_ms, end_ms, tombstones, has_tags=has_tags)
        return sorted({*chain(*heads), *blocks})

    def find_paths(self, pattern: str, start_ms: int, end_ms: int) -> list[PathNode]:
        """The nodes of the tree of dotted names that a Graphite glob finds, of series without other labels.

        Raises: RefusedQuery, QueryTooLarge."""
        glob, found = Glob(pattern), Found()
        names, runs, tombstones = self._view(start_ms, end_ms)
        for index, some in by_index(runs):
            index.find_paths(glob, found, partial(are_present, some, start_ms, end_ms))
        self._reader.find_paths(glob, found, names, start_ms, end_ms, tombstones)
        return nodes_of(found)
