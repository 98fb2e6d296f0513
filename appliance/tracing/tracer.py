"""The traces of one process, and the places on the way of things that tell them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

from appliance.clock import Clock, SystemClock
from appliance.tracing.trace import Event, Trace

TRACES_COUNT_MAX = 8  # In one process: each costs its matching at every place of its kind.
FOR_S_MAX = 600.0
SWEEP_S = 1.0  # How soon what a client left behind is free again, after it counts as gone.
SUBJECT_CHARACTERS_MAX = 1_000

Matching = Callable[[str], Any]
"""From the subject, as a person wrote it, to what the places of a kind match by. Raises: TraceRefused."""


class TraceRefused(Exception):
    """A trace that cannot begin, or is no more."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Tap:
    """The traces of one kind of thing; the places on its way hold one.

    is_on is the only thing that they look at while nobody traces.
    """

    def __init__(self, kind: str, clock: Clock, lock: threading.Lock) -> None:
        self.kind = kind
        self.is_on = False
        self.traces: tuple[Trace[Any], ...] = ()  # Replaced as a whole, so that places may read it without the lock.
        self.matching: Matching = _nothing_matches
        self._clock = clock
        self._lock = lock

    @classmethod
    def off(cls, kind: str) -> Tap:
        """One that no tracer has: for whoever is not part of a process of the appliance."""
        return cls(kind, SystemClock(), threading.Lock())

    def tell(self, what: str, matches: Callable[[Any], bool], **fields: Any) -> None:
        """Tell the traces whose matcher matches says yes to. To be asked only while is_on, for it makes an event."""
        event: Event | None = None
        for trace in self.traces:
            if matches(trace.matcher):
                event = event or self.event(what, **fields)
                self.put(trace, event)

    def event(self, what: str, **fields: Any) -> Event:
        return {"at_ms": self._clock.now_ms(), "what": what, **fields}

    def put(self, trace: Trace[Any], *events: Event, skipped_count: int = 0) -> None:
        now_s = self._clock.monotonic_s()
        with self._lock:
            trace.skip(skipped_count)
            for event in events:
                trace.put(event, now_s)

    def room(self, trace: Trace[Any]) -> int:
        with self._lock:
            return max(0, trace.room(self._clock.monotonic_s()))

    def keep(self, traces: tuple[Trace[Any], ...]) -> None:
        """The caller holds the lock."""
        self.traces = traces
        self.is_on = bool(traces)


class Tracer:
    """Thread-safe. A trace whose client is gone is ended by the next question to the tracer, or the next sweep."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._taps: dict[str, Tap] = {}
        self._sweeping: threading.Timer | None = None

    def tap(self, kind: str) -> Tap:
        """The one tap of a kind in this process."""
        with self._lock:
            return self._taps.setdefault(kind, Tap(kind, self._clock, self._lock))

    def begin(self, kind: str, subject: str, for_s: float) -> str:
        """The id of a new trace. Raises: TraceRefused."""
        tap = self._taps.get(kind)
        if tap is None:
            raise TraceRefused("bad_request", f"this process traces no {kind!r:.40}; it knows {', '.join(self._taps)}")
        if not 0 < for_s <= FOR_S_MAX:
            raise TraceRefused("bad_request", f"a trace lasts at most {FOR_S_MAX:g} s, not {for_s:g}")
        if len(subject) > SUBJECT_CHARACTERS_MAX:
            raise TraceRefused(
                "bad_request", f"{len(subject):,} characters to trace by, of at most {SUBJECT_CHARACTERS_MAX:,}"
            )
        matcher = tap.matching(subject)
        self.sweep()
        with self._lock:
            if sum(len(each.traces) for each in self._taps.values()) >= TRACES_COUNT_MAX:
                raise TraceRefused(
                    "busy", f"{TRACES_COUNT_MAX} traces run in this process, the most that may; end one of them"
                )
            now_s = self._clock.monotonic_s()
            trace = Trace(secrets.token_hex(8), kind, subject, matcher, now_s=now_s, for_s=for_s)
            tap.keep((*tap.traces, trace))
        self._sweep_later()
        return trace.id

    def take(self, id_: str) -> tuple[list[Event], int, bool]:
        """What waits, how many events were left out, and whether the trace has ended. Raises: TraceRefused."""
        with self._lock:
            trace = next((one for tap in self._taps.values() for one in tap.traces if one.id == id_), None)
            if trace is None:
                raise TraceRefused("not_found", "this trace has ended")
            now_s = self._clock.monotonic_s()
            events, not_shown_count = trace.take(now_s)
        self.sweep()
        return events, not_shown_count, now_s >= trace.until_s

    def end(self, id_: str) -> None:
        """One that has ended already is no fault."""
        self._keep(lambda trace: trace.id != id_)

    def sweep(self) -> None:
        """End what is over."""
        now_s = self._clock.monotonic_s()
        self._keep(lambda trace: not trace.is_over(now_s))

    def _keep(self, stays: Callable[[Trace[Any]], bool]) -> None:
        with self._lock:
            for tap in self._taps.values():
                tap.keep(tuple(trace for trace in tap.traces if stays(trace)))

    def _sweep_later(self) -> None:
        """Look again as long as there is a trace: a client that was killed ends none."""
        with self._lock:
            is_needed = any(tap.traces for tap in self._taps.values())
            if is_needed and (self._sweeping is None or self._sweeping.finished.is_set()):
                self._sweeping = threading.Timer(SWEEP_S, self._swept)
                self._sweeping.daemon = True
                self._sweeping.start()

    def _swept(self) -> None:
        self.sweep()
        with self._lock:
            self._sweeping = None
        self._sweep_later()


def _nothing_matches(subject: str) -> Any:
    raise TraceRefused("not_ready", f"nothing can be traced yet, so {subject!r:.80} neither; try again in a moment")
