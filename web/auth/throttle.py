"""Slows down guessing of passwords: after a few failures each further try has to wait.

Counted per account from one address, and with more patience per account and per address: neither one colleague who
mistypes nor a stranger who guesses shall keep the others out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

FREE_COUNT = 5  # Failures of one account from one address that cost nothing, for people who mistype.
SHARED_FREE_COUNT = 20  # Of one address with any accounts, or of one account from any addresses.
WAIT_MS_MAX = 5 * 60_000  # A stranger can keep an account waiting no longer than this after they stop.
FORGET_MS = 60 * 60_000
KEY_COUNT_MAX = 10_000  # About 1 MB; the oldest are forgotten first.


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_ms: int = 0


def keys_of(account: str, address: str, *, is_known_here: bool) -> tuple[str, ...]:
    """What a try counts for. is_known_here: the account has a session from this address, so what strangers do to it
    elsewhere does not keep its owner waiting."""
    one, shared = f"one:{account[:64]}@{address}", (f"address:{address}", f"account:{account[:64]}")
    return (one, shared[0]) if is_known_here else (one, *shared)


def wait_ms(failure_count: int, free_count: int = FREE_COUNT) -> int:
    """How long after its last failure a key has to wait: nothing, then 1, 2, 4 … seconds."""
    if failure_count < free_count:
        return 0
    return int(min(1_000 * 2 ** min(failure_count - free_count, 20), WAIT_MS_MAX))


class Throttle:
    """Failures by key, such as "one:alice@192.0.2.7" and "address:192.0.2.7". Thread-safe; forgets at a restart."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def _remaining_ms(self, key: str, now_ms: int) -> int:
        failures = self._failures.get(key)
        if failures is None:
            return 0
        elapsed_ms = now_ms - failures.last_ms
        if elapsed_ms < 0 or elapsed_ms > FORGET_MS:  # The clock stepped back, or it is long ago.
            del self._failures[key]
            return 0
        free_count = FREE_COUNT if key.startswith("one:") else SHARED_FREE_COUNT
        return max(0, wait_ms(failures.count, free_count) - elapsed_ms)

    def begin(self, keys: tuple[str, ...], now_ms: int) -> int:
        """0, and the try counts as failed until `succeeded` says otherwise: many at once cannot slip through together.
        Else how long to wait; then it does not count."""
        with self._lock:
            remaining_ms = max(self._remaining_ms(key, now_ms) for key in keys)
            if remaining_ms:
                return remaining_ms
            for key in keys:
                failures = self._failures.setdefault(key, _Failures())
                failures.count += 1
                failures.last_ms = now_ms
                self._failures.move_to_end(key)
            while len(self._failures) > KEY_COUNT_MAX:
                self._failures.popitem(last=False)
        return 0

    def succeeded(self, keys: tuple[str, ...]) -> None:
        """The account is forgiven here. The shared counts only take this try back: an account of one's own must not
        clear the way for guessing at others."""
        with self._lock:
            for key in keys:
                if key.startswith("one:"):
                    self._failures.pop(key, None)
                elif (failures := self._failures.get(key)) is not None:
                    failures.count -= 1
