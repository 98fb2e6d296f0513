"""The rules of a group, one after the other, at one time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.errors import QueryFailed, RefusedQuery, RefusedSample
from tsdb.query.rules.alerts import AlertBook, Row
from tsdb.query.rules.model import AlertingRule, RecordingRule, RuleGroup
from tsdb.sample import METRIC_NAME, STALE_NAN, Labels, labels_from

Ask = Callable[[str, int], QueryAnswer]
"""An expression at a time in milliseconds."""
Append = Callable[[list[tuple[Labels, int, float]]], None]


@dataclass(slots=True)
class RuleState:
    """What one rule did last. book: of an alerting rule."""

    book: AlertBook | None = None
    error: str = ""
    before: set[Labels] = field(default_factory=set)  # The series that it wrote at the last time.


class GroupRun:
    """A group and the state of its rules. ask and append: where series come from and go to."""

    def __init__(
        self, group: RuleGroup, ask: Ask, append: Append, external_labels: Mapping[str, str] | None = None
    ) -> None:
        self.group = group
        self._ask = ask
        self._append = append
        self.states = [
            RuleState(AlertBook(rule, group.labels, external_labels) if isinstance(rule, AlertingRule) else None)
            for rule in group.rules
        ]

    def evaluate(self, at_ms: int) -> None:
        """Every rule for a time. One that fails says so in its state, and the next goes on."""
        for rule, state in zip(self.group.rules, self.states, strict=True):
            try:
                rows = self._rows(rule, state, at_ms)
                state.error = ""
            except (RefusedQuery, RefusedSample) as error:
                state.error, rows = str(error), []
            self._write(state, rows, at_ms)

    def _rows(self, rule: RecordingRule | AlertingRule, state: RuleState, at_ms: int) -> list[Row]:
        asked_ms = at_ms - self.group.offset_ms
        found = rows_of(self._ask(rule.expression, asked_ms))
        if state.book is not None:
            rows = state.book.evaluate(
                at_ms,
                found,
                lambda text: [(dict(labels), value) for labels, value in rows_of(self._ask(text, asked_ms))],
            )
        else:
            assert isinstance(rule, RecordingRule), rule
            rows = self._recorded(rule, found)
        limit = self.group.series_count_max
        if limit and len(found) > limit:
            raise QueryFailed(f"exceeded limit of {limit} with {len(found)} series")
        return rows

    def _recorded(self, rule: RecordingRule, found: list[Row]) -> list[Row]:
        more = {**self.group.labels, **rule.labels, METRIC_NAME: rule.record}
        rows = [(labels_from({**dict(labels), **more}), value) for labels, value in found]
        if len({labels for labels, _ in rows}) != len(rows):
            raise QueryFailed("vector contains metrics with the same labelset after applying rule labels")
        return rows

    def _write(self, state: RuleState, rows: list[Row], at_ms: int) -> None:
        """A series that the rule gave before and gives no more ends with a stale marker."""
        now = {labels for labels, _ in rows}
        ended = [(labels, at_ms, float(STALE_NAN)) for labels in sorted(state.before - now)]
        self._append([*((labels, at_ms, value) for labels, value in rows), *ended])
        state.before = now


def rows_of(answer: QueryAnswer) -> list[Row]:
    """Raises: QueryFailed, for an answer that is no number or vector."""
    if answer.kind is AnswerKind.SCALAR:
        return [((), float(answer.value[0]))]
    if answer.kind is not AnswerKind.VECTOR:
        raise QueryFailed(f"rule result is a {answer.kind.value}, not a vector or scalar")
    labels = [tuple(sorted(names.items())) for names in answer.labels]
    return list(zip(labels, answer.value.tolist(), strict=True))
