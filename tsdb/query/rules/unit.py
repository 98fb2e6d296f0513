"""Unit tests of rules: series that stand in a file, and what the rules make of them at given times.

Source: prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules; cmd/promtool/unittest.go of Prometheus 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.units import promql_duration_ms
from tsdb.answer import QueryAnswer
from tsdb.errors import RefusedQuery, RefusedSample
from tsdb.query.promql.evaluate import instant
from tsdb.query.rules.alerts import ALERT_NAME, AlertState
from tsdb.query.rules.document import BadDocument, Fields, Value, read
from tsdb.query.rules.evaluation import GroupRun, rows_of
from tsdb.query.rules.file import read_groups
from tsdb.query.rules.memory import MemorySeries
from tsdb.query.rules.model import Fault, RuleGroup
from tsdb.query.rules.notation import points, series_labels
from tsdb.sample import Labels

DEFAULT_INTERVAL_MS = 60_000
EVALUATION_COUNT_MAX = 100_000  # Of one test; 70 days of minutes.
FUZZY_TOLERANCE = 2.0**-52 * 8

ReadFile = Callable[[str], list[tuple[str, str]]]
"""From a pattern of `rule_files` to the names and texts of the files that it names."""


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    labels: Labels
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class AlertCase:
    line: int
    at_ms: int
    alert: str
    expected: list[ExpectedAlert]


@dataclass(frozen=True, slots=True)
class ExpressionCase:
    line: int
    at_ms: int
    expression: str
    expected: list[tuple[Labels, float]]


@dataclass(slots=True)
class UnitTest:
    """One of the `tests` of a file."""

    name: str
    line: int
    interval_ms: int
    series: list[tuple[Labels, list[float | None]]] = field(default_factory=list)
    alert_cases: list[AlertCase] = field(default_factory=list)
    expression_cases: list[ExpressionCase] = field(default_factory=list)
    external_labels: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class UnitFile:
    rule_files: list[str]
    evaluation_interval_ms: int
    group_order: list[str]
    is_fuzzy: bool
    tests: list[UnitTest]


def run_unit_file(text: str, rule_texts: ReadFile) -> list[Fault]:
    """Everything in which the rules differ from what is expected; nothing: all is well.

    Raises: BadDocument, if the file or one of its rule files cannot be read.
    """
    file = read_unit_file(text)
    groups: list[RuleGroup] = []
    for pattern in file.rule_files:
        for name, rules in rule_texts(pattern):
            try:
                groups += read_groups(rules)
            except BadDocument as error:
                raise BadDocument([Fault(0, f"{name}: {fault}") for fault in error.faults]) from None
    order = {name: place for place, name in enumerate(file.group_order)}
    groups.sort(key=lambda group: order.get(group.name, len(order)))
    return [fault for test in file.tests for fault in _Run(test, file, groups).faults()]


def read_unit_file(text: str) -> UnitFile:
    """Raises: BadDocument, with every fault that was found."""
    faults: list[Fault] = []
    fields = Fields(read(text), faults, "the file")
    found = UnitFile(
        rule_files=[str(item.content) for item in fields.items("rule_files")],
        evaluation_interval_ms=_duration(fields, "evaluation_interval", DEFAULT_INTERVAL_MS) or DEFAULT_INTERVAL_MS,
        group_order=[str(item.content) for item in fields.items("group_eval_order")],
        is_fuzzy=fields.text("fuzzy_compare", "false").lower() == "true",
        tests=[_test(item, faults) for item in fields.items("tests")],
    )
    fields.done()
    if faults:
        raise BadDocument(sorted(faults, key=lambda fault: fault.line))
    return found


def _test(item: Value, faults: list[Fault]) -> UnitTest:
    fields = Fields(item, faults, "a test")
    test = UnitTest(
        name=fields.text("name"),
        line=item.line,
        interval_ms=_duration(fields, "interval", DEFAULT_INTERVAL_MS) or DEFAULT_INTERVAL_MS,
        external_labels=fields.texts("external_labels"),
    )
    fields.text("external_url")
    for value in fields.items("input_series"):
        inner = Fields(value, faults, "a series")
        try:
            test.series.append((series_labels(inner.text("series")), points(inner.text("values"))))
        except (ValueError, RefusedSample) as error:
            inner.fault(str(error))
        inner.done()
    for value in fields.items("alert_rule_test"):
        test.alert_cases.append(_alert_case(value, faults))
    for value in fields.items("promql_expr_test"):
        test.expression_cases.append(_expression_case(value, faults))
    fields.done()
    return test


def _alert_case(item: Value, faults: list[Fault]) -> AlertCase:
    fields = Fields(item, faults, "alert_rule_test")
    name = fields.text("alertname")
    if not name:
        fields.fault("alertname must be set")
    expected = []
    for value in fields.items("exp_alerts"):
        inner = Fields(value, faults, "exp_alerts")
        labels = {**inner.texts("exp_labels"), ALERT_NAME: name}
        expected.append(ExpectedAlert(tuple(sorted(labels.items())), inner.texts("exp_annotations")))
        inner.done()
    case = AlertCase(item.line, _duration(fields, "eval_time", 0), name, expected)
    fields.done()
    return case


def _expression_case(item: Value, faults: list[Fault]) -> ExpressionCase:
    fields = Fields(item, faults, "promql_expr_test")
    expected = []
    for value in fields.items("exp_samples"):
        inner = Fields(value, faults, "exp_samples")
        try:
            labels = series_labels(inner.text("labels") or "{}")
            expected.append((labels, float(inner.text("value", "0"))))
        except (ValueError, RefusedSample) as error:
            inner.fault(str(error))
        inner.done()
    case = ExpressionCase(item.line, _duration(fields, "eval_time", 0), fields.text("expr"), expected)
    fields.done()
    return case


def _duration(fields: Fields, name: str, default: int) -> int:
    text = fields.text(name)
    found = promql_duration_ms(text) if text else default
    if found is None:
        fields.fault(f'{name}: not a valid duration string: "{text}"')
    return default if found is None else found


class _Run:
    """One test over a memory of its own."""

    def __init__(self, test: UnitTest, file: UnitFile, groups: list[RuleGroup]) -> None:
        self._test = test
        self._file = file
        self._memory = MemorySeries()
        for labels, values in test.series:
            places = [(place * test.interval_ms, value) for place, value in enumerate(values) if value is not None]
            self._memory.add(labels, places)
        self._groups = [GroupRun(group, self._ask, self._append, test.external_labels) for group in groups]

    def _ask(self, expression: str, at_ms: int) -> QueryAnswer:
        return instant(expression, at_ms, self._memory)

    def _append(self, rows: list[tuple[Labels, int, float]]) -> str:
        for labels, at_ms, value in rows:
            self._memory.add(labels, [(at_ms, value)])
        return ""

    def faults(self) -> list[Fault]:
        cases = self._test.alert_cases
        last_ms = max([0, *(case.at_ms for case in cases), *(case.at_ms for case in self._test.expression_cases)])
        step_ms = self._file.evaluation_interval_ms
        if last_ms // step_ms > EVALUATION_COUNT_MAX:
            return [Fault(self._test.line, f"the test has more than {EVALUATION_COUNT_MAX:,} evaluations")]
        found: list[Fault] = []
        waiting = sorted(cases, key=lambda case: case.at_ms)
        for at_ms in range(0, last_ms + 1, step_ms):
            for run in self._groups:
                interval_ms = run.group.interval_ms or step_ms
                if at_ms % interval_ms == 0:
                    run.evaluate(at_ms)
                    found += [
                        Fault(self._test.line, f"rule error at {at_ms / 1_000:g} s: {state.error or state.write_error}")
                        for state in run.states
                        if state.error or state.write_error
                    ]
            if found:
                return found  # A rule that fails makes all that follows wrong.
            while waiting and waiting[0].at_ms < at_ms + step_ms:
                found += self._alert_faults(waiting.pop(0))
        for case in self._test.expression_cases:
            found += self._expression_faults(case)
        return found

    def _alert_faults(self, case: AlertCase) -> list[Fault]:
        books = [state.book for run in self._groups for state in run.states if state.book is not None]
        named = [book for book in books if book.rule.alert == case.alert]
        if not named and case.expected:
            return [Fault(case.line, f'there is no alerting rule "{case.alert}"')]
        got = [
            ExpectedAlert(alert.labels, alert.annotations)
            for book in named
            for alert in book.alerts
            if alert.state is AlertState.FIRING
        ]
        wanted = sorted(case.expected, key=_by_labels)
        if sorted(got, key=_by_labels) == wanted:
            return []
        shown = [_shown(alerts) for alerts in (wanted, sorted(got, key=_by_labels))]
        return [
            Fault(
                case.line,
                f"alertname: {case.alert}, time: {case.at_ms / 1_000:g} s,\n  exp: {shown[0]}\n  got: {shown[1]}",
            )
        ]

    def _expression_faults(self, case: ExpressionCase) -> list[Fault]:
        try:
            got = rows_of(self._ask(case.expression, case.at_ms))
        except (RefusedQuery, RefusedSample) as error:
            return [Fault(case.line, f'expr: "{case.expression}", time: {case.at_ms / 1_000:g} s, err: {error}')]
        got, wanted = sorted(got), sorted(case.expected)
        if len(got) == len(wanted) and all(
            one[0] == other[0] and self._is_same(one[1], other[1]) for one, other in zip(got, wanted, strict=True)
        ):
            return []
        return [
            Fault(
                case.line, f'expr: "{case.expression}", time: {case.at_ms / 1_000:g} s,\n  exp: {wanted}\n  got: {got}'
            )
        ]

    def _is_same(self, one: float, other: float) -> bool:
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        if self._file.is_fuzzy:
            return math.isclose(one, other, rel_tol=FUZZY_TOLERANCE, abs_tol=0.0)
        return one == other


def _by_labels(alert: ExpectedAlert) -> tuple[Labels, list[tuple[str, str]]]:
    return alert.labels, sorted(alert.annotations.items())


def _shown(alerts: list[ExpectedAlert]) -> str:
    return "[" + ", ".join(f"{dict(alert.labels)} {alert.annotations}" for alert in alerts) + "]"
