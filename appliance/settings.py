"""The table of settings, and the typed sections that the rooms are given.

The table is the one place that knows names, defaults and limits: the loader reads it, the documentation is checked
against it, and an unknown key is compared with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from appliance.backups import ROWS as BACKUP_ROWS
from appliance.backups import BackupConfig as BackupConfig  # Config re-exports every section from here.
from appliance.graphite import AggregationRule, parse_aggregations
from appliance.retention import Retention, SchemaRule, parse_retention, parse_schemas
from appliance.statsd import ROWS as STATSD_ROWS
from appliance.statsd import StatsdConfig as StatsdConfig
from appliance.units import DURATION_MS_MAX, duration_ms, duration_text, size_bytes, size_text

SERIES_COUNT_MAX = 2**31 - 1  # Local series ids are int32.
QUERY_SAMPLES_COUNT_MAX = 1_000_000_000  # × 45 B = 45 GB; beyond what these machines have.
QUERY_STEPS_COUNT_MAX = 1_000_000
QUERY_CONCURRENT_COUNT_MAX = 64
QUERY_QUEUE_COUNT_MAX = 1_000  # Each has a thread of its own that waits.
QUERY_TIMEOUT_MS_MIN, QUERY_TIMEOUT_MS_MAX = 100, 600_000
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 asks the system for a free one."""

    host: str  # A name or a literal; IPv6 without brackets.
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Fsync:
    """When the write-ahead log is forced to the disk.

    Invariant: interval_ms >= 1 with mode "interval", else 0.
    """

    mode: Literal["always", "interval", "never"]
    interval_ms: int = 0

    def __post_init__(self) -> None:
        assert (self.interval_ms >= 1) == (self.mode == "interval"), self

    def __str__(self) -> str:
        return duration_text(self.interval_ms) if self.mode == "interval" else self.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    listen: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphiteConfig:
    listen: Address | None  # TCP and UDP; None: off.
    pickle_listen: Address | None
    rules_dir: str  # Relative to the data folder.
    aggregation: tuple[AggregationRule, ...]  # The first that fits a series counts.


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    fsync: Fsync
    head_bytes_max: int
    retention: Retention
    schemas: tuple[SchemaRule, ...]  # The first that fits a series has it; what fits none has `retention`.
    disk_bytes_max: int | None  # None: 80 % of the space that is free at the first start, which the store records.
    out_of_order_window_ms: int
    future_max_ms: int
    series_count_max: int
    series_per_team_max: int | None  # None: no limit; so the next.
    new_series_per_minute_max: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryConfig:
    series_count_max: int
    samples_count_max: int
    steps_count_max: int
    bytes_max: int
    timeout_ms: int
    concurrent_count_max: int
    queue_count_max: int
    cache_bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    level: str  # One of LOG_LEVELS.


def parse_address(text: str) -> Address:
    """Read `host:port`, `[::1]:port`. Raises: ValueError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:\[\]/]+)):([0-9]{1,5})", text.strip(), re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not an address; write host:port such as 127.0.0.1:8420 or [::1]:8420")
    port = int(match[3])
    if port > 65535:
        raise ValueError(f"{text!r} names port {port}; ports go from 0 (pick a free one) to 65535")
    return Address(match[1] or match[2], port)


def parse_optional_address(text: str) -> Address | None:
    """The empty string switches the listener off. Raises: ValueError."""
    return parse_address(text) if text.strip() else None


def parse_duration_ms(text: str, *, min_ms: int) -> int:
    """A duration in bounds; forever is the longest one that arithmetic bears. Raises: ValueError."""
    found_ms = duration_ms(text)
    if found_ms is None:
        return DURATION_MS_MAX
    if found_ms < min_ms:
        raise ValueError(f"{text!r} is less than {duration_text(min_ms)}")
    return found_ms


def parse_query_timeout_ms(text: str) -> int:
    """Raises: ValueError."""
    found_ms = parse_duration_ms(text, min_ms=QUERY_TIMEOUT_MS_MIN)
    if found_ms > QUERY_TIMEOUT_MS_MAX:
        raise ValueError(f"{text!r} is longer than {duration_text(QUERY_TIMEOUT_MS_MAX)}")
    return found_ms


def parse_size_bytes(text: str, *, min_bytes: int) -> int:
    found_bytes = size_bytes(text)
    if found_bytes < min_bytes:
        raise ValueError(f"{text!r} is less than the {size_text(min_bytes)} it needs at least")
    return found_bytes


def parse_optional_size_bytes(text: str, *, min_bytes: int) -> int | None:
    return None if text.strip() == "auto" else parse_size_bytes(text, min_bytes=min_bytes)


def parse_count(text: str, *, count_min: int, count_max: int) -> int:
    digits = text.strip().replace("_", "")
    if not re.fullmatch(r"[0-9]{1,18}", digits, re.ASCII):
        raise ValueError(f"{text!r} is not a count; write a whole number such as {count_max:_}")
    if not count_min <= int(digits) <= count_max:
        raise ValueError(f"{text!r} is not in {count_min:,} … {count_max:,}")
    return int(digits)


def parse_optional_count(text: str, *, count_max: int) -> int | None:
    """A count from 1 on; None for the word off. Raises: ValueError."""
    return None if text.strip().lower() == "off" else parse_count(text, count_min=1, count_max=count_max)


def parse_level(text: str) -> str:
    level = text.strip().lower()
    if level not in LOG_LEVELS:
        raise ValueError(f"{text!r} is not a log level; write one of {', '.join(LOG_LEVELS)}")
    return level


def parse_fsync(text: str) -> Fsync:
    """Read `always`, `never` or an interval. Raises: ValueError."""
    text = text.strip()
    if text == "always":
        return Fsync("always")
    if text == "never":
        return Fsync("never")
    try:
        interval_ms = duration_ms(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is neither always, never nor an interval such as 200ms") from error
    if interval_ms is None or not 1 <= interval_ms <= 60_000:
        raise ValueError(
            f"{text!r} is not in 1ms … 1m; write always for no loss at all, never to leave it to the kernel"
        )
    return Fsync("interval", interval_ms)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    key: str  # section.name, as in the file, the environment (HENGE_SECTION__NAME) and --set.
    default: str
    kind: str  # What to write, for people.
    sentence: str
    parse: Callable[[str], Any]
    field: str = ""  # The attribute of the section, where it is not the name: it carries the unit.

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        return self.key.partition(".")[2]

    @property
    def environment_name(self) -> str:
        return f"HENGE_{self.section.upper()}__{self.name.upper()}"


_ADDRESS = "host:port"
_ADDRESS_OR_OFF = "host:port, or empty for off"
SETTINGS: tuple[Setting, ...] = (
    Setting("web.listen", "127.0.0.1:8420", _ADDRESS, "Where pages and HTTP interfaces are served.", parse_address),
    Setting(
        "graphite.listen",
        "127.0.0.1:2003",
        _ADDRESS_OR_OFF,
        "Where Graphite's text protocol is taken, over TCP and UDP.",
        parse_optional_address,
    ),
    Setting(
        "graphite.pickle_listen",
        "127.0.0.1:2004",
        _ADDRESS_OR_OFF,
        "Where Graphite's pickle protocol is taken, over TCP.",
        parse_optional_address,
    ),
    Setting(
        "graphite.rules_dir",
        "carbon",
        "folder, or empty for off; a relative one lies in the data folder",
        "Where carbon's rule files are: aggregation-rules.conf, rewrite-rules.conf, blacklist.conf, whitelist.conf.",
        str.strip,
    ),
    Setting(
        "graphite.aggregation",
        "[]",
        "tables [[graphite.aggregation]] in the file",
        "How fine points become coarse ones in the render API; the first that fits a series counts, see below.",
        parse_aggregations,
    ),
    Setting(
        "statsd.listen",
        "127.0.0.1:8125",
        _ADDRESS_OR_OFF,
        "Where StatsD metrics are taken, over UDP and TCP.",
        parse_optional_address,
    ),
    Setting(
        "statsd.management_listen",
        "",
        _ADDRESS_OR_OFF,
        "Where statsd's management commands are answered, such as 127.0.0.1:8126; whoever may connect may delete.",
        parse_optional_address,
    ),
    *(Setting(*row) for row in STATSD_ROWS),
    Setting(
        "store.fsync",
        "200ms",
        "always, an interval of 1ms … 1m, or never",
        "When samples reach the disk for good; a power cut costs at most this interval, a crash of a process nothing.",
        parse_fsync,
    ),
    Setting(
        "store.head_bytes_max",
        "512MiB",
        "size, at least 1MiB",
        "How much memory the newest samples may take before they are written as a block.",
        partial(parse_size_bytes, min_bytes=2**20),
    ),
    Setting(
        "store.retention",
        "raw:90d,1m:1y,10m:3y,1h:10y",
        "resolution:duration, …; or forever",
        "How long raw samples and their rollups are kept; forever also accepts any time since 1970.",
        parse_retention,
    ),
    Setting(
        "store.schemas",
        "[]",
        "tables [[store.schemas]] in the file",
        "Which series have another retention; the first that fits counts, see below.",
        parse_schemas,
    ),
    Setting(
        "store.disk_bytes_max",
        "auto",
        "size, at least 1MiB; or auto",
        "How much disk the samples may take; auto is 80 % of the space that is free at the first start.",
        partial(parse_optional_size_bytes, min_bytes=2**20),
    ),
    Setting(
        "store.out_of_order_window",
        "1h",
        "duration",
        "How long a window waits for late samples before its blocks are joined; later ones are taken as well.",
        partial(parse_duration_ms, min_ms=0),
        "out_of_order_window_ms",
    ),
    Setting(
        "store.future_max",
        "1h",
        "duration",
        "How far ahead of this machine's clock a sample may be.",
        partial(parse_duration_ms, min_ms=0),
        "future_max_ms",
    ),
    Setting(
        "store.series_count_max",
        "2000000",
        f"count of 1 … {SERIES_COUNT_MAX:,}",
        "How many series may be active: have samples of the last hours; those of further ones are refused.",
        partial(parse_count, count_min=1, count_max=SERIES_COUNT_MAX),
    ),
    Setting(
        "store.series_per_team_max",
        "off",
        f"count of 1 … {SERIES_COUNT_MAX:,}; or off",
        "How many series with one value of the label team may be active; series without that label are of no team.",
        partial(parse_optional_count, count_max=SERIES_COUNT_MAX),
    ),
    Setting(
        "store.new_series_per_minute_max",
        "off",
        f"count of 1 … {SERIES_COUNT_MAX:,}; or off",
        "How many series may be new in one minute; not counted in the first 5 minutes after a start.",
        partial(parse_optional_count, count_max=SERIES_COUNT_MAX),
    ),
    Setting(
        "query.series_count_max",
        "200000",
        f"count of 1 … {SERIES_COUNT_MAX:,}",
        "How many series one query may select.",
        partial(parse_count, count_min=1, count_max=SERIES_COUNT_MAX),
    ),
    Setting(
        "query.samples_count_max",
        "50000000",
        f"count of 1 … {QUERY_SAMPLES_COUNT_MAX:,}",
        "How many samples one query may read, and hold in any step of its evaluation; of a render, how many points at "
        "steps.",
        partial(parse_count, count_min=1, count_max=QUERY_SAMPLES_COUNT_MAX),
    ),
    Setting(
        "query.steps_count_max",
        "11000",
        f"count of 1 … {QUERY_STEPS_COUNT_MAX:,}",
        "How many steps the range of one query may have.",
        partial(parse_count, count_min=1, count_max=QUERY_STEPS_COUNT_MAX),
    ),
    Setting(
        "query.bytes_max",
        "1536MiB",
        "size, at least 1MiB",
        "How much memory one query may hold at once, and all together twice that; the process may have 1 GiB more.",
        partial(parse_size_bytes, min_bytes=2**20),
    ),
    Setting(
        "query.timeout",
        "2m",
        f"duration of {duration_text(QUERY_TIMEOUT_MS_MIN)} … {duration_text(QUERY_TIMEOUT_MS_MAX)}",
        "How long one query may take, its time in the queue included; whoever asks may want less.",
        parse_query_timeout_ms,
        "timeout_ms",
    ),
    Setting(
        "query.concurrent_count_max",
        "4",
        f"count of 1 … {QUERY_CONCURRENT_COUNT_MAX}",
        "How many queries run at once.",
        partial(parse_count, count_min=1, count_max=QUERY_CONCURRENT_COUNT_MAX),
    ),
    Setting(
        "query.queue_count_max",
        "100",
        f"count of 0 … {QUERY_QUEUE_COUNT_MAX:,}",
        "How many queries wait for their turn; further ones are refused at once.",
        partial(parse_count, count_min=0, count_max=QUERY_QUEUE_COUNT_MAX),
    ),
    Setting(
        "query.cache_bytes_max",
        "64MiB",
        "size; 0 = off",
        "How much memory kept answers of range queries may take, so that a refresh evaluates the newest steps alone.",
        partial(parse_size_bytes, min_bytes=0),
    ),
    *(Setting(*row) for row in BACKUP_ROWS),
    Setting(
        "log.level", "info", ", ".join(LOG_LEVELS), "What is written to the log: this and what is graver.", parse_level
    ),
)
SECTION_TYPES: dict[str, type[Any]] = {
    "web": WebConfig,
    "graphite": GraphiteConfig,
    "statsd": StatsdConfig,
    "store": StoreConfig,
    "query": QueryConfig,
    "backup": BackupConfig,
    "log": LogConfig,
}
