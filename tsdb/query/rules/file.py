"""A rule file: read and checked, so that every fault is told at once, with its line."""

from __future__ import annotations

import re

from appliance.units import promql_duration_ms
from tsdb.errors import RefusedQuery
from tsdb.query.promql.parse import parse
from tsdb.query.rules.document import BadDocument, Fields, Value, read
from tsdb.query.rules.model import AlertingRule, Fault, RecordingRule, Rule, RuleGroup
from tsdb.query.rules.template import BadTemplate, Template
from tsdb.sample import METRIC_NAME

DURATION_MS_MAX = (2**63 - 1) // 1_000_000  # Prometheus counts nanoseconds in an int64: 292 years.
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def read_groups(text: str) -> list[RuleGroup]:
    """The groups of a rule file. Raises: BadDocument, with every fault that was found."""
    faults: list[Fault] = []
    document = Fields(read(text), faults, "the file")
    groups: list[RuleGroup] = []
    names: set[str] = set()
    for item in document.items("groups"):
        group = _group(item, faults)
        if group.name in names:
            faults.append(Fault(item.line, f'groupname: "{group.name}" is repeated in the same file'))
        groups.append(group)
        names.add(group.name)
    document.done()
    if faults:
        raise BadDocument(sorted(faults, key=lambda fault: fault.line))
    return groups


def _group(item: Value, faults: list[Fault]) -> RuleGroup:
    fields = Fields(item, faults, "a group")
    name = fields.text("name")
    if not name:
        fields.fault("Groupname must not be empty")
    labels = _labels(fields, faults)
    interval_ms = _duration(fields, "interval")
    offset_ms = _duration(fields, "query_offset") or 0
    limit = _limit(fields)
    rules = tuple(rule for value in fields.items("rules") if (rule := _rule(value, faults)) is not None)
    fields.text("partial_response_strategy")  # Of Thanos, in files that are shared with it.
    fields.done()
    return RuleGroup(
        name=name,
        rules=rules,
        interval_ms=interval_ms or None,
        offset_ms=offset_ms,
        series_count_max=limit,
        labels=labels,
    )


def _rule(item: Value, faults: list[Fault]) -> Rule | None:
    fields = Fields(item, faults, "a rule")
    record, alert, expression = fields.text("record"), fields.text("alert"), fields.text("expr")
    what = f'rule "{record or alert}"'
    if record and alert:
        fields.fault("only one of 'record' and 'alert' must be set")
    elif not record and not alert:
        fields.fault("one of 'record' or 'alert' must be set")
    if not expression:
        fields.fault("field 'expr' must be set in rule")
    else:
        _check_expression(expression, what, fields)
    if record:
        for name in ("annotations", "for", "keep_firing_for"):
            if fields.has(name):
                fields.fault(f"invalid field '{name}' in recording rule")
        if "{" in record or "}" in record:
            fields.fault(f"braces present in the recording rule name; should it be in expr?: {record}")
    hold_ms, keep_ms = _duration(fields, "for") or 0, _duration(fields, "keep_firing_for") or 0
    labels, annotations = _labels(fields, faults), fields.texts("annotations")
    for name in annotations:
        if not _LABEL_NAME.fullmatch(name):
            fields.fault(f"invalid annotation name: {name}")
    fields.done()
    if record:
        return RecordingRule(record=record, expression=expression, labels=labels, line=item.line)
    _check_templates(what, labels, annotations, fields)
    if not alert:
        return None
    return AlertingRule(
        alert=alert,
        expression=expression,
        hold_ms=hold_ms,
        keep_firing_ms=keep_ms,
        labels=labels,
        annotations=annotations,
        line=item.line,
    )


def _check_expression(expression: str, what: str, fields: Fields) -> None:
    try:
        parse(expression)
    except RefusedQuery as error:
        fields.fault(f"could not parse expression of {what}: {error}")


def _check_templates(what: str, labels: dict[str, str], annotations: dict[str, str], fields: Fields) -> None:
    for kind, texts in (("label", labels), ("annotation", annotations)):
        for name, text in texts.items():
            try:
                Template(text)
            except BadTemplate as error:
                fields.fault(f'{kind} "{name}" of {what}: {error}')


def _labels(fields: Fields, faults: list[Fault]) -> dict[str, str]:
    line = fields.line
    found = fields.texts("labels")
    wrong = [name for name in found if not name or name == METRIC_NAME]
    faults += [Fault(line, f"invalid label name: {name}") for name in wrong]
    return found


def _duration(fields: Fields, name: str) -> int | None:
    text = fields.text(name)
    if not text:
        return None
    found = promql_duration_ms(text)
    if found is None:
        fields.fault(f'{name}: not a valid duration string: "{text}"')
    elif found > DURATION_MS_MAX:
        fields.fault(f'{name}: duration out of range: "{text}"')
        return None
    return found


def _limit(fields: Fields) -> int:
    text = fields.text("limit", "0")
    if not text.isdecimal() or len(text) > 9:
        fields.fault(f'limit: "{text}" is not a whole number of at least 0')
        return 0
    return int(text)
