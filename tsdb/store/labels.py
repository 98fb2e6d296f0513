"""The label sets of a selection, decoded when somebody reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from tsdb.sample import Int32s, Int64s, Labels
from tsdb.store.index import SeriesIndex


class LabelColumn(Sequence[Labels]):
    """Label sets by the ids of an index. A sum over all series never decodes one of them."""

    def __init__(self, index: SeriesIndex, ids: Int32s) -> None:
        self._index = index
        self._ids = ids
        self._decoded: list[Labels] | None = None

    def __len__(self) -> int:
        return int(self._ids.size)

    def __iter__(self) -> Iterator[Labels]:
        return iter(self._all())

    @overload
    def __getitem__(self, at: int) -> Labels: ...

    @overload
    def __getitem__(self, at: slice) -> list[Labels]: ...

    def __getitem__(self, at: int | slice) -> Labels | list[Labels]:
        if self._decoded is not None:
            return self._decoded[at]
        if isinstance(at, slice):
            return self._index.labels_of(self._ids[at])
        return self._index.labels_of(self._ids[at : at + 1 or None])[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())

    def taken(self, index: Int64s) -> LabelColumn:
        """Some of the series, none of them decoded."""
        return LabelColumn(self._index, self._ids[index])

    def names(self) -> list[str]:
        """The names of the labels that some of the series have, in no order."""
        return self._index.label_names(self._ids)

    def codes(self, name: str) -> tuple[Int32s, list[str]]:
        """The value of one label of each series, as its number in the list; -1 where there is none.

        Not to be changed."""
        return self._index.kept_codes.of(name, self._ids, self._index.label_codes)

    def _all(self) -> list[Labels]:
        if self._decoded is None:
            self._decoded = self._index.labels_of(self._ids)
        return self._decoded
