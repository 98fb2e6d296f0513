"""Series that are made of others as they come in: what each interval of each has got, in columns.

An interval is given out when it has ended, and again if values come later, as carbon does for MAX_AGGREGATION_INTERVALS
intervals; of two values of one time the store keeps the greater. After that it is forgotten.

Source: carbon 1.1.10, lib/carbon/aggregator/buffers.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.carbon.aggregation import PERCENTILES, Output
from tsdb.sample import Float64s, Int64s

Bools = npt.NDArray[np.bool_]

INTERVALS_COUNT_MAX = 5  # carbon's MAX_AGGREGATION_INTERVALS as it comes.
# What is on its way through sockets and decoders when an interval ends; later, its value would have to be corrected.
GRACE_S = 2
OUTPUTS_COUNT_MAX = 100_000
ROWS_COUNT_MAX = 1_000_000  # Intervals of outputs that are kept, at 49 B: five of each output, and twice that.
VALUES_COUNT_MAX = 5_000_000  # Of outputs that are percentiles, at 16 B.
_PENDING_COUNT_MAX = 250_000  # Rows that wait to be joined with the others.
# A key is the number of an output and the second at which an interval begins: seconds until the year 9999 have 38 bits.
_SECONDS_BITS = 38
_SECONDS_MASK = (1 << _SECONDS_BITS) - 1


@dataclass(frozen=True, slots=True)
class _Rows:
    """What intervals of outputs have got so far. is_new: there is something that was not given out yet."""

    key: Int64s
    count: Float64s
    sum: Float64s
    min: Float64s
    max: Float64s
    last: Float64s
    is_new: Bools

    def only(self, wanted: Bools | slice) -> _Rows:
        return _Rows(*(getattr(self, each.name)[wanted] for each in fields(self)))


def _of_values(key: Int64s, value: Float64s) -> _Rows:
    return _Rows(key, np.ones(key.size), value, value, value, value, np.ones(key.size, np.bool_))


def _joined(parts: list[_Rows]) -> _Rows:
    """Each key once. The parts are in the order in which they came."""
    columns = [np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(_Rows)]
    if not columns[0].size:
        return _Rows(*columns)
    order = np.argsort(columns[0], kind="stable")
    key, count, total, low, high, last, is_new = (column[order] for column in columns)
    begins = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    ends = np.concatenate((begins[1:], [key.size])) - 1
    with np.errstate(invalid="ignore", over="ignore"):
        return _Rows(
            key[begins],
            np.add.reduceat(count, begins),
            np.add.reduceat(total, begins),
            np.minimum.reduceat(low, begins),
            np.maximum.reduceat(high, begins),
            last[ends],
            np.logical_or.reduceat(is_new, begins),
        )


class Made(NamedTuple):
    """What is given out."""

    names: pl.Series
    timestamp_ms: Int64s
    value: Float64s


class Aggregator:
    """Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self._number_by_output: dict[Output, int] = {}
        self._frequency_s = np.empty(0, np.int64)
        self._keeps_values = np.empty(0, np.bool_)
        self._rows = _of_values(np.empty(0, np.int64), np.empty(0))
        self._pending: list[tuple[Int64s, Float64s]] = []
        self._pending_count = 0
        self._values: list[tuple[Int64s, Float64s]] = []  # (key, value) of percentiles.
        self._values_count = 0
        self._asked_s = 0

    @property
    def outputs_count(self) -> int:
        return len(self._outputs)

    def number_of(self, output: Output) -> int:
        """Of an output, known or new; -1 if there are too many."""
        found = self._number_by_output.get(output)
        if found is not None:
            return found
        if len(self._outputs) >= OUTPUTS_COUNT_MAX:
            return -1
        self._number_by_output[output] = len(self._outputs)
        self._outputs.append(output)
        return len(self._outputs) - 1

    def add(self, number: Int64s, timestamp_ms: Int64s, value: Float64s) -> int:
        """Take values of outputs in; returns how many were lost, for there are too many intervals or values."""
        self._know_outputs()
        seconds = timestamp_ms // 1_000
        seconds -= seconds % self._frequency_s[number]
        key = number << _SECONDS_BITS | seconds
        lost_count = 0
        if (kept := self._keeps_values[number]).any():
            room = VALUES_COUNT_MAX - self._values_count
            lost_count = max(0, int(np.count_nonzero(kept)) - room)
            self._values.append((key[kept][:room], value[kept][:room]))
            self._values_count += self._values[-1][0].size
        self._pending.append((key, value))
        self._pending_count += key.size
        if self._pending_count >= _PENDING_COUNT_MAX:
            lost_count += self._join()
        return lost_count

    def take_due(self, now_s: int) -> tuple[Made, int]:
        """What has ended since it was asked last, on multiples of each output's frequency; and how many were lost.

        What lies beyond the next interval is given out as well, for nobody knows when it ends.
        """
        lost_count = self._join()
        now_s -= GRACE_S
        number, began_s = self._places(self._rows.key)
        frequency_s = self._frequency_s[number]
        is_turn = now_s // frequency_s != self._asked_s // frequency_s
        self._asked_s = now_s
        has_ended = (began_s + frequency_s <= now_s) | (began_s > now_s + frequency_s)
        made = self._take(is_turn & self._rows.is_new & has_ended)
        reach_s = INTERVALS_COUNT_MAX * frequency_s
        is_old = (began_s < now_s - now_s % frequency_s - reach_s) | (began_s > now_s + reach_s)
        self._forget(is_old & ~self._rows.is_new)
        return made, lost_count

    def take_all(self) -> Made:
        """What was not given out yet, the intervals that have not ended too: for a stop."""
        self._join()
        return self._take(self._rows.is_new)

    def prune(self) -> bool:
        """Forget the outputs without intervals, when half of all that may be are there; all numbers change then."""
        if len(self._outputs) <= OUTPUTS_COUNT_MAX // 2:
            return False
        self._join()
        number, began_s = self._places(self._rows.key)
        lives = np.unique(number)
        renumbered = np.full(len(self._outputs), -1, np.int64)
        renumbered[lives] = np.arange(lives.size)
        self._rows = replace(self._rows, key=renumbered[number] << _SECONDS_BITS | began_s)
        values = [(self._places(key), value) for key, value in self._values]
        self._values = [(renumbered[each] << _SECONDS_BITS | at_s, value) for (each, at_s), value in values]
        self._outputs = [self._outputs[each] for each in lives.tolist()]
        self._number_by_output = {output: at for at, output in enumerate(self._outputs)}
        self._frequency_s, self._keeps_values = self._frequency_s[lives], self._keeps_values[lives]
        return True

    def _know_outputs(self) -> None:
        fresh = self._outputs[self._frequency_s.size :]
        if fresh:
            self._frequency_s = np.concatenate((self._frequency_s, [one.frequency_s for one in fresh]))
            self._keeps_values = np.concatenate((self._keeps_values, [one.method in PERCENTILES for one in fresh]))

    def _places(self, key: Int64s) -> tuple[Int64s, Int64s]:
        """The numbers of outputs, and the seconds at which the intervals begin."""
        return key >> _SECONDS_BITS, key & _SECONDS_MASK

    def _join(self) -> int:
        """Returns how many values were lost."""
        if not self._pending:
            return 0
        key = np.concatenate([each for each, _ in self._pending])
        value = np.concatenate([each for _, each in self._pending])
        self._pending, self._pending_count = [], 0
        self._rows = _joined([self._rows, _of_values(key, value)])
        if (spare := self._rows.key.size - ROWS_COUNT_MAX) <= 0:
            return 0
        # The oldest go: whoever sends times at random must not push out what goes on.
        _, began_s = self._places(self._rows.key)
        is_old = np.zeros(began_s.size, np.bool_)
        is_old[np.argpartition(began_s, spare)[:spare]] = True
        lost_count = int(self._rows.count[is_old & self._rows.is_new].sum())
        self._forget(is_old)
        return lost_count

    def _take(self, is_due: Bools) -> Made:
        rows = self._rows.only(is_due)
        self._rows.is_new[is_due] = False
        number, began_s = self._places(rows.key)
        value = np.full(number.size, np.nan)
        code = np.array([_CODES[one.method] for one in self._outputs], np.int64)[number]
        with np.errstate(invalid="ignore"):
            plain = {"sum": rows.sum, "avg": rows.sum / rows.count, "min": rows.min, "max": rows.max}
        for method, column in {**plain, "count": rows.count, "last": rows.last}.items():
            value = np.where(code == _CODES[method], column, value)
        if (is_share := code >= _CODES["p50"]).any():
            value[is_share] = self._percentiles(rows.key[is_share], _SHARES[code[is_share]])
        is_number = ~np.isnan(value)  # Of infinities there may be no sum.
        names = pl.Series("name", [self._outputs[each].name for each in number[is_number].tolist()], pl.String)
        return Made(names, 1_000 * began_s[is_number], value[is_number])

    def _percentiles(self, wanted: Int64s, share: Float64s) -> Float64s:
        """By key, which rise: the value at this share of the way, between two neighbours as far as it is between."""
        key = np.concatenate([each for each, _ in self._values])
        value = np.concatenate([each for _, each in self._values])
        order = np.lexsort((value, key))
        key, value = key[order], value[order]
        self._values = [(key, value)]
        begins, ends = np.searchsorted(key, wanted), np.searchsorted(key, wanted, side="right")
        is_there = ends > begins  # But where there was no room.
        rank = share * (ends - begins - 1)
        below = np.floor(rank)
        low = np.minimum(begins + below.astype(np.int64), max(0, key.size - 1))
        high = np.minimum(low + 1, np.maximum(ends - 1, 0))
        found = np.full(wanted.size, np.nan)
        if key.size:
            with np.errstate(invalid="ignore"):
                step = np.where(rank > below, (value[high] - value[low]) * (rank - below), 0.0)
            found[is_there] = (value[low] + step)[is_there]
        return found

    def _forget(self, is_gone: Bools) -> None:
        if not is_gone.any():
            return
        gone = self._rows.key[is_gone]
        self._rows = self._rows.only(~is_gone)
        kept = []
        for key, value in self._values:
            stays = ~np.isin(key, gone)
            kept.append((key[stays], value[stays]))
        self._values = kept
        self._values_count = sum(key.size for key, _ in kept)


_ORDER = ("sum", "avg", "min", "max", "count", "last", *PERCENTILES)
_CODES = {method: code for code, method in enumerate(_ORDER)}
_SHARES = np.array([PERCENTILES.get(method, 0.0) for method in _ORDER])
