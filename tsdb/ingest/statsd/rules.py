"""What a statsd's config.js decides: which rows a window becomes, and what of it stays for the next."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PERCENT = re.compile(r"_(?:top)?[0-9]+$")


@dataclass(frozen=True, slots=True)
class Histogram:
    """The bins of the timers whose name contains metric. Values from the last bin on are in none of them."""

    metric: str
    bins: tuple[float, ...]  # Upper bounds, exclusive; infinity for the rest.


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Defaults are statsd's own."""

    flush_interval_ms: int = 10_000
    percentiles: tuple[float, ...] = (90.0,)  # Below 0: of the largest values.
    legacy_namespace: bool = True
    global_prefix: str = "stats"
    global_suffix: str = ""
    prefix_counter: str = "counters"
    prefix_timer: str = "timers"
    prefix_gauge: str = "gauges"
    prefix_set: str = "sets"
    prefix_stats: str = "statsd"
    delete_counters: bool = False
    delete_timers: bool = False
    delete_gauges: bool = False
    delete_sets: bool = False
    gauges_ttl_max: int = 1  # Flushes that a gauge outlives without a new value, where gauges are deleted.
    histograms: tuple[Histogram, ...] = ()  # The first whose metric is in the name counts.
    timer_metrics: tuple[str, ...] = ()  # Names without their percentile (`upper_percent`); none: all.
    dogstatsd: bool = False

    def prefix_of(self, kind: str) -> str:
        """What stands before the name of a "counter", "timer", "gauge" or "set", its dot included."""
        if self.legacy_namespace:
            return {"counter": "stats.", "timer": "stats.timers.", "gauge": "stats.gauges.", "set": "stats.sets."}[kind]
        own = {
            "counter": self.prefix_counter,
            "timer": self.prefix_timer,
            "gauge": self.prefix_gauge,
            "set": self.prefix_set,
        }[kind]
        return "".join(f"{part}." for part in (self.global_prefix, own) if part)

    @property
    def suffix(self) -> str:
        return f".{self.global_suffix}" if self.global_suffix else ""

    def wants(self, timer_metric: str) -> bool:
        """Is a figure such as `upper_90` or `median` to be derived?"""
        return not self.timer_metrics or _PERCENT.sub("_percent", timer_metric) in self.timer_metrics

    def bins_of(self, name: str) -> tuple[float, ...]:
        return next((one.bins for one in self.histograms if one.metric in name), ())


def number_text(number: float) -> str:
    """A number as it stands in the name of a figure: `90`, `99_9`, `top10`."""
    text = "inf" if number == float("inf") else str(int(number)) if number == int(number) else repr(number)
    return text.replace(".", "_", 1).replace("-", "top", 1)
