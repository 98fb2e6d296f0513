"""Events and service checks of DogStatsD: what is read of a line, and what is refused whole."""

from __future__ import annotations

import pytest

from tsdb.ingest.statsd.datadog import notice_of
from tsdb.notices import Happening, JobState, Notice

LINES: dict[str, Notice | None] = {
    "_e{6,4}:deploy|text": Happening("deploy", "text"),
    "_e{5,10}:title|text\\nline|t:error|#x:y,env:t": Happening(
        "title", "text\nline", ("alert_type:error", "x:y", "env:t")
    ),
    "_e{1,1}:a|b|d:1700000000|h:web1|k:key|p:low|s:ci|c:id|#": Happening(
        "a", "b", ("host:web1", "priority:low", "source:ci"), 1_700_000_000_000
    ),
    "_e{3,3}:a|b|c|d|#t": Happening("a|b", "c|d", ("t",)),
    "_e{2,1}:é|b": Happening("é", "b"),  # Bytes.
    "_e{1,2}:é|bé|#t": Happening("é", "bé", ("t",)),  # Characters.
    "_e{1,0}:a|": Happening("a", ""),
    "_e{0,1}:|a": None,
    "_e{1,1}:a": None,
    "_e{1,5}:a|b": None,
    "_e{1,1}:a|bb": None,
    "_e{1,1}a|b": None,
    "_e{-1,1}:a|b": None,
    "_e{1,1}:a|b|d:soon": None,
    "_e{1,1}:a|b|d:999999999999": None,  # After the year 9999.
    "_e{9999999,1}:a|b": None,
    "_sc|backup|0": JobState("backup", 0),
    "_sc|svc.ok|2|#r:s,env:t|m:boom": JobState("svc.ok", 2, "boom", ("r:s", "env:t")),
    "_sc|backup|1|d:1700000000|h:web1|#a|m:see\\nbelow m\\: x": JobState(
        "backup", 1, "see\nbelow m: x", ("host:web1", "a"), 1_700_000_000_000
    ),
    "_sc|backup|3|": JobState("backup", 3),
    "_sc|backup|4": None,
    "_sc|backup|OK": None,
    "_sc|backup|": None,
    "_sc|backup": None,
    "_sc||0": None,
    "_sc|backup|0|d:-1": None,
}


@pytest.mark.parametrize(("line", "notice"), LINES.items())
def test_a_line_is_read_whole_or_refused(line: str, notice: Notice | None) -> None:
    assert notice_of(line) == notice
