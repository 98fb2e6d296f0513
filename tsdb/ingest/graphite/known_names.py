"""What the rules say of names that have come: decided once for each name, looked up a column at a time after that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.carbon.aggregation import Output
from tsdb.carbon.rulebook import Rulebook, Verdict
from tsdb.ingest.decoded import Decoded, NameHashes, used_names
from tsdb.lookup import HashLookup, distinct
from tsdb.sample import Float64s, Int32s, Int64s

# At 28 B a name; and those that are changed or make something, whose words are kept, at about 300 B. Beyond, all are
# forgotten, and each is decided anew when it comes again.
NAMES_COUNT_MAX = 2_000_000
CONCERNED_COUNT_MAX = 500_000

# Numbers of verdicts that are not of one name; the others follow.
_AS_IT_IS, _BLACKLISTED, _NOT_WHITELISTED, _OWN_MIN = range(4)
_REASONS = {_BLACKLISTED: "blacklist", _NOT_WHITELISTED: "whitelist"}


@dataclass(frozen=True, slots=True)
class Ruled:
    """A batch after the rules. Entry i of the three columns: a value for the output with this number."""

    decoded: Decoded
    renamed_count: int
    output: Int64s
    timestamp_ms: Int64s
    value: Float64s


class _Concerned:
    """Columns by the number of a verdict: is it stored, under which other name, and what is made of it."""

    def __init__(self) -> None:
        self.is_stored: list[bool] = [True, False, False]
        self.renamed: list[int] = [-1, -1, -1]  # Number of the new name.
        self.output_counts: list[int] = [0, 0, 0]
        self.outputs: list[int] = []
        self.names: list[str] = []
        self._columns: tuple[npt.NDArray[np.bool_], Int64s, Int64s, Int64s, Int64s] | None = None
        self._names: tuple[pl.Series, NameHashes] | None = None

    def __len__(self) -> int:
        return len(self.is_stored)

    def add(self, verdict: Verdict, name: str, outputs: Sequence[int]) -> int:
        """Returns the number."""
        self._columns = None
        self.is_stored.append(bool(verdict.name))
        if verdict.name in ("", name):
            self.renamed.append(-1)
        else:
            self.renamed.append(len(self.names))
            self.names.append(verdict.name)
            self._names = None
        self.output_counts.append(len(outputs))
        self.outputs += outputs
        return len(self.is_stored) - 1

    def columns(self) -> tuple[npt.NDArray[np.bool_], Int64s, Int64s, Int64s, Int64s]:
        """is_stored, renamed, the count of outputs, where those begin, and the outputs of all."""
        if self._columns is None:
            counts = np.array(self.output_counts, np.int64)
            self._columns = (
                np.array(self.is_stored, np.bool_),
                np.array(self.renamed, np.int64),
                counts,
                np.cumsum(counts) - counts,
                np.array(self.outputs, np.int64),
            )
        return self._columns

    def new_names(self, seeds: tuple[int, int]) -> tuple[pl.Series, NameHashes]:
        if self._names is None:
            names = pl.Series("name", self.names, pl.String)
            self._names = (names, _hashes(names, seeds))
        return self._names


class KnownNames:
    """Not thread-safe: its owner holds a lock. number_of: of an output."""

    def __init__(self, rulebook: Rulebook, number_of: Callable[[Output], int], seeds: tuple[int, int]) -> None:
        self._rulebook = rulebook
        self._number_of = number_of
        self._seeds = seeds  # Of the register, which needs the same hashes.
        self.clear()

    def clear(self) -> None:
        """Forget all names, and the numbers of outputs."""
        self._lookup = HashLookup()
        self._concerned = _Concerned()

    def ruled(self, decoded: Decoded) -> Ruled:
        assert isinstance(decoded.names, pl.Series), decoded.names
        assert decoded.name_index is None
        hashes = _hashes(decoded.names, self._seeds)
        if len(self._lookup) + len(decoded) > NAMES_COUNT_MAX or len(self._concerned) > CONCERNED_COUNT_MAX:
            self.clear()
        verdict = self._lookup.find(*hashes)
        if (unknown := np.flatnonzero(verdict < 0)).size:
            verdict[unknown] = self._decided(decoded.names, hashes, unknown)
        rows = np.flatnonzero(verdict)
        if not rows.size:
            return Ruled(replace(decoded, hashes=hashes), 0, rows, rows, np.empty(0))
        found = verdict[rows]
        is_stored, renamed, output_counts, output_begins, outputs = self._concerned.columns()
        counts = output_counts[found]
        places = np.repeat(np.arange(rows.size), counts)
        within = np.arange(places.size) - np.repeat(np.cumsum(counts) - counts, counts)
        new = renamed[found]
        is_new = new >= 0
        for number, reason in _REASONS.items():
            decoded.refusals.count(reason, int(np.count_nonzero(found == number)))
        return Ruled(
            self._stored(decoded, hashes, rows[~is_stored[found]], rows[is_new], new[is_new]),
            int(np.count_nonzero(is_new)),
            outputs[output_begins[found[places]] + within],
            decoded.timestamp_ms[rows[places]],
            decoded.value[rows[places]],
        )

    def _stored(self, decoded: Decoded, hashes: NameHashes, gone: Int64s, renamed: Int64s, new: Int64s) -> Decoded:
        """What is left of a batch without the rows that are gone. new: numbers of the names of the renamed rows."""
        names = decoded.names
        assert isinstance(names, pl.Series), names
        first, second = hashes
        if renamed.size and renamed.size + gone.size == len(decoded):
            return self._all_renamed(decoded, renamed, new)
        if renamed.size:
            new_names, new_hashes = self._concerned.new_names(self._seeds)
            place = np.arange(len(names))
            place[renamed] = len(names) + new
            names = pl.concat([names.rename("name"), new_names]).gather(place)
            first, second = first.copy(), second.copy()
            first[renamed], second[renamed] = new_hashes.first[new], new_hashes.second[new]
        if not gone.size:
            return replace(decoded, names=names, hashes=NameHashes(first, second))
        stays = np.ones(len(decoded), np.bool_)
        stays[gone] = False
        return replace(
            decoded,
            names=names.filter(pl.Series(stays)),
            timestamp_ms=decoded.timestamp_ms[stays],
            value=decoded.value[stays],
            hashes=NameHashes(first[stays], second[stays]),
        )

    def _all_renamed(self, decoded: Decoded, renamed: Int64s, new: Int64s) -> Decoded:
        """Only rows under other names are left: those names are there once, so each is told once for all its rows."""
        names, hashes = self._concerned.new_names(self._seeds)
        used, name_index = used_names(len(names), new)
        if used is not None:
            names, hashes = names.gather(used), NameHashes(hashes.first[used], hashes.second[used])
        is_part = renamed.size < len(decoded)
        return replace(
            decoded,
            names=names,
            name_index=name_index,
            timestamp_ms=decoded.timestamp_ms[renamed] if is_part else decoded.timestamp_ms,
            value=decoded.value[renamed] if is_part else decoded.value,
            hashes=hashes,
        )

    def _decided(self, names: pl.Series, hashes: NameHashes, unknown: npt.NDArray[np.intp]) -> Int32s:
        """Look at each unknown name once, and remember; the verdicts of the unknown samples."""
        first, second = hashes.first[unknown], hashes.second[unknown]
        repeated = distinct(first, second)
        chosen = np.arange(unknown.size) if repeated is None else repeated.first
        found = np.array([self._decide(name) for name in names.gather(unknown[chosen]).to_list()], np.int32)
        self._lookup.insert_new(first[chosen], second[chosen], found)
        return found if repeated is None else found[repeated.inverse]

    def _decide(self, name: str) -> int:
        verdict = self._rulebook.verdict(name)
        if verdict is None:
            return _AS_IT_IS
        if verdict.refused:
            return _BLACKLISTED if verdict.refused == "blacklist" else _NOT_WHITELISTED
        return self._concerned.add(verdict, name, [self._number_of(output) for output in verdict.outputs])


def _hashes(names: pl.Series, seeds: tuple[int, int]) -> NameHashes:
    return NameHashes(names.hash(seeds[0]).to_numpy(), names.hash(seeds[1]).to_numpy())
