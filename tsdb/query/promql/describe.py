"""An expression as data: its formatted text and its syntax tree, as Prometheus' HTTP API tells them.

Source of the tree's shape: web/api/v1/translate_ast.go of Prometheus 3.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import promql_parser

from tsdb.errors import RefusedQuery
from tsdb.query.promql.numbers import text_of_number
from tsdb.query.promql.parse import EPOCH, MILLISECOND, parse_tree

Tree = dict[str, Any]

MATCH_WORDS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
CARDINALITY_WORDS = {
    "OneToOne": "one-to-one",
    "ManyToOne": "many-to-one",
    "OneToMany": "one-to-many",
    "ManyToMany": "many-to-many",
}
SCALARS = frozenset({"scalar", "time", "pi"})


def formatted(expression: str) -> str:
    """The expression in its canonical form, long ones over several lines. Raises: RefusedQuery, NotSupported."""
    return str(parse_tree(expression)[0].prettify())


def tree_json(expression: str) -> bytes:
    """The syntax tree as JSON. Raises: RefusedQuery, NotSupported."""
    try:
        return msgspec.json.encode(_tree(parse_tree(expression)[0]))
    except RecursionError:
        raise RefusedQuery("the expression is too deep for a tree; split it into recording rules") from None


def _tree(node: Any) -> Tree:
    tree: Tree = _TREES[type(node)](node)
    return tree


def _aggregation(node: Any) -> Tree:
    modifier = node.modifier
    return {
        "type": "aggregation",
        "op": str(node.op),
        "expr": _tree(node.expr),
        "param": None if node.param is None else _tree(node.param),
        "grouping": list(modifier.labels) if modifier else [],
        "without": bool(modifier) and modifier.type == promql_parser.AggModifierType.Without,
    }


def _binary(node: Any) -> Tree:
    """A chain of operators leans to the left and may be a thousand long, so it is walked, not recursed into."""
    chain = []
    while isinstance(node, promql_parser.BinaryExpr):
        chain.append(node)
        node = node.lhs
    tree, is_scalar = _tree(node), _is_scalar(node)
    for link in reversed(chain):
        is_right_scalar = _is_scalar(link.rhs)
        tree = {
            "type": "binaryExpr",
            "op": str(link.op),
            "lhs": tree,
            "rhs": _tree(link.rhs),
            "matching": None if is_scalar or is_right_scalar else _matching(link),
            "bool": bool(link.modifier and link.modifier.return_bool),
        }
        is_scalar = is_scalar and is_right_scalar
    return tree


def _matching(node: Any) -> Tree:
    """Of operators between two vectors, also where none is written."""
    is_set = str(node.op) in ("and", "or", "unless")
    if node.modifier is None:
        return {"card": "many-to-many" if is_set else "one-to-one", "labels": [], "on": False, "include": []}
    matched = node.modifier.matching
    card = CARDINALITY_WORDS[str(node.modifier.card).rpartition(".")[2]]
    return {
        "card": "many-to-many" if is_set else card,
        "labels": list(matched.labels) if matched else [],
        "on": bool(matched) and matched.type == promql_parser.LabelModifierType.Include,
        "include": list(node.modifier.group_labels or ()),
    }


def _is_scalar(node: Any) -> bool:
    if isinstance(node, promql_parser.ParenExpr | promql_parser.UnaryExpr):
        return _is_scalar(node.expr)
    while isinstance(node, promql_parser.BinaryExpr):
        if not _is_scalar(node.rhs):
            return False
        node = node.lhs
    if isinstance(node, promql_parser.Call):
        return node.func.name in SCALARS
    return isinstance(node, promql_parser.NumberLiteral)


def _call(node: Any) -> Tree:
    function = node.func
    return {
        "type": "call",
        "func": {
            "name": function.name,
            "argTypes": [_type_word(kind) for kind in function.arg_types],
            "variadic": function.variadic,
            "returnType": _type_word(function.return_type),
        },
        "args": [_tree(argument) for argument in node.args],
    }


def _type_word(kind: Any) -> str:
    return str(kind).rpartition(".")[2].lower()


def _selector(node: Any) -> Tree:
    matchers = [
        {"name": matcher.name, "type": MATCH_WORDS[str(matcher.op).rpartition(".")[2]], "value": matcher.value}
        for matcher in node.matchers.matchers
    ]
    if node.name is not None:
        matchers.append({"name": "__name__", "type": "=", "value": node.name})
    return {"type": "vectorSelector", "name": node.name or "", "matchers": matchers, **_moment(node)}


def _matrix_selector(node: Any) -> Tree:
    return {**_selector(node.vector_selector), "type": "matrixSelector", "range": _milliseconds(node.range)}


def _subquery(node: Any) -> Tree:
    return {
        "type": "subquery",
        "expr": _tree(node.expr),
        "range": _milliseconds(node.range),
        "step": _milliseconds(node.step),
        **_moment(node),
    }


def _moment(node: Any) -> Tree:
    """offset and @; `timestamp` in milliseconds, `startOrEnd` by its word."""
    timestamp_ms, anchor = None, None
    if node.at is not None:
        if node.at.type == promql_parser.AtModifierType.Start:
            anchor = "start"
        elif node.at.type == promql_parser.AtModifierType.End:
            anchor = "end"
        else:
            timestamp_ms = round((node.at.at - EPOCH) / MILLISECOND)
    return {"offset": _milliseconds(node.offset), "timestamp": timestamp_ms, "startOrEnd": anchor}


def _milliseconds(duration: timedelta | None) -> int:
    return 0 if duration is None else int(duration / MILLISECOND)


_TREES: dict[type, Any] = {
    promql_parser.AggregateExpr: _aggregation,
    promql_parser.BinaryExpr: _binary,
    promql_parser.Call: _call,
    promql_parser.MatrixSelector: _matrix_selector,
    promql_parser.NumberLiteral: lambda node: {"type": "numberLiteral", "val": text_of_number(node.val)},
    promql_parser.ParenExpr: lambda node: {"type": "parenExpr", "expr": _tree(node.expr)},
    promql_parser.StringLiteral: lambda node: {"type": "stringLiteral", "val": node.val},
    promql_parser.SubqueryExpr: _subquery,
    promql_parser.UnaryExpr: lambda node: {"type": "unaryExpr", "op": "-", "expr": _tree(node.expr)},
    promql_parser.VectorSelector: _selector,
}
