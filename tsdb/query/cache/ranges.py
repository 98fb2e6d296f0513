"""Range queries answered from what an earlier one gave, as far as nothing has changed since.

A kept answer bears the token of the moment before its samples were read. The source tells from which time on samples
have changed since then; a step whose samples all lie before it keeps its value, the others are evaluated again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

from appliance.metrics import Metrics
from tsdb.answer import QueryAnswer
from tsdb.interface import SeriesSource, TellsChanges
from tsdb.query.cache.join import between, joined
from tsdb.query.cache.kept import Kept, KeptAnswers, Key
from tsdb.query.cache.reach import ahead_ms
from tsdb.query.kernel.steps import Steps
from tsdb.query.promql.annotations import TOLD_COUNT_MAX
from tsdb.query.promql.evaluate import TIME_MS_MAX, range_
from tsdb.query.promql.ledger import Ledger
from tsdb.query.promql.limits import Options
from tsdb.query.promql.parse import parse

STEPS_COUNT_MIN = 8  # Of fewer steps hardly any is old.
# A single step is evaluated as an instant is in some places (order, sums in pairs), so it is never evaluated alone.
FRESH_COUNT_MIN = 2
READ_COUNT_MAX = 512  # × 16 KiB of the longest expression = 8 MiB.


class Asked(NamedTuple):
    expression: str
    start_ms: int
    end_ms: int
    step_ms: int
    options: Options

    @property
    def steps(self) -> Steps:
        return Steps.over(self.start_ms, self.end_ms, self.step_ms)

    @property
    def key(self) -> Key:
        return Key(self.expression, self.step_ms, self.start_ms % self.step_ms, self.options)


class Use(NamedTuple):
    """How an answer came about: `hit` (no step was evaluated), `partial`, `miss` or `skipped`, and how many steps of it
    were kept ones."""

    outcome: str
    kept_step_count: int
    step_count: int


class RangeCache:
    """In front of one source; safe for threads. Two equal queries at once are both evaluated: neither waits for what
    the other's time-out or cancellation may take away."""

    def __init__(self, source: SeriesSource, bytes_max: int, metrics: Metrics) -> None:
        self._source = source
        self._kept = KeptAnswers(bytes_max)
        self._reach_ms: OrderedDict[str, int | None] = OrderedDict()
        self._reach_lock = threading.Lock()
        self._total = metrics.counter("henge_query_cache_total", "Range queries by what the kept answers gave them.")
        self._invalidated = metrics.counter(
            "henge_query_cache_invalidated_total", "Kept answers of which no step could be used, for samples changed."
        )
        self._evicted = metrics.counter("henge_query_cache_evicted_total", "Kept answers that had to make room.")
        self._bytes = metrics.gauge("henge_query_cache_bytes", "Bytes that kept answers take.")

    def range_(self, asked: Asked, ledger: Ledger, *, is_skipped: bool = False) -> tuple[QueryAnswer, Use]:
        """As promql.range_; raises what that raises, and NotReady where the source cannot tell what has changed."""
        reach_ms = None if is_skipped else self._reach(asked, ledger)
        if reach_ms is None or not isinstance(self._source, TellsChanges):
            answer = self._evaluated(asked, ledger)
            self._total.inc(outcome="skipped")
            return answer, Use("skipped", 0, 0)
        answer, use = self._answered(asked, self._source, reach_ms, ledger)
        self._total.inc(outcome=use.outcome)
        self._bytes.set(self._kept.bytes_count)
        return answer, use

    def _answered(self, asked: Asked, source: TellsChanges, reach_ms: int, ledger: Ledger) -> tuple[QueryAnswer, Use]:
        steps, key = asked.steps, asked.key
        held = self._kept.find(key)
        changes = source.changes(held.token if held is not None else None)
        count = 0
        if held is not None:
            count = _kept_count(held, steps, changes.unchanged_before_ms - reach_ms)
            if not count and changes.unchanged_before_ms - reach_ms <= held.last_ms:
                self._invalidated.inc()
                self._kept.drop(key)
        if held is not None and count == steps.count:
            answer = between(held.answer, steps.first_ms, steps.last_ms, ledger)
            return replace(answer, warnings=held.answer.warnings, infos=held.answer.infos), _use("hit", count, steps)
        found = None if held is None or not count else self._extended(asked, held, count, ledger)
        use = _use("miss", 0, steps) if found is None else _use("partial", count, steps)
        answer = self._evaluated(asked, ledger) if found is None else found
        if _may_be_kept(answer, ledger) and (held is None or not _serves_on(held, steps, use)):
            evicted_count = self._kept.evicted_count
            self._kept.put(key, Kept(answer, steps.first_ms, steps.last_ms, changes.token))
            self._evicted.inc(self._kept.evicted_count - evicted_count)
        return answer, use

    def _extended(self, asked: Asked, held: Kept, count: int, ledger: Ledger) -> QueryAnswer | None:
        """The first `count` steps from a kept answer, the others evaluated; None, if that would not be the same."""
        steps = asked.steps
        last_ms = steps.first_ms + (count - 1) * steps.step_ms
        fresh = self._evaluated(asked._replace(start_ms=last_ms + steps.step_ms), ledger)
        is_same_told = set(held.answer.warnings) <= set(fresh.warnings) and set(held.answer.infos) <= set(fresh.infos)
        if ledger.resolution_ms or not is_same_told:
            # Rollups are read by the whole range; a note of the kept steps may be of one that has left the range.
            self._kept.drop(asked.key)
            return None
        answer = joined(between(held.answer, steps.first_ms, last_ms, ledger), fresh, ledger)
        return replace(answer, warnings=fresh.warnings, infos=fresh.infos)

    def _evaluated(self, asked: Asked, ledger: Ledger) -> QueryAnswer:
        times = (asked.start_ms, asked.end_ms, asked.step_ms)
        return range_(asked.expression, *times, self._source, options=asked.options, ledger=ledger)

    def _reach(self, asked: Asked, ledger: Ledger) -> int | None:
        """See ahead_ms(); None also for what is too short, or will be refused. Raises: RefusedQuery, NotSupported."""
        is_sound = asked.step_ms > 0 and max(abs(asked.start_ms), abs(asked.end_ms)) <= TIME_MS_MAX
        if not self._kept.bytes_max or not is_sound or asked.end_ms < asked.start_ms:
            return None
        if not STEPS_COUNT_MIN <= asked.steps.count <= ledger.limits.steps_count_max:
            return None
        with self._reach_lock:
            if asked.expression in self._reach_ms:
                return self._reach_ms[asked.expression]
        with ledger.stage("parse"):
            reach_ms = ahead_ms(parse(asked.expression))
        with self._reach_lock:
            self._reach_ms[asked.expression] = reach_ms
            while len(self._reach_ms) > READ_COUNT_MAX:
                self._reach_ms.popitem(last=False)
        return reach_ms


def _kept_count(held: Kept, steps: Steps, before_ms: int) -> int:
    """How many of the first steps are there and before a time; all, or at least FRESH_COUNT_MIN fewer."""
    if steps.first_ms < held.first_ms:
        return 0
    last_ms = min(held.last_ms, steps.last_ms, before_ms - 1)
    count = max(0, (last_ms - steps.first_ms) // steps.step_ms + 1)
    is_whole = (held.first_ms, held.last_ms) == (steps.first_ms, steps.last_ms)
    # What is told of the whole need not hold of a part.
    if count == steps.count and (is_whole or not (held.answer.warnings or held.answer.infos)):
        return count
    return max(0, min(count, steps.count - FRESH_COUNT_MIN))


def _may_be_kept(answer: QueryAnswer, ledger: Ledger) -> bool:
    """Not what rollups gave, for those are chosen by the whole range; nor what has more notes than are told."""
    return not ledger.resolution_ms and max(len(answer.warnings), len(answer.infos)) <= TOLD_COUNT_MAX


def _serves_on(held: Kept, steps: Steps, use: Use) -> bool:
    """Whether a kept answer of a longer range is to stay, for it gave most of this one."""
    is_longer = 8 * (held.last_ms - held.first_ms) > 9 * (steps.last_ms - steps.first_ms)
    return is_longer and 2 * use.kept_step_count >= steps.count


def _use(outcome: str, count: int, steps: Steps) -> Use:
    return Use(outcome, count, steps.count)
