"""Slows down guessing of passwords: after a few failures each further try has to wait, per account and per address."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

FREE_COUNT = 5  # Failures that cost nothing, for people who mistype.
WAIT_MS_MAX = 5 * 60_000  # A stranger can keep an account waiting no longer than this after they stop.
FORGET_MS = 60 * 60_000
KEY_COUNT_MAX = 10_000  # About 1 MB; the oldest are forgotten first.


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_ms: int = 0


def wait_ms(failure_count: int) -> int:
    """How long after its last failure a key has to wait: nothing, then 1, 2, 4 … seconds."""
    if failure_count < FREE_COUNT:
        return 0
    return int(min(1_000 * 2 ** min(failure_count - FREE_COUNT, 20), WAIT_MS_MAX))


class Throttle:
    """Failures by key, such as "account:alice" and "address:192.0.2.7". Thread-safe; forgets at a restart."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def remaining_ms(self, keys: tuple[str, ...], now_ms: int) -> int:
        """The time until the slowest of the keys may try again; 0: now."""
        with self._lock:
            return max((self._remaining_ms(key, now_ms) for key in keys), default=0)

    def _remaining_ms(self, key: str, now_ms: int) -> int:
        failures = self._failures.get(key)
        if failures is None:
            return 0
        elapsed_ms = now_ms - failures.last_ms
        if elapsed_ms < 0 or elapsed_ms > FORGET_MS:  # The clock stepped back, or it is long ago.
            del self._failures[key]
            return 0
        return max(0, wait_ms(failures.count) - elapsed_ms)

    def failed(self, keys: tuple[str, ...], now_ms: int) -> None:
        with self._lock:
            for key in keys:
                failures = self._failures.setdefault(key, _Failures())
                failures.count += 1
                failures.last_ms = now_ms
                self._failures.move_to_end(key)
            while len(self._failures) > KEY_COUNT_MAX:
                self._failures.popitem(last=False)

    def succeeded(self, keys: tuple[str, ...]) -> None:
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)
