"""The settings of scheduled backups, a row each, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.units import duration_ms, duration_text

INTERVAL_MS_MIN, INTERVAL_MS_MAX = 60_000, 366 * 86_400_000
KEEP_COUNT_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupConfig:
    dir: Path | None  # Absolute; None: off.
    interval_ms: int
    keep_count: int
    passphrase_file: Path | None  # Absolute.


def parse_optional_path(text: str) -> Path | None:
    """An absolute path, or ~/…; None for the empty string. Raises: ValueError."""
    if not text.strip():
        return None
    try:
        path = Path(text.strip()).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text!r}: the home folder is not known ({error}); write an absolute path") from error
    if not path.is_absolute():
        raise ValueError(f"{text!r} is not an absolute path; write it from / on, such as /mnt/backups")
    return path


def parse_interval_ms(text: str) -> int:
    """Raises: ValueError."""
    found_ms = duration_ms(text)
    if found_ms is None or not INTERVAL_MS_MIN <= found_ms <= INTERVAL_MS_MAX:
        raise ValueError(f"{text!r} is not in {duration_text(INTERVAL_MS_MIN)} … {duration_text(INTERVAL_MS_MAX)}")
    return found_ms


def parse_keep_count(text: str) -> int:
    """Raises: ValueError."""
    if not re.fullmatch(r"[0-9]{1,4}", text.strip(), re.ASCII) or not 1 <= int(text) <= KEEP_COUNT_MAX:
        raise ValueError(f"{text!r} is not a whole number in 1 … {KEEP_COUNT_MAX:,}")
    return int(text)


Row = tuple[str, str, str, str, Callable[[str], Any], str]
ROWS: tuple[Row, ...] = (
    (
        "backup.dir",
        "",
        "absolute path of a folder that is there, or empty for off",
        "Where sealed backups of the whole appliance are put by themselves; another disk or machine is best.",
        parse_optional_path,
        "",
    ),
    (
        "backup.interval",
        "1d",
        f"duration of {duration_text(INTERVAL_MS_MIN)} … {duration_text(INTERVAL_MS_MAX)}",
        "How often a backup is made.",
        parse_interval_ms,
        "interval_ms",
    ),
    (
        "backup.keep_count",
        "7",
        f"count of 1 … {KEEP_COUNT_MAX:,}",
        "How many backups are kept; an older one goes when a new one has been written and read back.",
        parse_keep_count,
        "",
    ),
    (
        "backup.passphrase_file",
        "",
        "absolute path",
        "The file whose first line is the passphrase; nobody but its owner may read it (chmod 600).",
        parse_optional_path,
        "",
    ),
)
