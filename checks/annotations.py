"""What people and programs noted, such as a deploy: events of the state file that graphs count and show."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.state import AppendEvent

KIND, SUBJECT = "annotation", "graphite"
# Each has 5 KiB at most and mostly 200 B: 2 MB, which are read in 30 ms when a graph shows events.
KEPT_COUNT = 10_000
WHAT_CHARS_MAX = 1_024
DATA_CHARS_MAX = 4_096
TAG_COUNT_MAX = 32
TAG_CHARS_MAX = 128


def annotation(what: str, text: str, tags: Iterable[str], at_ms: int) -> AppendEvent:
    """All within the limits."""
    body = {"what": what, "data": text, "tags": list(tags)}
    return AppendEvent(kind=KIND, subject=SUBJECT, at_ms=at_ms, body=body, keep_count=KEPT_COUNT)
