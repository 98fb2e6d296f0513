"""What past runs of checks found, read from their series: the numbers of every run are there, and only there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from appliance.bus import BusError
from checks.model import State
from checks.rows import DURATION, PERFDATA, STATE
from tsdb.errors import TsdbError
from tsdb.sample import METRIC_NAME, Matcher, MatchOp, Selection
from web.api.paging import Page
from web.board import Row
from web.draw.heartbeat import Beat
from web.services import Services

BEAT_COUNT = 30
WINDOW_MS_MAX = 6 * 3_600_000  # A list never reads more, however slow its checks; rarer ones show fewer beats.
RESULTS_WINDOW_MS = 7 * 86_400_000
FUTURE_MS = 60_000  # Results of a clock that stepped back are still seen.
CHECKS_PER_SELECT_MAX = 100  # One page.


@dataclass(slots=True)
class Past:
    """The latest runs of one check, oldest first."""

    beats: list[Beat] = field(default_factory=list)
    duration_s: list[float] = field(default_factory=list)


def equal(name: str, value: str) -> Matcher:
    return Matcher(name, MatchOp.EQUAL, value)


def _one_of(name: str, values: Sequence[str]) -> Matcher:
    if len(values) == 1:
        return equal(name, values[0])
    return Matcher(name, MatchOp.REGEX, "|".join(_escaped(value) for value in values))


def _escaped(text: str) -> str:
    """Escape for RE2 and Python alike; re.escape also escapes blanks and more, which RE2 refuses."""
    return "".join("\\" + char if char in r"\.+*?()|[]{}^$" else char for char in text)


def whose(check: Mapping[str, Any]) -> list[Matcher]:
    """The matchers of the series of one check."""
    return [equal("check", str(check["name"])), equal("team", str(check["labels"].get("team", "default")))]


def past_of(services: Services, rows: Sequence[Row], now_ms: int) -> dict[str, Past]:
    """The latest runs of up to a page of checks; empty while the store is away, so that a page still shows states."""
    past = {row.id: Past() for row in rows}
    groups: dict[float, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.check.interval_s, []).append(row)
    for interval_s, group in groups.items():
        window_ms = min(int(interval_s * 1_000 * (BEAT_COUNT + 2)), WINDOW_MS_MAX)
        try:
            _fill(services, group, past, now_ms - window_ms, now_ms + FUTURE_MS)
        except (TsdbError, BusError) as error:
            services.log.warning("the overview shows no heartbeats: %s", error)
            return past
    return past


def _fill(services: Services, group: Sequence[Row], past: dict[str, Past], start_ms: int, end_ms: int) -> None:
    by_name = {(row.check.name, row.check.team): row.id for row in group}
    names = _one_of("check", sorted({row.check.name for row in group}))
    metrics = Matcher(METRIC_NAME, MatchOp.REGEX, f"{STATE}|{DURATION}")
    found = services.tsdb.select([metrics, names], start_ms, end_ms)
    for labels, timestamp_ms, value in series_of(found):
        check_id = by_name.get((labels.get("check", ""), labels.get("team", "")))
        if check_id is None:
            continue
        if labels[METRIC_NAME] == STATE:
            past[check_id].beats = merged_beats(past[check_id].beats, timestamp_ms, value)[-BEAT_COUNT:]
        else:
            finite = value[np.isfinite(value)]
            past[check_id].duration_s = finite[-BEAT_COUNT:].tolist()


def series_of(selection: Selection) -> Any:
    """(labels, timestamp_ms, value) of each series."""
    offsets = selection.offsets.tolist()
    for index, labels in enumerate(selection.labels):
        part = slice(offsets[index], offsets[index + 1])
        yield dict(labels), selection.timestamp_ms[part], selection.value[part]


def merged_beats(known: list[Beat], timestamp_ms: Any, value: Any) -> list[Beat]:
    """Beats of one more series: a check whose target changed has several, one per host."""
    beats = [
        Beat(at_ms, State(int(number)) if number in (0, 1, 2, 3) else State.UNKNOWN)
        for at_ms, number in zip(timestamp_ms.tolist(), value.tolist(), strict=True)
        if number == number  # A stale marker is no result.
    ]
    return sorted([*known, *beats], key=lambda beat: beat.at_ms) if known else beats


@dataclass(frozen=True, slots=True)
class Results:
    items: list[dict[str, Any]]
    total_count: int


def results(services: Services, check: Mapping[str, Any], *, page: Page, end_ms: int) -> Results:
    """A piece of the past runs of one check, newest first."""
    start_ms = end_ms - RESULTS_WINDOW_MS
    times, states, durations = columns(services, check, start_ms, end_ms)
    order = slice(max(0, times.size - page.offset - page.limit), times.size - page.offset)
    texts = failure_texts(services, str(check["id"]))
    last = check.get("last_result")
    if last:
        texts[int(last["at_ms"])] = str(last["output"])
    items = [
        {
            "at_ms": at_ms,
            "state": State(int(state)).word,
            "duration_s": None if duration != duration else duration,
            "output": texts.get(at_ms),
        }
        for at_ms, state, duration in zip(
            times[order].tolist(), states[order].tolist(), durations[order].tolist(), strict=True
        )
    ]
    return Results(items[::-1], int(times.size))


def columns(services: Services, check: Mapping[str, Any], start_ms: int, end_ms: int) -> tuple[Any, Any, Any]:
    """Times, states and durations (NaN where unknown) of the runs in a range, oldest first."""
    metrics = Matcher(METRIC_NAME, MatchOp.REGEX, f"{STATE}|{DURATION}")
    found = services.tsdb.select([metrics, *whose(check)], start_ms, end_ms)
    state_at: dict[int, float] = {}
    duration_at: dict[int, float] = {}
    for labels, timestamp_ms, value in series_of(found):
        target = state_at if labels[METRIC_NAME] == STATE else duration_at
        target.update(zip(timestamp_ms.tolist(), value.tolist(), strict=True))
    kept = sorted(at_ms for at_ms, state in state_at.items() if state in (0, 1, 2, 3))
    return (
        np.array(kept, np.int64),
        np.array([state_at[at_ms] for at_ms in kept], np.float64),
        np.array([duration_at.get(at_ms, np.nan) for at_ms in kept], np.float64),
    )


def failure_texts(services: Services, check_id: str) -> dict[int, str]:
    """The texts that are kept: of changes of state and of the last failures, by the time of the run."""
    texts: dict[int, str] = {}
    for kind in ("flip", "failure"):
        for event in services.state.read.events(kind=kind, subject=check_id, limit=200):
            text = event.body.get("output")
            if isinstance(text, str):
                texts[event.at_ms] = text
    return texts


def perfdata_matchers(check: Mapping[str, Any]) -> list[Matcher]:
    return [equal(METRIC_NAME, PERFDATA), *whose(check)]
