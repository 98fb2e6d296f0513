"""The step that Graphite shows a series at: that of the finest of its schema's tiers which reaches back far enough.

Source: whisper 1.1.10, fetch: the first archive whose retention covers the time from the start of the range to now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import re2

from appliance.retention import SchemaRule
from tsdb.sample import METRIC_NAME, Labels


class ConfiguredSteps:
    """Schemas in order; the first that fits a series counts, as in the store."""

    def __init__(self, rules: Sequence[SchemaRule]) -> None:
        self._rules = [(_fits(rule), rule) for rule in rules] if any(rule.resolution_ms for rule in rules) else []

    def step_s(self, labels: Labels, age_s: int) -> int | None:
        """In a range that starts so long ago; None if the schema does not say how often samples come."""
        rule = self._rule_of(labels)
        if rule is None or not rule.resolution_ms:
            return None
        for tier in rule.retention.tiers:
            if tier.keep_ms is None or tier.keep_ms >= age_s * 1_000:
                break
        return (tier.resolution_ms or rule.resolution_ms) // 1_000

    def resolution_s(self, labels: Labels) -> int | None:
        """How often samples come, if the schema says so."""
        rule = self._rule_of(labels)
        return rule.resolution_ms // 1_000 or None if rule is not None else None

    def coarser_s(self, labels: Labels) -> list[int]:
        """The steps of the rollups, which rise."""
        rule = self._rule_of(labels)
        return [tier.resolution_ms // 1_000 for tier in rule.retention.tiers if tier.resolution_ms] if rule else []

    def _rule_of(self, labels: Labels) -> SchemaRule | None:
        if not self._rules:
            return None
        by_label = dict(labels)
        return next((rule for fits, rule in self._rules if fits(by_label)), None)


def _fits(rule: SchemaRule) -> Callable[[dict[str, str]], bool]:
    conditions = [_condition(*each) for each in rule.conditions]
    if rule.pattern:
        pattern = re2.compile(rule.pattern)
        conditions.append(lambda labels: pattern.search(labels.get(METRIC_NAME, "")) is not None)
    return lambda labels: all(each(labels) for each in conditions)


def _condition(label: str, operator: str, value: str) -> Callable[[dict[str, str]], bool]:
    is_wanted = not operator.startswith("!")
    if "~" not in operator:
        return lambda labels: (labels.get(label, "") == value) is is_wanted
    pattern = re2.compile(value)
    return lambda labels: (pattern.fullmatch(labels.get(label, "")) is not None) is is_wanted
