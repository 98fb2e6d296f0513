"""The settings of StatsD: what a statsd's config.js decides, a row each, and how they are read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from appliance.units import duration_ms, duration_text

if TYPE_CHECKING:
    from appliance.settings import Address

FLUSH_INTERVAL_MS_MIN, FLUSH_INTERVAL_MS_MAX = 100, 3_600_000
PERCENTILES_COUNT_MAX = 20  # Each is five series for each timer.
HISTOGRAMS_COUNT_MAX, BINS_COUNT_MAX = 100, 100
GAUGES_TTL_MAX = 1_000_000
_WORD = re.compile(r"[a-zA-Z0-9_.\-]*", re.ASCII)

Bins = tuple[str, tuple[float, ...]]
"""A part of a name, and the upper bounds of the bins of the timers that have it in theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsdConfig:
    listen: Address | None  # TCP and UDP; None: off.
    management_listen: Address | None
    flush_interval_ms: int
    percentiles: tuple[float, ...]
    legacy_namespace: bool
    global_prefix: str
    global_suffix: str
    prefix_counter: str
    prefix_timer: str
    prefix_gauge: str
    prefix_set: str
    prefix_stats: str
    delete_idle: bool
    delete_counters: bool | None  # None: as delete_idle says; so the next three.
    delete_timers: bool | None
    delete_gauges: bool | None
    delete_sets: bool | None
    gauges_ttl_max: int
    histograms: tuple[Bins, ...]
    timer_metrics: tuple[str, ...]
    dogstatsd: bool


def parse_flush_interval_ms(text: str) -> int:
    """Raises: ValueError."""
    found_ms = duration_ms(text)
    if found_ms is None or not FLUSH_INTERVAL_MS_MIN <= found_ms <= FLUSH_INTERVAL_MS_MAX:
        bounds = f"{duration_text(FLUSH_INTERVAL_MS_MIN)} … {duration_text(FLUSH_INTERVAL_MS_MAX)}"
        raise ValueError(f"{text!r} is not in {bounds}")
    return found_ms


def parse_yes_or_no(text: str) -> bool:
    """Raises: ValueError."""
    word = text.strip().lower()
    if word not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return word == "true"


def parse_yes_no_or_auto(text: str) -> bool | None:
    """Raises: ValueError."""
    return None if text.strip().lower() == "auto" else parse_yes_or_no(text)


def parse_percentiles(text: str) -> tuple[float, ...]:
    """Numbers with commas between them. Raises: ValueError."""
    found = [_number(one, "percentile") for one in _parts(text, ",")]
    for one in found:
        if not -100 <= one <= 100:
            raise ValueError(f"{text!r}: {one:g} is not in -100 … 100")
    if len(found) > PERCENTILES_COUNT_MAX:
        raise ValueError(f"{text!r} has {len(found)} percentiles of at most {PERCENTILES_COUNT_MAX}")
    return tuple(found)


def parse_word(text: str, *, may_be_empty: bool = True) -> str:
    """A part of a Graphite path. Raises: ValueError."""
    word = text.strip()
    if not _WORD.fullmatch(word) or not (word or may_be_empty):
        raise ValueError(f"{text!r} is not a part of a path; write letters, digits, dots, _ and -")
    return word


def parse_histograms(text: str) -> tuple[Bins, ...]:
    """`part of a name = bound, bound, inf; …`. Raises: ValueError."""
    found = []
    for one in _parts(text, ";"):
        metric, equals, bounds = one.partition("=")
        if not equals:
            raise ValueError(f"{one!r} is not NAME=BOUND,BOUND; write for example web=10,100,inf")
        bins = tuple(math.inf if each == "inf" else _number(each, "bound") for each in _parts(bounds, ","))
        if len(bins) > BINS_COUNT_MAX:
            raise ValueError(f"{metric!r} has {len(bins)} bins of at most {BINS_COUNT_MAX}")
        found.append((metric.strip(), bins))
    if len(found) > HISTOGRAMS_COUNT_MAX:
        raise ValueError(f"there are {len(found)} histograms of at most {HISTOGRAMS_COUNT_MAX}")
    return tuple(found)


def parse_timer_metrics(text: str) -> tuple[str, ...]:
    """Raises: ValueError."""
    return tuple(parse_word(one, may_be_empty=False) for one in _parts(text, ","))


def parse_ttl(text: str) -> int:
    """Raises: ValueError."""
    if not re.fullmatch(r"[0-9]{1,7}", text.strip(), re.ASCII) or not 1 <= int(text) <= GAUGES_TTL_MAX:
        raise ValueError(f"{text!r} is not a whole number in 1 … {GAUGES_TTL_MAX:,}")
    return int(text)


def _parts(text: str, separator: str) -> list[str]:
    return [one.strip() for one in text.split(separator) if one.strip()]


def _number(text: str, what: str) -> float:
    if not re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", text, re.ASCII):
        raise ValueError(f"{text!r} is not a {what}; write a number such as 99.9")
    return float(text)


_YES_OR_NO = "true or false"
_YES_NO_OR_AUTO = "true, false or auto"
_PATH_PART = "letters, digits, dots, _ and -; may be empty"
Row = tuple[str, str, str, str, Callable[[str], Any], str]
ROWS: tuple[Row, ...] = (
    (
        "statsd.flush_interval",
        "10s",
        f"duration of {duration_text(FLUSH_INTERVAL_MS_MIN)} … {duration_text(FLUSH_INTERVAL_MS_MAX)}",
        "How long metrics are gathered before they are stored; flushes fall on multiples of it.",
        parse_flush_interval_ms,
        "flush_interval_ms",
    ),
    (
        "statsd.percentiles",
        "90",
        "numbers of -100 … 100 with commas",
        "Which percentiles of timers are derived (percentThreshold); a negative one is of the largest values.",
        parse_percentiles,
        "",
    ),
    (
        "statsd.legacy_namespace",
        "true",
        _YES_OR_NO,
        "Whether counters are named stats.NAME and stats_counts.NAME; the prefixes below count where this is false.",
        parse_yes_or_no,
        "",
    ),
    ("statsd.global_prefix", "stats", _PATH_PART, "What all names begin with.", parse_word, ""),
    ("statsd.global_suffix", "", _PATH_PART, "What all names end with, in both namespaces.", parse_word, ""),
    ("statsd.prefix_counter", "counters", _PATH_PART, "What stands before the names of counters.", parse_word, ""),
    ("statsd.prefix_timer", "timers", _PATH_PART, "What stands before the names of timers.", parse_word, ""),
    ("statsd.prefix_gauge", "gauges", _PATH_PART, "What stands before the names of gauges.", parse_word, ""),
    ("statsd.prefix_set", "sets", _PATH_PART, "What stands before the names of sets.", parse_word, ""),
    (
        "statsd.prefix_stats",
        "statsd",
        "letters, digits, dots, _ and -",
        "Under which name StatsD tells of itself.",
        partial(parse_word, may_be_empty=False),
        "",
    ),
    (
        "statsd.delete_idle",
        "false",
        _YES_OR_NO,
        "Whether what got no value since the last flush is forgotten, in place of a 0 or the gauge's last value.",
        parse_yes_or_no,
        "",
    ),
    *(
        (
            f"statsd.delete_{kind}",
            "auto",
            _YES_NO_OR_AUTO,
            f"The same for {kind} alone; auto is as delete_idle says.",
            parse_yes_no_or_auto,
            "",
        )
        for kind in ("counters", "timers", "gauges", "sets")
    ),
    (
        "statsd.gauges_ttl_max",
        "1",
        f"count of 1 … {GAUGES_TTL_MAX:,}",
        "After how many flushes without a value a gauge is forgotten, where gauges are deleted (gaugesMaxTTL).",
        parse_ttl,
        "",
    ),
    (
        "statsd.histograms",
        "",
        "NAME=BOUND,BOUND,inf; …",
        "Bins for the timers whose name contains NAME; the first that fits counts.",
        parse_histograms,
        "",
    ),
    (
        "statsd.timer_metrics",
        "",
        "names with commas; empty for all",
        "Which figures of timers are stored (calculatedTimerMetrics), such as count, median, upper_percent, histogram.",
        parse_timer_metrics,
        "",
    ),
    (
        "statsd.dogstatsd",
        "false",
        _YES_OR_NO,
        "Whether lines are read as DogStatsD: types h and d, several values a line, more fields behind the tags.",
        parse_yes_or_no,
        "",
    ),
)
