"""A rule file as the API shows it: what was written, and what was read in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.state.model import Document
from checks.rules import alert_check_id, file_of, interval_ms_of
from tsdb.rules import AlertingRule, Rule, RuleGroup


def rules_summary(document: Document, groups: Sequence[RuleGroup]) -> dict[str, Any]:
    """The JSON of one rule file in a list: without its text."""
    body: dict[str, Any] = msgspec.to_builtins(file_of(document.body))
    del body["text"]
    rules = [rule for group in groups for rule in group.rules]
    return {
        "id": document.id,
        **body,
        "group_count": len(groups),
        "rule_count": len(rules),
        "alert_count": sum(isinstance(rule, AlertingRule) for rule in rules),
        "version": document.version,
        "created_ms": document.created_ms,
        "updated_ms": document.updated_ms,
        "updated_by": document.updated_by,
    }


def rules_view(document: Document, groups: Sequence[RuleGroup]) -> dict[str, Any]:
    """The JSON of one rule file, with its text and its groups."""
    return {
        **rules_summary(document, groups),
        "text": document.body["text"],
        "groups": [group_view(document.id, group) for group in groups],
    }


def group_view(rules_id: str, group: RuleGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "interval_s": interval_ms_of(group) / 1_000,
        "query_offset_s": group.offset_ms / 1_000,
        "limit": group.series_count_max,
        "labels": dict(group.labels),
        "rules": [_rule_view(rules_id, group, index, rule) for index, rule in enumerate(group.rules)],
    }


def _rule_view(rules_id: str, group: RuleGroup, index: int, rule: Rule) -> dict[str, Any]:
    is_alert = isinstance(rule, AlertingRule)
    found: dict[str, Any] = {
        "type": "alerting" if is_alert else "recording",
        "name": rule.name,
        "expression": rule.expression,
        "labels": dict(rule.labels),
        "line": rule.line,
    }
    if isinstance(rule, AlertingRule):
        found |= {
            "for_s": rule.hold_ms / 1_000,
            "keep_firing_for_s": rule.keep_firing_ms / 1_000,
            "annotations": dict(rule.annotations),
            "check_id": alert_check_id(rules_id, group, index),
        }
    return found
