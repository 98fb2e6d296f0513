"""Nodes → text, for one alert."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tsdb.query.rules.template import functions
from tsdb.query.rules.template.numbers import TEXT_SIZE_MAX, go_text, humanize_timestamp, refuse_long
from tsdb.query.rules.template.parse import (
    Access,
    BadTemplate,
    Branch,
    Constant,
    Function,
    Jump,
    Node,
    Operand,
    Pipeline,
    Text,
    parse,
)

ARGUMENT_COUNT_MAX = 100  # × TEXT_SIZE_MAX = 6 MiB, before a function says that its result is too long.
QUERY_COUNT_MAX = 100  # Of one expansion; an alert's words need one or two.
STEP_COUNT_MAX = 100_000  # Actions of one expansion; loops over queries come to hundreds.

Sample = tuple[Mapping[str, str], float]
"""The labels and the value of one series of a query."""
Query = Callable[[str], Sequence[Sample]]


class ExpansionFailed(Exception):
    """A template that is right in itself cannot be expanded with these data."""


class _Jumped(Exception):
    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Template:
    """A text with actions, parsed once. Raises: BadTemplate."""

    def __init__(self, text: str) -> None:
        self._plain = text if "{{" not in text else None
        self._nodes = [] if self._plain is not None else parse(text)
        known = {"$", "$labels", "$value", "$externalLabels", "$externalURL"}
        for node in self._nodes:
            _check_node(node, known)

    def expand(
        self,
        labels: Mapping[str, str],
        value: float,
        *,
        external_labels: Mapping[str, str] | None = None,
        query: Query | None = None,
    ) -> str:
        """Raises: ExpansionFailed."""
        if self._plain is not None:
            return self._plain
        data = {
            "Labels": dict(labels),
            "ExternalLabels": dict(external_labels or {}),
            "ExternalURL": "",
            "Value": value,
        }
        variables = {
            "$": data,
            "$labels": data["Labels"],
            "$value": value,
            "$externalLabels": data["ExternalLabels"],
            "$externalURL": "",
        }
        run = _Run(query)
        try:
            run.nodes(self._nodes, data, variables)
        except functions.Wrong as error:
            raise ExpansionFailed(str(error)) from None
        except (TypeError, RecursionError, OverflowError, ValueError) as error:
            raise ExpansionFailed(f"error calling a function: {error}") from None
        return "".join(run.out)


def _check_node(node: Node, known: set[str]) -> None:
    """What Go refuses at once: functions and variables that there are not. Raises: BadTemplate."""
    if isinstance(node, Pipeline):
        _check_pipeline(node, known)
    elif isinstance(node, Branch):
        inner = set(known)
        _check_pipeline(node.pipeline, inner)
        for body in (node.body, node.otherwise):
            inside = set(inner)
            for child in body:
                _check_node(child, inside)


def _check_pipeline(pipeline: Pipeline, known: set[str]) -> None:
    for command in pipeline.commands:
        for operand in command:
            if isinstance(operand, Function) and operand.name not in functions.NAMES:
                raise BadTemplate(f'function "{operand.name}" not defined')
            if isinstance(operand, Access):
                if isinstance(operand.base, Pipeline):
                    _check_pipeline(operand.base, known)
                elif operand.base.startswith("$") and operand.base not in known:
                    raise BadTemplate(f'undefined variable "{operand.base}"')
    for name in pipeline.variables:
        if not pipeline.is_declared and name not in known:
            raise BadTemplate(f'undefined variable "{name}"')
        known.add(name)


class _Run:
    def __init__(self, query: Query | None) -> None:
        self.out: list[str] = []
        self._size = 0
        self._steps = 0
        self._query_count = 0
        self._query = query

    def nodes(self, nodes: list[Node], dot: Any, variables: dict[str, Any]) -> None:
        for node in nodes:
            self._steps += 1
            if self._steps > STEP_COUNT_MAX:
                raise ExpansionFailed(f"the template takes more than {STEP_COUNT_MAX:,} steps")
            if isinstance(node, Text):
                self._print(node.text)
            elif isinstance(node, Pipeline):
                value = self._value(node, dot, variables)
                if not node.variables:
                    self._print(_shown(value))
            elif isinstance(node, Branch):
                self._branch(node, dot, variables)
            else:
                assert isinstance(node, Jump), node
                raise _Jumped(node.word)

    def _print(self, text: str) -> None:
        self._size += len(text)
        if self._size > TEXT_SIZE_MAX:
            raise ExpansionFailed(f"the text is longer than {TEXT_SIZE_MAX:,} characters")
        self.out.append(text)

    def _branch(self, node: Branch, dot: Any, variables: dict[str, Any]) -> None:
        inner = dict(variables)
        if node.word == "range":
            self._range(node, dot, inner)
        else:
            value = self._value(node.pipeline, dot, inner)
            is_true = functions.is_true(value)
            self.nodes(
                node.body if is_true else node.otherwise, value if is_true and node.word == "with" else dot, inner
            )
        # What an inner action assigned to an outer variable stays.
        variables.update({name: inner[name] for name in variables if name not in node.pipeline.variables})

    def _range(self, node: Branch, dot: Any, variables: dict[str, Any]) -> None:
        plain = Pipeline(node.pipeline.commands)
        items = self._value(plain, dot, variables)
        pairs = sorted(items.items()) if isinstance(items, dict) else list(enumerate(items or ()))
        if not pairs:
            self.nodes(node.otherwise, dot, variables)
        names = node.pipeline.variables
        for key, item in pairs:
            if len(names) == 2:
                variables[names[0]], variables[names[1]] = key, item
            elif names:
                variables[names[0]] = item
            try:
                self.nodes(node.body, item, variables)
            except _Jumped as jump:
                if jump.word == "break":
                    break

    def _value(self, pipeline: Pipeline, dot: Any, variables: dict[str, Any]) -> Any:
        value: Any = None
        for place, command in enumerate(pipeline.commands):
            value = self._command(command, [value] if place else [], dot, variables)
        for name in pipeline.variables:
            variables[name] = value
        return value

    def _command(self, command: tuple[Operand, ...], last: list[Any], dot: Any, variables: dict[str, Any]) -> Any:
        head, rest = command[0], command[1:]
        if not isinstance(head, Function):
            return self._operand(head, dot, variables)
        if head.name in functions.LAZY:
            return self._lazy(head.name, rest, last, dot, variables)
        arguments = [*(self._operand(operand, dot, variables) for operand in rest), *last]
        if len(arguments) > ARGUMENT_COUNT_MAX:
            raise ExpansionFailed(f"{head.name} has {len(arguments):,} arguments of at most {ARGUMENT_COUNT_MAX}")
        if head.name == functions.QUERY:
            return self._ask(*arguments)
        found = functions.FUNCTIONS[head.name](*arguments)
        if isinstance(found, str):  # It may be put into a variable, and doubled again and again.
            refuse_long(len(found))
        return found

    def _lazy(self, name: str, rest: tuple[Operand, ...], last: list[Any], dot: Any, variables: dict[str, Any]) -> Any:
        """and: the first that is false, or the last; or: the first that is true, or the last."""
        value: Any = None
        for operand in rest:
            value = self._operand(operand, dot, variables)
            if functions.is_true(value) is (name == "or"):
                return value
        return last[0] if last else value

    def _operand(self, operand: Operand, dot: Any, variables: dict[str, Any]) -> Any:
        if isinstance(operand, Constant):
            return operand.value
        if isinstance(operand, Function):
            return self._command((operand,), [], dot, variables)
        if isinstance(operand.base, Pipeline):
            value = self._value(operand.base, dot, variables)
        else:
            value = dot if operand.base == "." else variables[operand.base]
        for name in operand.fields:
            if not isinstance(value, dict):
                raise ExpansionFailed(f"can't evaluate field {name} in {go_text(value)}")
            value = value.get(name, "")
        return value

    def _ask(self, expression: Any) -> list[Any]:
        if self._query is None:
            raise ExpansionFailed("query() cannot be used here")
        self._query_count += 1
        if self._query_count > QUERY_COUNT_MAX:
            raise ExpansionFailed(f"the template asks more than {QUERY_COUNT_MAX} queries")
        return [{"Labels": dict(labels), "Value": value} for labels, value in self._query(functions.text(expression))]


def _shown(value: Any) -> str:
    return humanize_timestamp(value.timestamp()) if isinstance(value, datetime) else go_text(value)
