"""The record of what came in and what was refused: counters, a log line now and then, the latest examples."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from appliance.clock import Clock
from appliance.metrics import Metrics
from tsdb.ingest.decoded import EXAMPLE_BYTES_MAX, Refusals

RECENT_COUNT_MAX = 50
LOG_EVERY_S = 60.0
_BINARY_BYTES_SHOWN = 16
_REASONS_COUNT_MAX = 200  # Of (protocol, reason) in the log's memory; reasons are our own words, so far fewer exist.


@dataclass(frozen=True, slots=True)
class RecentRefusal:
    """One refused line as the System page shows it."""

    protocol: str
    reason: str
    message: str
    line: str  # repr of the bytes, cut, so that it can be shown and logged; of binary bytes the first in hexadecimal.
    sender: str
    at_ms: int


class Ledger:
    """Thread-safe. Every refused sample is counted; the log gets the first of each reason a minute."""

    def __init__(self, metrics: Metrics, clock: Clock, log: logging.Logger) -> None:
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._samples = metrics.counter("henge_ingest_samples_total", "Samples accepted, by protocol.")
        self._refused = metrics.counter("henge_ingest_refused_total", "Samples and lines refused, by protocol, reason.")
        self._ignored = metrics.counter(
            "henge_ingest_ignored_total", "What came with samples and is not kept, by kind."
        )
        self._batches = metrics.counter("henge_ingest_batches_total", "Batches that the store has acknowledged.")
        self._accepted_count: dict[str, int] = {}
        self._refused_count: dict[str, dict[str, int]] = {}
        self._recent: deque[RecentRefusal] = deque(maxlen=RECENT_COUNT_MAX)
        self._logged_s: dict[tuple[str, str], float] = {}

    def accepted(self, protocol: str, count: int) -> None:
        self._batches.inc(protocol=protocol)
        self._samples.inc(count, protocol=protocol)
        with self._lock:
            self._accepted_count[protocol] = self._accepted_count.get(protocol, 0) + count

    def refused(self, protocol: str, refusals: Refusals, sender_of: Callable[[int], str]) -> None:
        """Count refusals and keep their examples; sender_of tells from an offset in the body who sent it."""
        self.refused_count(protocol, refusals.count_by_reason)
        for kind, count in refusals.ignored_count_by_kind.items():
            self._ignored.inc(count, protocol=protocol, kind=kind)
        for example in refusals.examples:
            recent = RecentRefusal(
                protocol=protocol,
                reason=example.reason,
                message=example.message,
                line=_shown(example.text),
                sender=sender_of(example.offset),
                at_ms=self._clock.now_ms(),
            )
            with self._lock:
                self._recent.append(recent)
            if self._may_log(protocol, example.reason):
                count = refusals.count_by_reason[example.reason]
                self._log.warning(
                    "%s: refused %s line%s from %s (%s): %s; for example %s",
                    *(protocol, count, "" if count == 1 else "s", recent.sender, example.reason, example.message),
                    recent.line,
                )

    def refused_count(self, protocol: str, count_by_reason: Mapping[str, int]) -> None:
        """Count refusals of which no example is known, such as the store's."""
        for reason, count in count_by_reason.items():
            self._refused.inc(count, protocol=protocol, reason=reason)
            with self._lock:
                by_reason = self._refused_count.setdefault(protocol, {})
                by_reason[reason] = by_reason.get(reason, 0) + count

    def refused_by_store(
        self, protocol: str, count_by_reason: Mapping[str, int], words: Mapping[str, str], sender: str
    ) -> None:
        """words: reason → the limit, its value and its setting, where the store says so; sender: of the batch."""
        self.refused_count(protocol, count_by_reason)
        for reason, count in count_by_reason.items():
            message = f"the store refused {count:,} sample{'' if count == 1 else 's'}: {words.get(reason, reason)}"
            recent = RecentRefusal(protocol, reason, message, line="", sender=sender, at_ms=self._clock.now_ms())
            with self._lock:
                self._recent.append(recent)
            if self._may_log(protocol, reason):
                self._log.warning("%s: of a batch from %s %s", protocol, sender, message)

    def stats(self) -> dict[str, object]:
        with self._lock:
            return {
                "accepted": dict(self._accepted_count),
                "refused": {protocol: dict(counts) for protocol, counts in self._refused_count.items()},
                "recent_refusals": [asdict(recent) for recent in reversed(self._recent)],
            }

    def _may_log(self, protocol: str, reason: str) -> bool:
        now_s = self._clock.monotonic_s()
        with self._lock:
            if now_s - self._logged_s.get((protocol, reason), -LOG_EVERY_S) < LOG_EVERY_S:
                return False
            if len(self._logged_s) >= _REASONS_COUNT_MAX:
                self._logged_s.clear()
            self._logged_s[protocol, reason] = now_s
            return True


def _shown(text: bytes) -> str:
    """Bytes of a refused line or body for people: a body of Arrow or protobuf would be a page of escapes."""
    cut = text[:EXAMPLE_BYTES_MAX]
    unprintable_count = sum(byte < 0x20 and byte not in b"\t\r\n" for byte in cut)
    if unprintable_count <= len(cut) // 8:
        return repr(cut)[1:]
    return f"binary, begins with {cut[:_BINARY_BYTES_SHOWN].hex(' ')}"
