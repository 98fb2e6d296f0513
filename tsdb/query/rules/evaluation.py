"""The rules of a group, one after the other, at one time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.errors import QueryFailed, TsdbError
from tsdb.query.rules.alerts import AlertBook, Row
from tsdb.query.rules.model import AlertingRule, RecordingRule, Rule, RuleGroup
from tsdb.sample import METRIC_NAME, STALE_NAN, Labels, labels_from

Ask = Callable[[str, int], QueryAnswer]
"""An expression at a time in milliseconds."""
Append = Callable[[list[tuple[Labels, int, float]]], str]
"""Store samples. Returns: what of them could not be stored and why; nothing: all are stored, and found by queries."""


class Health(StrEnum):
    UNKNOWN = "unknown"
    OK = "ok"
    ERR = "err"


@dataclass(slots=True)
class RuleState:
    """What one rule did last. book: of an alerting rule."""

    book: AlertBook | None = None
    error: str = ""  # Why it could not be evaluated.
    write_error: str = ""  # What of it was not stored.
    # The series that it wrote and that have not ended, each under itself: the one that is there is used on, so that a
    # large rule leaves no crowd of new objects behind at each evaluation, which Python's collector would look through.
    before: dict[Labels, Labels] = field(default_factory=dict)
    is_left_out: bool = False  # Its turn did not come in the last evaluation; error says why, the rest is from before.
    evaluated_ms: int | None = None
    duration_s: float = 0.0

    @property
    def health(self) -> Health:
        if self.error or self.write_error:
            return Health.ERR
        return Health.UNKNOWN if self.evaluated_ms is None else Health.OK


@dataclass(slots=True)
class _Limit:
    """How long one evaluation of a group may take."""

    time_s_max: float
    began_s: float
    monotonic_s: Callable[[], float]
    is_over: bool = False

    def refuse_late(self) -> None:
        """Raises: QueryFailed, when the time is over."""
        taken_s = self.monotonic_s() - self.began_s
        if taken_s >= self.time_s_max:
            self.is_over = True
            raise QueryFailed(
                f"broken off after {taken_s:.1f} s, as an evaluation of its group may take {self.time_s_max:g} s; "
                f"split the group, or let the rule find fewer alerts"
            )

    def each(self, rows: list[Row]) -> Iterator[Row]:
        """The rows while there is time: the words of each alert are worked out as it is taken."""
        for row in rows:
            self.refuse_late()
            yield row


class GroupRun:
    """A group and the state of its rules.

    ask and append: where series come from and go to. series_count_max: of what each rule gives, when the group has no
    lower limit of its own; 0 is none. monotonic_s: the clock that evaluations are timed by.
    """

    def __init__(
        self,
        group: RuleGroup,
        ask: Ask,
        append: Append,
        external_labels: Mapping[str, str] | None = None,
        *,
        series_count_max: int = 0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.group = group
        self._monotonic_s = monotonic_s
        self._ask = ask
        self._append = append
        limits = [limit for limit in (group.series_count_max, series_count_max) if limit]
        self._series_count_max = min(limits, default=0)
        self.states = [RuleState(self._book(rule, external_labels)) for rule in group.rules]
        self._ended: set[Labels] = set()  # Series of rules that are no longer in the group.

    def _book(self, rule: Rule, external_labels: Mapping[str, str] | None) -> AlertBook | None:
        if not isinstance(rule, AlertingRule):
            return None
        return AlertBook(rule, self.group.labels, external_labels, alert_count_max=self._series_count_max)

    @property
    def written(self) -> set[Labels]:
        """The series that its rules write."""
        return self._ended.union(*(state.before for state in self.states))

    def copy_from(self, other: GroupRun) -> None:
        """Go on from the group as it was written before: rules of one name and the same labels are the same ones.

        What the others have written ends with the next evaluation. Source: CopyState in rules/group.go of Prometheus 3.
        """
        left: dict[tuple[str, tuple[tuple[str, str], ...]], list[RuleState]] = {}
        for rule, state in zip(other.group.rules, other.states, strict=True):
            left.setdefault(_identity(rule, other.group), []).append(state)
        for rule, state in zip(self.group.rules, self.states, strict=True):
            if not (same := left.get(_identity(rule, self.group))):
                continue
            known = same.pop(0)
            state.before = dict(known.before)
            if state.book is not None and known.book is not None:
                state.book.copy_from(known.book)
        self._ended = other._ended.union(*(state.before for states in left.values() for state in states))

    def evaluate(self, at_ms: int, *, time_s_max: float = math.inf, began_s: float | None = None) -> bool:
        """Every rule for a time. One that fails says so in its state, and the next goes on.

        time_s_max: after so long an alerting rule that is at work is broken off at its next alert or question, as if
        it had failed, and the rules behind it are left out. began_s: since when it counts, by the group's clock, if not
        from now. Returns: whether all had their time.
        """
        limit = _Limit(time_s_max, self._monotonic_s() if began_s is None else began_s, self._monotonic_s)
        for rule, state in zip(self.group.rules, self.states, strict=True):
            self._evaluate_rule(rule, state, at_ms, limit)
        self._end_series(at_ms)
        return not limit.is_over

    def _evaluate_rule(self, rule: Rule, state: RuleState, at_ms: int, limit: _Limit) -> None:
        started_s = self._monotonic_s()
        state.is_left_out = started_s - limit.began_s >= limit.time_s_max
        if state.is_left_out:
            limit.is_over = True
            state.error = (
                f"left out, as {started_s - limit.began_s:.1f} s had gone before its turn, and an evaluation of its "
                f"group may take {limit.time_s_max:g} s; split the group, or look for its slowest rule"
            )
            return
        try:
            rows = self._rows(rule, state, at_ms, limit)
            state.error = ""
        except TsdbError as error:
            state.error = str(error) or type(error).__name__  # What it wrote before stands as it is.
        else:
            self._write(state, rows, at_ms)
        state.duration_s = self._monotonic_s() - started_s
        state.evaluated_ms = at_ms

    def fail(self, at_ms: int, error: str) -> None:
        """No rule could be evaluated at a time, and why."""
        for state in self.states:
            state.error, state.duration_s, state.evaluated_ms, state.is_left_out = error, 0.0, at_ms, False

    def _rows(self, rule: Rule, state: RuleState, at_ms: int, limit: _Limit) -> list[Row]:
        asked_ms = at_ms - self.group.offset_ms

        def ask(text: str) -> list[Row]:
            limit.refuse_late()
            return rows_of(self._ask(text, asked_ms))

        found = ask(rule.expression)
        if state.book is not None:
            return state.book.evaluate(
                at_ms,
                limit.each(found),
                lambda text: [(dict(labels), value) for labels, value in ask(text)],
            )
        assert isinstance(rule, RecordingRule), rule
        if self._series_count_max and len(found) > self._series_count_max:
            raise QueryFailed(f"exceeded limit of {self._series_count_max} with {len(found)} series")
        return self._recorded(rule, state, found)

    def _recorded(self, rule: RecordingRule, state: RuleState, found: list[Row]) -> list[Row]:
        """Series that were written before need no second check, which is most of the work of a large rule."""
        more = {**rule_labels(rule, self.group), METRIC_NAME: rule.record}
        dropped = [name for name, text in more.items() if not text]
        rows = []
        for labels, value in found:
            pairs = {**dict(labels), **more}
            for name in dropped:
                del pairs[name]
            known = tuple(sorted(pairs.items()))
            rows.append((state.before.get(known) or labels_from(pairs), value))
        if len({labels for labels, _ in rows}) != len(rows):
            raise QueryFailed("vector contains metrics with the same labelset after applying rule labels")
        return rows

    def _write(self, state: RuleState, rows: list[Row], at_ms: int) -> None:
        """A series that the rule gave before and gives no more ends with a stale marker.

        What is written has the time at which it was asked, so that the next rule finds it there.
        """
        stored_ms = at_ms - self.group.offset_ms
        now = {labels: labels for labels, _ in rows}
        ended = [(labels, stored_ms, float(STALE_NAN)) for labels in sorted(state.before.keys() - now.keys())]
        samples = [*((labels, stored_ms, value) for labels, value in rows), *ended]
        state.write_error = self._append(samples) if samples else ""
        state.before = state.before | now if state.write_error else now

    def _end_series(self, at_ms: int) -> None:
        ended = sorted(self._ended.difference(*(state.before for state in self.states)))
        stored_ms = at_ms - self.group.offset_ms
        if not ended or not self._append([(labels, stored_ms, float(STALE_NAN)) for labels in ended]):
            self._ended = set()


def rule_labels(rule: Rule, group: RuleGroup) -> dict[str, str]:
    """The labels of a rule as they are written, those of its group among them."""
    return {**group.labels, **rule.labels}


def _identity(rule: Rule, group: RuleGroup) -> tuple[str, tuple[tuple[str, str], ...]]:
    return rule.name, tuple(sorted(rule_labels(rule, group).items()))


def rows_of(answer: QueryAnswer) -> list[Row]:
    """Raises: QueryFailed, for an answer that is no number or vector."""
    if answer.kind is AnswerKind.SCALAR:
        return [((), float(answer.value[0]))]
    if answer.kind is not AnswerKind.VECTOR:
        raise QueryFailed(f"rule result is a {answer.kind.value}, not a vector or scalar")
    labels = [tuple(sorted(names.items())) for names in answer.labels]
    return list(zip(labels, answer.value.tolist(), strict=True))
