"""Functions that change labels, or order rows by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsdb import regex
from tsdb.errors import QueryFailed, QueryTooLarge, RefusedQuery
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.labels import united, value_of, with_label
from tsdb.query.promql.nodes import Call
from tsdb.query.promql.values import Value, Vector
from tsdb.sample import METRIC_NAME, Labels

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

ROWS = 20_000  # Matched between two looks at the clock: tens of milliseconds, for most patterns.
# The longest that is stored has 4,096 bytes. One label_join in another doubles a value; a hundred of them may stand in
# an expression.
VALUE_CHARACTERS_MAX = 16_384
LONG_CHARACTERS = 256  # What is shorter is in what the ledger counts for each series.
PLACEHOLDER = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


def _expanded(template: str, found: Any) -> str:
    """Fill `$1`, `${1}` and `${name}`; what does not exist is empty. Source: Go's regexp.Expand."""

    def group(placeholder: re.Match[str]) -> str:
        if placeholder.group(1):
            return "$"
        name = placeholder.group(2) or placeholder.group(3)
        try:
            return (found.group(int(name) if name.isdigit() else name) or b"").decode(errors="replace")
        except (IndexError, KeyError):
            return ""

    return PLACEHOLDER.sub(group, template)


def _check_label_name(name: str, function: str) -> None:
    if not name:
        raise QueryFailed(f'invalid destination label name in {function}(): "{name}"')


def _relabelled(vector: Vector, labels: list[Labels], target: str, changed: list[bool]) -> Vector:
    """Rows with new labels; a metric name that is set anew stays in the answer."""
    unnamed = vector.unnamed
    if target == METRIC_NAME:
        unnamed = unnamed & ~np.array(changed, np.bool_)
    return united(Vector(labels, vector.cells, unnamed))


def _compiled(pattern: str) -> Any:
    try:
        return regex.compiled(pattern)
    except RefusedQuery:
        raise QueryFailed(f"invalid regular expression in label_replace(): {pattern}") from None


def _with_values(
    evaluator: Evaluator, node: Call, rows: Sequence[Labels], target: str, values: Iterable[str | None]
) -> list[Labels]:
    """Each row with its value; None leaves it as it is. Raises: QueryTooLarge, for what labels do not have."""
    labels = []
    for number, (row, value) in enumerate(zip(rows, values, strict=True)):
        if number % ROWS == 0:
            evaluator.ledger.check()
        if value is not None and len(value) > LONG_CHARACTERS:
            if len(value) > VALUE_CHARACTERS_MAX:
                raise QueryTooLarge(
                    f"{node.name}() makes a value of label {target!r} of {len(value):,} characters, of at most "
                    f"{VALUE_CHARACTERS_MAX:,}; shorten its source"
                )
            evaluator.ledger.keep(len(value))
        labels.append(row if value is None else with_label(row, target, value))
    return labels


def _label_replace(evaluator: Evaluator, node: Call) -> Value:
    vector = evaluator.vector(node.arguments[0])
    target, replacement, source, pattern = (evaluator.text(argument) for argument in node.arguments[1:])
    compiled = _compiled(pattern)
    _check_label_name(target, "label_replace")
    found: list[Any] = []
    for start in range(0, vector.row_count, ROWS):
        evaluator.ledger.check()
        found += [compiled.fullmatch(value_of(row, source).encode()) for row in vector.labels[start : start + ROWS]]
    values = (None if match is None else _expanded(replacement, match) for match in found)
    labels = _with_values(evaluator, node, vector.labels, target, values)
    return _relabelled(vector, labels, target, [match is not None for match in found])


def _label_join(evaluator: Evaluator, node: Call) -> Value:
    vector = evaluator.vector(node.arguments[0])
    target, separator, *sources = (evaluator.text(argument) for argument in node.arguments[1:])
    _check_label_name(target, "label_join")
    values = (separator.join([value_of(row, source) for source in sources]) for row in vector.labels)
    labels = _with_values(evaluator, node, vector.labels, target, values)
    return _relabelled(vector, labels, target, [True] * vector.row_count)


def _natural_key(text: str) -> list[tuple[int, int, str]]:
    """Runs of digits compare as numbers, so that `cpu2` comes before `cpu10`."""
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", text)]


def _sorted_by_label(*, descending: bool) -> Function:
    def call(evaluator: Evaluator, node: Call) -> Value:
        vector = evaluator.vector(node.arguments[0])
        names = [evaluator.text(argument) for argument in node.arguments[1:]]
        if not vector.row_count:
            return vector
        order = sorted(
            range(vector.row_count),
            key=lambda i: ([_natural_key(value_of(vector.labels[i], name)) for name in names], vector.labels[i]),
            reverse=descending,
        )
        return vector.rows(np.array(order, np.int64))

    return call


def _sorted_by_value(*, descending: bool) -> Function:
    """NaN comes last either way; only an instant answer has an order."""

    def call(evaluator: Evaluator, node: Call) -> Value:
        vector = evaluator.vector(node.arguments[0]).filled_rows()
        if evaluator.steps.count > 1 or not vector.row_count:
            return vector
        value = vector.cells.value[:, 0]
        return vector.rows(np.argsort(-value if descending else value, kind="stable"))

    return call


FUNCTIONS: dict[str, Function] = {
    "label_replace": _label_replace,
    "label_join": _label_join,
    "sort": _sorted_by_value(descending=False),
    "sort_desc": _sorted_by_value(descending=True),
    "sort_by_label": _sorted_by_label(descending=False),
    "sort_by_label_desc": _sorted_by_label(descending=True),
}
