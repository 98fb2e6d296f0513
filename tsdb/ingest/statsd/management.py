"""The commands of statsd's management interface: one command → its answer, word for word. No I/O.

Source: statsd 0.10.2 (lib/mgmt_console.js, lib/mgmt_server.js) and Node's util.inspect, which lays out what counters,
timers and gauges hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from tsdb.ingest.statsd.exact import COUNTER, GAUGE, TIMER
from tsdb.ingest.statsd.flush import LastFlush
from tsdb.ingest.statsd.rules import Rules
from tsdb.ingest.statsd.window import Window

HELP = "Commands: stats, counters, timers, gauges, delcounters, deltimers, delgauges, health, config, quit\n\n"
END = "END\n\n"
ERROR = "ERROR\n"
# Of one answer: a megabyte or two. Deleting has no such bound, its answer has: who deletes a folder sees so many names.
NAMES_SHOWN_MAX = 20_000
_VALUES_SHOWN_MAX = 100  # Of one timer, as util.inspect shows of a list.
_LINE_CHARS_MAX = 80
_PLAIN_KEY = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*")
_SHOWN = {"counters": COUNTER, "timers": TIMER, "gauges": GAUGE}
_DELETED = {f"del{word}": kind for word, kind in _SHOWN.items()}


@dataclass(frozen=True, slots=True)
class Told:
    """What the door tells of itself. Times are whole seconds since 1970."""

    now_s: int
    started_s: int
    last_message_s: int
    bad_lines_count: int
    last: LastFlush


class Management:
    """Thread-safe: window is only looked at while lock is held."""

    def __init__(
        self, rules: Rules, window: Window, lock: AbstractContextManager[object], told: Callable[[], Told]
    ) -> None:
        self._rules = rules
        self._window = window
        self._lock = lock
        self._told = told
        self._health = "up"

    def answer(self, command: str) -> str | None:
        """None: the connection is to be closed."""
        word, *words = command.strip().split(" ")
        match word:
            case "quit":
                return None
            case "help":
                return HELP
            case "health":
                if words and words[0].lower() in ("up", "down"):
                    self._health = words[0].lower()
                return f"health: {self._health}\n"
            case "stats":
                return "".join(f"{name}: {value}\n" for name, value in self._stats()) + END
            case "config":
                return "\n" + "".join(f"{name}: {_config_text(value)}\n" for name, value in config_of(self._rules))
        if word in _SHOWN:
            return f"{_inspected(self._entries(_SHOWN[word]))}\n{END}"
        if word in _DELETED:
            return "".join(f"{line}\n" for line in self._delete(_DELETED[word], words)) + END
        return ERROR

    def _stats(self) -> Iterator[tuple[str, str]]:
        told = self._told()
        yield "uptime", str(told.now_s - told.started_s)
        yield "messages.last_msg_seen", str(told.now_s - told.last_message_s)
        yield "messages.bad_lines_seen", str(told.bad_lines_count)
        yield "graphite.last_flush", str(told.now_s - told.last.last_flush_s)
        yield "graphite.last_exception", str(told.now_s - told.last.last_exception_s)
        yield "graphite.flush_time", js_number(round(told.last.flush_time_ms))
        yield "graphite.flush_length", js_number(told.last.flush_length)

    def _entries(self, kind: int) -> list[str]:
        window = self._window
        with self._lock:
            ids = np.flatnonzero(window.is_kind[kind])
            left_count = max(0, ids.size - NAMES_SHOWN_MAX)
            ids = ids[:NAMES_SHOWN_MAX]
            names = [window.names[place] for place in ids.tolist()]
            if kind == TIMER:
                texts = _timer_texts(window, ids)
            else:
                texts = [js_number(value) for value in (window.counter if kind == COUNTER else window.gauge)[ids]]
        entries = [f"{_key(name)}: {text}" for name, text in zip(names, texts, strict=True)]
        return entries + ([f"... {left_count} more names"] if left_count else [])

    def _delete(self, kind: int, wanted: Sequence[str]) -> Iterator[str]:
        """A name, or a folder of names with `.*` behind it."""
        for one in wanted:
            with self._lock:
                names = self._window.delete(kind, one)
            if not names:
                yield f"metric {one} not found"
            yield from (f"deleted: {name}" for name in names[:NAMES_SHOWN_MAX])
            if len(names) > NAMES_SHOWN_MAX:
                yield f"deleted: {len(names) - NAMES_SHOWN_MAX} more"


def config_of(rules: Rules) -> Iterator[tuple[str, object]]:
    """What is in force, under the names of config.js."""
    yield "flushInterval", rules.flush_interval_ms
    yield from ((f"percentThreshold > {at}", one) for at, one in enumerate(rules.percentiles))
    yield "prefixStats", rules.prefix_stats
    yield "deleteCounters", rules.delete_counters
    yield "deleteTimers", rules.delete_timers
    yield "deleteGauges", rules.delete_gauges
    yield "deleteSets", rules.delete_sets
    yield "gaugesMaxTTL", rules.gauges_ttl_max
    yield from ((f"calculatedTimerMetrics > {at}", one) for at, one in enumerate(rules.timer_metrics))
    yield "graphite > legacyNamespace", rules.legacy_namespace
    yield "graphite > globalPrefix", rules.global_prefix
    yield "graphite > prefixCounter", rules.prefix_counter
    yield "graphite > prefixTimer", rules.prefix_timer
    yield "graphite > prefixGauge", rules.prefix_gauge
    yield "graphite > prefixSet", rules.prefix_set
    yield "graphite > globalSuffix", rules.global_suffix


def js_number(value: float) -> str:
    """As JavaScript writes it: 5, 0.1, 1e+21, 1e-7."""
    value = float(value)
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0" if np.signbit(value) else "0"
    if 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(repr(value)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return re.sub(r"e([+-])0", r"e\1", repr(value))


def _config_text(value: object) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else js_number(value) if isinstance(value, float) else str(value)
    )


def _timer_texts(window: Window, ids: np.ndarray[tuple[int], np.dtype[np.intp]]) -> list[str]:
    timer_ids, values = window.timer_values()
    order = np.argsort(timer_ids, kind="stable")
    starts = np.searchsorted(timer_ids[order], ids)
    ends = np.searchsorted(timer_ids[order], ids, side="right")
    texts = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        shown = [js_number(value) for value in values[order[start : min(end, start + _VALUES_SHOWN_MAX)]]]
        if end - start > _VALUES_SHOWN_MAX:
            shown.append(f"... {end - start - _VALUES_SHOWN_MAX} more items")
        texts.append(f"[ {', '.join(shown)} ]" if shown else "[]")
    return texts


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else f"'{name}'"


def _inspected(entries: Sequence[str]) -> str:
    """On one line, if it is short; else a line each."""
    if not entries:
        return "{}"
    # As util.inspect counts: the braces and ten more to spare, and for each entry what stands between it and the next.
    if sum(map(len, entries)) + 2 * len(entries) + 11 <= _LINE_CHARS_MAX:
        return f"{{ {', '.join(entries)} }}"
    return "{\n  " + ",\n  ".join(entries) + "\n}"
