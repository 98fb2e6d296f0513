"""Notices on their way to whoever wants them: a queue of fixed length, and a thread that empties it.

At most one message goes out a second, with all that waits, so that no flood of packets becomes one of transactions.
While nobody answers, the same message is tried again, and the queue fills; what does not fit is refused and counted.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from tsdb.errors import NotReady, TsdbError
from tsdb.ingest.decoded import Refusals
from tsdb.ingest.ledger import Ledger
from tsdb.notices import COUNT_MAX, Happening, Notice, Unwanted

TELL_EVERY_S = 1.0
TELL_TIMEOUT_S = 2.0  # So long a stop may have to wait.
LAST_TIMEOUT_S = 0.2  # At the stop: mostly the other side has ended already.
_EXAMPLE_CHARS_MAX = 200
TOO_MANY, AWAY = "too_many_notices", "scheduler_away"

Tell = Callable[[Sequence[Notice], float], list[Unwanted]]
"""Hands notices over, within so many seconds. Raises: NotReady, if they may be told again; TsdbError."""


class Sent(NamedTuple):
    notice: Notice
    sender: str


class Telling:
    """put() may be called while run() runs in another thread."""

    def __init__(self, tell: Tell, protocol: str, ledger: Ledger, log: logging.Logger) -> None:
        self._tell = tell
        self._protocol = protocol
        self._ledger = ledger
        self._log = log
        self._waiting: queue.Queue[Sent] = queue.Queue(COUNT_MAX)
        self._ended = threading.Event()

    def put(self, notices: Sequence[tuple[Notice, int]], sender_of: Callable[[int], str]) -> None:
        """Each notice with the place of its line; only those that find room are asked for their sender."""
        room = COUNT_MAX - self._waiting.qsize()  # It only grows meanwhile: nobody else puts.
        for notice, offset in notices[:room]:
            self._waiting.put_nowait(Sent(notice, sender_of(offset)))
        if (left_count := len(notices) - room) > 0:
            lost = Refusals()
            lost.add(TOO_MANY, count=left_count, message=f"{COUNT_MAX:,} events and service checks wait already")
            self._ledger.refused(self._protocol, lost, lambda _: "")

    def end(self) -> None:
        """What waits is told once more, then run() returns."""
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(TELL_EVERY_S):
            if sent := self._drained():
                self._hand_over(sent)
        if sent := self._drained():
            self._hand_over(sent)

    def _drained(self) -> list[Sent]:
        return [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]

    def _hand_over(self, sent: Sequence[Sent]) -> None:
        notices = [one.notice for one in sent]
        while True:
            is_last = self._ended.is_set()
            try:
                unwanted = self._tell(notices, LAST_TIMEOUT_S if is_last else TELL_TIMEOUT_S)
                break
            except NotReady as error:
                if is_last:
                    unwanted = [Unwanted(at, AWAY, str(error)) for at in range(len(sent))]
                    break
                self._ended.wait(TELL_EVERY_S)
            except TsdbError as error:
                self._log.error("events and service checks were not taken: %s", error)
                unwanted = [Unwanted(at, "internal", str(error)) for at in range(len(sent))]
                break
        for one in unwanted:
            refusals = Refusals()
            refusals.add(one.reason, _example(sent[one.index].notice), message=one.message)
            self._ledger.refused(self._protocol, refusals, partial(_sender_of, sent[one.index]))


def _sender_of(sent: Sent, offset: int) -> str:
    return sent.sender


def _example(notice: Notice) -> bytes:
    name = notice.title if isinstance(notice, Happening) else notice.name
    return name[:_EXAMPLE_CHARS_MAX].encode()
