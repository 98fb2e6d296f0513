"""How a door writes the names of series: each by itself, exactly, and the plain ones of a column at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tsdb.canonical import Bools, CanonicalColumn

if TYPE_CHECKING:
    import polars as pl

    from tsdb.ingest.raw_names import RawNames


class Plain(NamedTuple):
    """Of a column of names: which are plain, and the canonical bytes of those, in their order."""

    is_plain: Bools
    canonical: CanonicalColumn


@dataclass(frozen=True, slots=True)
class Spelling:
    """exact: one name to canonical bytes, or RefusedSample. plain: gives what exact would for each name that it takes.

    What plain leaves goes through exact, name by name: so plain has to be right only where it says so.
    """

    exact: Callable[[str | bytes], bytes]
    plain: Callable[[pl.Series | RawNames], Plain]

    def __call__(self, name: str | bytes) -> bytes:
        return self.exact(name)
