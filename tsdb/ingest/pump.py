"""From decoded columns to the store's acknowledgement: resolve, send, learn, and try again while the store is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tsdb.errors import NotReady, StaleEpoch
from tsdb.ingest.decoded import Decoded
from tsdb.ingest.ledger import Ledger
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.register import Resolved, SeriesRegister
from tsdb.interface import Ack
from tsdb.sample import SampleBatch

_BEHIND_ANY_BATCH = 2**62
REGISTRATION_WAIT_S_MAX = 2.0
PAUSE_S_MIN, PAUSE_S_MAX = 0.02, 1.0  # Between two tries while the store is away; doubled each time.


class Sink(Protocol):
    """The store as the intake sees it. Called from several threads at once.

    Both raise NotReady when the store does not answer, or not now. A call that was cut off may have been carried out:
    the batch is sent again, and stored once, because of equal samples one stays.
    """

    def hello(self) -> int:
        """The store's current epoch."""

    def append(self, batch: SampleBatch, new_series: Sequence[bytes], *, protocol: str, epoch: int) -> Ack:
        """Log and store a batch. Raises: StaleEpoch, DiskFull, NotReady."""


@dataclass(slots=True)
class Outcome:
    """What became of one body, part by part."""

    accepted_count: int = 0
    samples_count: int | None = None  # None until it is decoded.
    done_count: int = 0  # Of samples_count: those that the store has answered for, one way or the other.
    refused: dict[str, int] = field(default_factory=dict)
    first_error: str | None = None

    def refuse(self, count_by_reason: dict[str, int], first_error: str | None = None) -> None:
        for reason, count in count_by_reason.items():
            self.refused[reason] = self.refused.get(reason, 0) + count
        self.first_error = self.first_error or first_error


class Pump:
    """Thread-safe: each caller carries its own body to the end, so the number of callers bounds what is in flight.

    Bodies that bring new names take turns, so that the first batches of a big sender do not all carry the same names;
    bodies with known names pass them by.
    """

    def __init__(
        self,
        sink: Sink,
        register: SeriesRegister,
        ledger: Ledger,
        limits: IntakeLimits,
        log: logging.Logger,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sink = sink
        self._register = register
        self._ledger = ledger
        self._limits = limits
        self._log = log
        self._sleep = sleep
        self._registration = threading.Lock()
        self._is_away = False
        # Held while columns are worked on, here and by whoever decodes big bodies: one after the other does twice the
        # work a second of several at once, which fight for the GIL and the caches. Never held while the store is asked.
        self.crunching = threading.Lock()

    def deliver(
        self,
        decoded: Decoded,
        outcome: Outcome,
        *,
        protocol: str,
        sender_of: Callable[[int], str],
        gives_up: Callable[[NotReady], bool],
    ) -> None:
        """Bring the samples into the store's log, tell outcome of it, and try until gives_up(the latest error) says so.

        Raises: NotReady, if the store was away to the end; what was appended before it went away stays.
        """
        outcome.samples_count = len(decoded)
        outcome.refuse(decoded.refusals.count_by_reason, decoded.refusals.first_error)
        self._ledger.refused(protocol, decoded.refusals, sender_of)
        step = self._limits.append_samples_count_max
        for start in range(0, len(decoded), step):
            part = decoded if len(decoded) <= step else decoded.slice(start, step)
            self._append(part, protocol, sender_of, gives_up, outcome)
            outcome.done_count += len(part)

    def _append(
        self,
        decoded: Decoded,
        protocol: str,
        sender_of: Callable[[int], str],
        gives_up: Callable[[NotReady], bool],
        outcome: Outcome,
    ) -> None:
        pause_s = 0.0
        while True:
            try:
                self._append_once(decoded, protocol, sender_of, outcome)
            except NotReady as error:
                # The first stale epoch is only a store that has started anew: greet it at once.
                if gives_up(error):
                    raise
                self._note_away(error)
                if pause_s or not isinstance(error, StaleEpoch):
                    self._sleep(pause_s)
                pause_s = min(max(2 * pause_s, PAUSE_S_MIN), PAUSE_S_MAX)
            else:
                self._note_back()
                return

    def _append_once(self, decoded: Decoded, protocol: str, sender_of: Callable[[int], str], outcome: Outcome) -> None:
        if self._register.epoch is None:
            self._register.begin(self._sink.hello())
        with self.crunching:
            resolved = self._register.resolve_known(decoded)
        if resolved is None:
            resolved, ack = self._register_and_send(decoded, protocol)
        else:
            ack = self._send(resolved, protocol)
        self._ledger.refused(protocol, resolved.refusals, sender_of)
        if ack.refused:
            self._ledger.refused_by_store(protocol, ack.refused, ack.words, _senders(sender_of))
        self._ledger.accepted(protocol, ack.accepted_count)
        outcome.accepted_count += ack.accepted_count
        outcome.refuse(resolved.refusals.count_by_reason, resolved.refusals.first_error)
        first_error = next(
            (f"the store refused samples: {ack.words.get(reason, reason)}" for reason in ack.refused), None
        )
        outcome.refuse(ack.refused, first_error)

    def _register_and_send(self, decoded: Decoded, protocol: str) -> tuple[Resolved, Ack]:
        if not self._registration.acquire(timeout=REGISTRATION_WAIT_S_MAX):
            raise NotReady(f"other new series waited for the store longer than {REGISTRATION_WAIT_S_MAX} s")
        try:
            with self.crunching:
                resolved = self._register.resolve(decoded)
            if resolved.new_series:
                ack = self._send(resolved, protocol)
                with self.crunching:
                    self._register.learn(resolved, ack)
                return resolved, ack
        finally:
            self._registration.release()
        # Whoever went before brought the same names, or the unknown ones were no names of series.
        return resolved, self._send(resolved, protocol)

    def _send(self, resolved: Resolved, protocol: str) -> Ack:
        if not len(resolved.batch):
            return Ack(resolved.epoch, np.empty(0, np.int32), 0, {})
        try:
            return self._sink.append(resolved.batch, resolved.new_series, protocol=protocol, epoch=resolved.epoch)
        except StaleEpoch:
            self._register.forget(resolved.epoch)
            raise

    def _note_away(self, error: NotReady) -> None:
        if not self._is_away and not isinstance(error, StaleEpoch):
            self._is_away = True
            self._log.warning("the store takes no samples now; they wait here, and their senders: %s", error)

    def _note_back(self) -> None:
        if self._is_away:
            self._is_away = False
            self._log.info("the store takes samples again")


def _senders(sender_of: Callable[[int], str]) -> str:
    """Who sent a batch: the store tells how many samples it refused, not which, so of several senders it may be any."""
    first, last = sender_of(0), sender_of(_BEHIND_ANY_BATCH)
    return first if first == last else f"{first} … {last}"
