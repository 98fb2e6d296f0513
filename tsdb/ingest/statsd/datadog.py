"""DogStatsD's events and service checks: one line → a notice. No I/O.

`_e{title bytes,text bytes}:title|text|d:time|h:host|p:priority|s:source|t:kind|k:key|#tags`
`_sc|name|status|d:time|h:host|#tags|m:message`

Source: Datadog, "DogStatsD datagram format" (docs.datadoghq.com/developers/dogstatsd/datagram_shell).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tsdb.notices import Happening, JobState, Notice

EVENT, SERVICE_CHECK = "_e{", "_sc|"
AT_S_MAX = 253_402_300_799  # The end of the year 9999.
_HEAD = re.compile(r"_e\{([0-9]{1,6}),([0-9]{1,6})\}:", re.ASCII)
_TIME = re.compile(r"[0-9]{1,12}", re.ASCII)
_WORDS = {"h": "host", "p": "priority", "s": "source", "t": "alert_type"}
"""What fields of one letter say, as tags."""


def notice_of(line: str) -> Notice | None:
    """None, if it is not what it begins like."""
    return _event(line) if line.startswith(EVENT) else _service_check(line)


def _event(line: str) -> Happening | None:
    head = _HEAD.match(line)
    parts = None if head is None else _parts(line[head.end() :], int(head[1]), int(head[2]))
    if parts is None or not parts[0]:
        return None
    title, text, rest = parts
    fields = rest.split("|") if rest else []
    times = [field[2:] for field in fields if field.startswith("d:")]
    if not all(map(_is_time, times)):
        return None
    return Happening(_unescaped(title), _unescaped(text), _tags(fields), int(times[0]) * 1_000 if times else None)


def _parts(rest: str, title_length: int, text_length: int) -> tuple[str, str, str] | None:
    """Title, text and what follows. The lengths are of bytes; some clients count characters."""
    end = title_length + 1 + text_length
    raw = rest.encode()
    if raw[title_length : title_length + 1] == b"|" and _ends(len(raw), raw[end : end + 1], end, b"|"):
        cut = (raw[:title_length], raw[title_length + 1 : end], raw[end + 1 :])
        title, text, others = (part.decode(errors="replace") for part in cut)
        return title, text, others
    if rest[title_length : title_length + 1] == "|" and _ends(len(rest), rest[end : end + 1], end, "|"):
        return rest[:title_length], rest[title_length + 1 : end], rest[end + 1 :]
    return None


def _ends(length: int, behind: str | bytes, end: int, bar: str | bytes) -> bool:
    return length == end or behind == bar


def _service_check(line: str) -> JobState | None:
    name, _, rest = line.removeprefix(SERVICE_CHECK).partition("|")
    status, *fields = rest.split("|")
    times = [field[2:] for field in fields if field.startswith("d:")]
    if not name or status not in ("0", "1", "2", "3") or not all(map(_is_time, times)):
        return None
    text = next((field[2:] for field in fields if field.startswith("m:")), "")
    return JobState(
        name,
        int(status),
        _unescaped(text).replace("m\\:", "m:"),
        _tags(field for field in fields if field[:2] == "h:" or field[:1] == "#"),
        int(times[0]) * 1_000 if times else None,
    )


def _is_time(text: str) -> bool:
    return _TIME.fullmatch(text) is not None and int(text) <= AT_S_MAX


def _tags(fields: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for field in fields:
        if field[:1] == "#":
            found += [tag for tag in field[1:].split(",") if tag]
        elif field[1:2] == ":" and field[0] in _WORDS and len(field) > 2:
            found.append(f"{_WORDS[field[0]]}:{field[2:]}")
    return tuple(found)


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n")
