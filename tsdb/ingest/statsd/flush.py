"""From a window to rows: the names and values that statsd would send to Graphite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tsdb.ingest.statsd.exact import COUNTER, GAUGE, SET, TIMER
from tsdb.ingest.statsd.rules import Rules
from tsdb.ingest.statsd.timers import binned, derived, groups
from tsdb.ingest.statsd.window import Window
from tsdb.sample import Float64s, Int64s


@dataclass(frozen=True, slots=True)
class Rows:
    """names: Graphite paths; some values may be NaN, which is no value."""

    names: pl.Series
    values: Float64s


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFlush:
    """What statsd tells of its own flushes. Times are whole seconds since 1970."""

    last_exception_s: int = 0
    last_flush_s: int = 0
    processing_time_ms: float = 0
    flush_time_ms: float = 0
    flush_length: int = 0  # Bytes that the last flush handed on.


def flush(window: Window, last: LastFlush) -> Rows:
    """The rows of this window. Changes nothing; Window.reset() begins the next one."""
    rules = window.rules
    out = _Out(window)
    counters = _places(window, COUNTER)
    values = window.counter[counters]
    prefix = rules.prefix_of("counter")
    rate, count = ("", "") if rules.legacy_namespace else (".rate", ".count")
    with np.errstate(invalid="ignore", over="ignore"):
        out.add(prefix, counters, rate, values / (rules.flush_interval_ms / 1000))
    out.add("stats_counts." if rules.legacy_namespace else prefix, counters, count, values)
    _timers(window, out)
    gauges = _places(window, GAUGE)
    out.add(rules.prefix_of("gauge"), gauges, "", window.gauge[gauges])
    sets = _places(window, SET)
    if sets.size:
        out.add(rules.prefix_of("set"), sets, ".count", window.members_count()[sets])
    _own(window, out, last)
    return out.rows()


def _places(window: Window, kind: int) -> Int64s:
    return np.flatnonzero(window.is_kind[kind])


def _timers(window: Window, out: _Out) -> None:
    rules = window.rules
    prefix = rules.prefix_of("timer")
    all_ids, all_values = window.timer_values()
    for ids, rows in groups(all_ids, all_values):
        for figure, values in derived(rows, window.timer_count[ids], rules):
            if rules.wants(figure):
                out.add(prefix, ids, f".{figure}", values)
        if rules.histograms and rules.wants("histogram"):
            _histograms(window, out, ids, rows)
    is_idle = window.is_kind[TIMER].copy()
    is_idle[all_ids] = False
    idle = np.flatnonzero(is_idle)
    for figure in ("count_ps", "count"):
        if rules.wants(figure):
            out.add(prefix, idle, f".{figure}", np.zeros(idle.size))


def _histograms(window: Window, out: _Out, ids: Int64s, rows: Float64s) -> None:
    bins_of = [window.rules.bins_of(window.names[place]) for place in ids.tolist()]
    for bins in dict.fromkeys(bins_of):
        here = np.array([found == bins for found in bins_of])
        for name, values in binned(rows[here], bins):
            out.add(window.rules.prefix_of("timer"), ids[here], f".histogram.{name}", values)


def _own(window: Window, out: _Out, last: LastFlush) -> None:
    """What statsd tells of itself beside its counters. A stat is a metric of one kind under one name."""
    rules = window.rules
    own = rules.prefix_stats
    legacy = rules.legacy_namespace
    prefix = own if legacy or not rules.global_prefix else f"{rules.global_prefix}.{own}"
    out.add_own(f"{prefix}.numStats", float(np.count_nonzero(window.is_kind)))
    prefix = f"stats.{own}" if legacy else prefix
    out.add_own(f"{prefix}.processing_time", last.processing_time_ms)
    out.add_own(f"{prefix}.graphiteStats.calculationtime", last.processing_time_ms)
    out.add_own(f"{prefix}.graphiteStats.last_exception", last.last_exception_s)
    out.add_own(f"{prefix}.graphiteStats.last_flush", last.last_flush_s)
    out.add_own(f"{prefix}.graphiteStats.flush_time", last.flush_time_ms)
    out.add_own(f"{prefix}.graphiteStats.flush_length", last.flush_length)


class _Out:
    """Gathers rows a column at a time; tags move behind what is appended to their name."""

    def __init__(self, window: Window) -> None:
        self._rules: Rules = window.rules
        names = pl.Series("name", window.names, pl.String)
        self._has_tags = bool(names.str.contains(";", literal=True).any())
        self._names = names
        if self._has_tags:
            self._names = names.str.extract(r"(?s)^([^;]*)", 1)
            self._tags = names.str.extract(r"(?s)(;.*)$", 1).fill_null("")
        self._parts: list[pl.Series] = []
        self._values: list[Float64s] = []

    def add(self, prefix: str, ids: Int64s, suffix: str, values: Float64s) -> None:
        if not ids.size:
            return
        places = pl.Series(ids)
        parts = [pl.lit(prefix), self._names.gather(places), pl.lit(suffix + self._rules.suffix)]
        if self._has_tags:
            parts.append(self._tags.gather(places))
        self._parts.append(pl.select(pl.concat_str(parts).alias("name")).to_series())
        self._values.append(values)

    def add_own(self, name: str, value: float) -> None:
        self._parts.append(pl.Series("name", [name + self._rules.suffix], pl.String))
        self._values.append(np.array([value], np.float64))

    def rows(self) -> Rows:
        return Rows(pl.concat(self._parts, rechunk=True), np.concatenate(self._values))
