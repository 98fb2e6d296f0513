"""The answers that are kept, by what was asked, within a bound of bytes; the one that was wanted longest ago goes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tsdb.answer import QueryAnswer
from tsdb.interface import ChangeToken
from tsdb.query.promql.ledger import LABELS_BYTES
from tsdb.query.promql.limits import Options


class Key(NamedTuple):
    """What must be equal for a step of one range to be a step of another. The text as it was written: annotations name
    places in it. The ends of the range are not in it: a window moves on."""

    expression: str
    step_ms: int
    phase_ms: int  # Of every step, modulo step_ms.
    options: Options


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer of the steps first_ms … last_ms, and the moment before its samples were read."""

    answer: QueryAnswer
    first_ms: int
    last_ms: int
    token: ChangeToken

    @property
    def size_bytes(self) -> int:
        columns = (self.answer.offsets, self.answer.timestamp_ms, self.answer.value)
        return sum(_owner(column).nbytes for column in columns) + LABELS_BYTES * (1 + len(self.answer.labels))


class KeptAnswers:
    """Safe for threads."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes_count = 0
        self.evicted_count = 0
        self._by_key: OrderedDict[Key, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: Key) -> Kept | None:
        with self._lock:
            if key in self._by_key:
                self._by_key.move_to_end(key)
            return self._by_key.get(key)

    def put(self, key: Key, kept: Kept) -> None:
        """Keep an answer, unless it is too large, or another thread has put a newer one there meanwhile."""
        with self._lock:
            held = self._by_key.get(key)
            if held is not None and held.token.store == kept.token.store and held.token > kept.token:
                return
            self._drop(key)
            if kept.size_bytes > self.bytes_max:
                return
            self._by_key[key] = kept
            self.bytes_count += kept.size_bytes
            while self.bytes_count > self.bytes_max:
                self._drop(next(iter(self._by_key)))
                self.evicted_count += 1

    def drop(self, key: Key) -> None:
        with self._lock:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if (held := self._by_key.pop(key, None)) is not None:
            self.bytes_count -= held.size_bytes


def _owner(
    column: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The array whose memory a view keeps alive."""
    while isinstance(column.base, np.ndarray):
        column = column.base
    return column
