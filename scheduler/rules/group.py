"""One group that is alive: its rules and their state, its schedule, and what its last evaluation left to tell."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Any

from checks.model import Result
from checks.rules import INTERVAL_MS_MIN, SERIES_COUNT_MAX, RulesDocument, alert_check_id, interval_ms_of
from scheduler.rules.schedule import share_ms, time_s_max
from scheduler.rules.store import RuleStore
from scheduler.rules.verdict import result_of
from scheduler.rules.view import group_view, query_texts, trouble_of
from tsdb.errors import TsdbError
from tsdb.rules import ALERT_NAME, AlertBook, AlertingRule, ForState, GroupRun, RuleGroup, rule_labels
from tsdb.sample import Labels

SETTLED_COUNT = 2  # Evaluations after a start that know what was before; by the second, all series are there again.
TEMPLATE = "{{"


class LiveGroup:
    """A group of a document. evaluate() runs in a thread, one at a time; the others are of the event loop.

    recalls: the process has just started, so alerts may have a state from before. previous: the same group as it was
    written before; its state is taken over before the first evaluation, when its last one has ended. monotonic_s: the
    clock that evaluations are timed by.
    """

    def __init__(
        self,
        document: RulesDocument,
        group: RuleGroup,
        store: RuleStore,
        *,
        recalls: bool = False,
        previous: LiveGroup | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.document_id = document.id
        self.file, self.team = document.name, document.team
        self.group = group
        self.interval_ms = max(interval_ms_of(group), INTERVAL_MS_MIN)
        self.share_ms = share_ms(document.id, group.name, self.interval_ms)
        self.check_ids = {
            place: alert_check_id(document.id, group, place)
            for place, rule in enumerate(group.rules)
            if isinstance(rule, AlertingRule)
        }
        self.previous = previous
        self.lock = asyncio.Lock()  # Held while it is evaluated.
        self.ended = asyncio.Event()
        self.run = GroupRun(group, store.ask, store.append, series_count_max=SERIES_COUNT_MAX, monotonic_s=monotonic_s)
        self._monotonic_s = monotonic_s
        self._store = store
        self._recalls = recalls
        self._settling: dict[int, int] = dict.fromkeys(self.check_ids, SETTLED_COUNT) if recalls else {}
        self.duration_s = 0.0
        self.is_over_time = False  # Whether the last evaluation was ended by its limit.
        self.missed_count = 0  # Evaluations that were left out since the start, being late; of the event loop.
        self.results: dict[str, Result] = {}  # By the id of the check.
        self.unsettled: frozenset[str] = frozenset()  # Of them, those that had no result since the start.
        self._queries = query_texts(self.run)
        self.view = self._view()

    @property
    def key(self) -> tuple[str, str]:
        return self.file, self.group.name

    def is_same(self, document: RulesDocument, group: RuleGroup) -> bool:
        """Whether nothing but the place in the text has changed."""
        is_of_same = (self.file, self.team) == (document.name, document.team)
        return is_of_same and _without_lines(self.group) == _without_lines(group)

    def inherit(self, previous: LiveGroup) -> None:
        """Go on from the state of the group as it was written before."""
        self.run.copy_from(previous.run)
        self._recalls = previous._recalls
        self._settling = {
            place: previous._settling[known]
            for place, check_id in self.check_ids.items()
            for known, known_id in previous.check_ids.items()
            if known_id == check_id and known in previous._settling
        }
        self.view = self._view()

    def evaluate(self, at_ms: int) -> None:
        """Evaluate every rule, and leave what is to be told."""
        started_s = self._monotonic_s()
        self.is_over_time = False
        self.unsettled = frozenset(
            self.check_ids[place] for place, left in self._settling.items() if left == SETTLED_COUNT
        )
        try:
            self._recall(at_ms)
        except TsdbError as error:
            self.run.fail(at_ms, f"the state of alerts from before the start cannot be read: {error}")
        else:
            limit_s = time_s_max(self.interval_ms)
            self.is_over_time = not self.run.evaluate(at_ms, time_s_max=limit_s, began_s=started_s)
            self._settle()
        self.duration_s = self._monotonic_s() - started_s
        self.results = {
            check_id: result_of(self.run.states[place], at_ms) for place, check_id in self.check_ids.items()
        }
        self.view = self._view()

    def _recall(self, at_ms: int) -> None:
        """Tell the alerts of the state that they had before the start. Raises: TsdbError; then nothing is told."""
        if not self._recalls:
            return
        books = self._books()
        known = self._store.for_states([book.rule.alert for book in books], at_ms) if books else {}
        for book in books:
            book.recall(_of_rule(known, book.rule, self.group), self.interval_ms)
        self._recalls = False

    def _settle(self) -> None:
        """After some evaluations, what was before the start is of no more use."""
        for place in list(self._settling):
            state = self.run.states[place]
            if state.error or state.book is None:
                continue
            self._settling[place] -= 1
            if not self._settling[place]:
                del self._settling[place]
                state.book.recall({}, self.interval_ms)

    def _books(self) -> list[AlertBook]:
        return [state.book for state in self.run.states if state.book is not None]

    def _view(self) -> dict[str, Any]:
        trouble = trouble_of(
            self.run.states,
            interval_ms=self.interval_ms,
            duration_s=self.duration_s,
            missed_count=self.missed_count,
            time_s_max=time_s_max(self.interval_ms) if self.is_over_time else None,
        )
        view = group_view(
            self.run, file=self.file, interval_ms=self.interval_ms, queries=self._queries, duration_s=self.duration_s
        )
        return view | {"trouble": trouble}


def _of_rule(known: dict[Labels, ForState], rule: AlertingRule, group: RuleGroup) -> dict[Labels, ForState]:
    """Of all alerts, those that can be of a rule: they have its labels, as far as those are no templates."""
    wanted = {name: text for name, text in rule_labels(rule, group).items() if TEMPLATE not in text}
    wanted[ALERT_NAME] = rule.alert

    def fits(labels: dict[str, str]) -> bool:
        return all(labels.get(name, "") == text for name, text in wanted.items())

    return {labels: state for labels, state in known.items() if fits(dict(labels))}


def _without_lines(group: RuleGroup) -> RuleGroup:
    return dataclasses.replace(group, rules=tuple(dataclasses.replace(rule, line=0) for rule in group.rules))
