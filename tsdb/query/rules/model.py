"""The nouns of a rule file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRule:
    """The value of an expression, kept as series of its own."""

    record: str
    expression: str
    labels: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    @property
    def name(self) -> str:
        return self.record


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertingRule:
    """Each series that the expression gives is an alert; it fires when it has been there for hold_ms."""

    alert: str
    expression: str
    hold_ms: int = 0  # `for`
    keep_firing_ms: int = 0  # `keep_firing_for`
    labels: Mapping[str, str] = field(default_factory=dict)  # Templates, as the annotations.
    annotations: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    @property
    def name(self) -> str:
        return self.alert


Rule = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleGroup:
    """Rules that are evaluated one after the other, all for the same time."""

    name: str
    rules: tuple[Rule, ...] = ()
    interval_ms: int | None = None  # None: the interval of whoever evaluates.
    offset_ms: int = 0  # `query_offset`: how far back the expressions look.
    series_count_max: int = 0  # `limit`, of what each rule gives; 0: none.
    labels: Mapping[str, str] = field(default_factory=dict)  # For every rule that does not say otherwise.


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a file, and where; line 0: in all of it."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.line}: {self.message}" if self.line else self.message
