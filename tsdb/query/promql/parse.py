"""Expression text → syntax tree, by the promql-parser library behind the guard."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import promql_parser

from tsdb import regex
from tsdb.errors import NotSupported, RefusedQuery
from tsdb.query.promql import nodes
from tsdb.query.promql.guard import NESTING_MAX, Token, refuse_unbuilt, scan
from tsdb.query.promql.locate import error_text
from tsdb.query.promql.places import Places
from tsdb.sample import METRIC_NAME, Matcher, MatchOp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

# Dashboards ask the same again and again, with other times. A tree takes up to 210 bytes for each character of its text
# (a sum of names of one letter): 27 MiB, if all were so; a usual one takes 20.
KEPT_COUNT_MAX = 256
KEPT_CHARS_MAX = 512

TOO_LARGE = "1:1: parse error: a duration or an @ time is too large; times end with the year 9999"
GRAPHITE_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w*-]+)+")
MATCH_OPS = {"Equal": MatchOp.EQUAL, "NotEqual": MatchOp.NOT_EQUAL, "Re": MatchOp.REGEX, "NotRe": MatchOp.NOT_REGEX}
CARDINALITIES = {
    "OneToOne": nodes.Cardinality.ONE_TO_ONE,
    "ManyToOne": nodes.Cardinality.MANY_TO_ONE,
    "OneToMany": nodes.Cardinality.ONE_TO_MANY,
    "ManyToMany": nodes.Cardinality.MANY_TO_MANY,
}


def parse_tree(expression: str) -> tuple[Any, list[Token]]:
    """The parser library's own tree of an expression, and its tokens.

    Raises: RefusedQuery, whose text begins with the position; NotSupported.
    """
    tokens = scan(expression)
    try:
        return promql_parser.parse(expression), tokens
    except ValueError as error:
        refuse_unbuilt(tokens)
        message = f"{error_text(expression, tokens, str(error))}{_path_hint(expression)}"
        raise RefusedQuery(message) from None
    except BaseException as error:
        # The library panics over a number of seconds that is none: `[1e400]`. Its exception has no name to import.
        if type(error).__name__ != "PanicException":
            raise
        raise RefusedQuery(TOO_LARGE) from None


def parse(expression: str) -> nodes.Node:
    """Read an expression; the tree of a short one is kept, for it never changes.

    Raises: RefusedQuery, whose text begins with the position; NotSupported.
    """
    return _kept(expression) if len(expression) <= KEPT_CHARS_MAX else _parsed(expression)


def _parsed(expression: str) -> nodes.Node:
    tree, tokens = parse_tree(expression)
    try:
        return _Reader(Places(expression, tokens)).node(tree, 0)
    except (ValueError, OverflowError):
        # The library holds times in 64 bits and fails when Python asks for what did not fit.
        raise RefusedQuery(TOO_LARGE) from None


_kept = lru_cache(maxsize=KEPT_COUNT_MAX)(_parsed)


def _path_hint(expression: str) -> str:
    """How to write a Graphite path, if there seems to be one."""
    without_strings = re.sub(r"\"[^\"]*\"|'[^']*'|`[^`]*`", '""', expression)
    path = GRAPHITE_PATH.search(without_strings)
    if path is None:
        return ""
    return f'; a metric name with dots is written in quotes and braces: {{"{path.group()}"}}'


class _Reader:
    """Turns the library's tree into ours. Calls are met in the order in which they stand in the text."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def node(self, tree: Any, depth: int) -> nodes.Node:
        if depth > NESTING_MAX:
            raise RefusedQuery(f"the expression is nested deeper than {NESTING_MAX}; split it into recording rules")
        while isinstance(tree, promql_parser.ParenExpr):
            tree = tree.expr
        if isinstance(tree, promql_parser.BinaryExpr):
            return self._binary(tree, depth)
        convert = CONVERTERS.get(type(tree))
        if convert is None:
            raise NotSupported(type(tree).__name__)
        node: nodes.Node = convert(self, tree, depth + 1)
        return node

    def _binary(self, tree: Any, depth: int) -> nodes.Node:
        """A chain of operators leans to the left and may be a thousand long, so it is walked, not recursed into."""
        chain = []
        while isinstance(tree, promql_parser.BinaryExpr):
            chain.append((str(tree.op), tree.rhs, tree.modifier))
            tree = tree.lhs
            while isinstance(tree, promql_parser.ParenExpr):
                tree = tree.expr
        left = self.node(tree, depth + 1)
        for operator, right, modifier in reversed(chain):
            matching = _matching(modifier, operator)
            left = nodes.Binary(
                operator, left, self.node(right, depth + 1), matching, bool(modifier and modifier.return_bool)
            )
        return left

    def subquery(self, tree: Any, depth: int) -> nodes.Subquery:
        step_ms = None if tree.step is None else _milliseconds(tree.step)
        inner = self.node(tree.expr, depth)
        return nodes.Subquery(inner, _milliseconds(tree.range), step_ms, _moment(tree.offset, tree.at))

    def aggregation(self, tree: Any, depth: int) -> nodes.Aggregation:
        name, modifier = str(tree.op), tree.modifier
        places = self._places.of_call(name)
        parameter = None if tree.param is None else self.node(tree.param, depth)
        return nodes.Aggregation(
            name=name,
            inner=self.node(tree.expr, depth),
            parameter=parameter,
            labels=tuple(modifier.labels) if modifier else (),
            is_without=bool(modifier) and modifier.type == promql_parser.AggModifierType.Without,
            parameter_place=places[0] if places else "",
        )

    def call(self, tree: Any, depth: int) -> nodes.Call:
        name = tree.func.name
        places = self._places.of_call(name)
        return nodes.Call(name, tuple(self.node(argument, depth) for argument in tree.args), places)


def _matching(modifier: Any, operator: str) -> nodes.Matching:
    many = nodes.Cardinality.MANY_TO_MANY if operator in nodes.SET_OPERATORS else nodes.Cardinality.ONE_TO_ONE
    if modifier is None:
        return nodes.Matching(many)
    matched = modifier.matching
    fill = modifier.fill_values
    return nodes.Matching(
        cardinality=CARDINALITIES[str(modifier.card).rpartition(".")[2]] if many.value != "many-to-many" else many,
        labels=tuple(matched.labels) if matched else (),
        is_on=bool(matched) and matched.type == promql_parser.LabelModifierType.Include,
        included=tuple(modifier.group_labels or ()),
        fill_left=fill.lhs if fill else None,
        fill_right=fill.rhs if fill else None,
    )


def _milliseconds(duration: timedelta | None) -> int:
    if duration is None:
        return 0
    # Durations of the grammar are whole milliseconds; a number of seconds may be finer, and Prometheus cuts it.
    return int(duration / MILLISECOND)


def _moment(offset: timedelta | None, at: Any) -> nodes.Moment:
    offset_ms = _milliseconds(offset)
    if at is None:
        return nodes.Moment(offset_ms)
    if at.type == promql_parser.AtModifierType.Start:
        return nodes.Moment(offset_ms, nodes.Anchor.START)
    if at.type == promql_parser.AtModifierType.End:
        return nodes.Moment(offset_ms, nodes.Anchor.END)
    return nodes.Moment(offset_ms, round((at.at - EPOCH) / MILLISECOND))


def _selector(tree: Any) -> nodes.Selector:
    if tree.matchers.or_matchers:
        raise NotSupported("`or` between label matchers")
    matchers = [] if tree.name is None else [Matcher(METRIC_NAME, MatchOp.EQUAL, tree.name)]
    for matcher in tree.matchers.matchers:
        op = MATCH_OPS[str(matcher.op).rpartition(".")[2]]
        if op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
            regex.compiled(matcher.value)
        matchers.append(Matcher(matcher.name, op, matcher.value))
    return nodes.Selector(tuple(matchers), _moment(tree.offset, tree.at))


CONVERTERS: dict[type, Callable[[_Reader, Any, int], nodes.Node]] = {
    promql_parser.NumberLiteral: lambda _, tree, depth: nodes.Number(tree.val),
    promql_parser.StringLiteral: lambda _, tree, depth: nodes.Text(tree.val),
    promql_parser.UnaryExpr: lambda reader, tree, depth: nodes.Negation(reader.node(tree.expr, depth)),
    promql_parser.VectorSelector: lambda _, tree, depth: _selector(tree),
    promql_parser.MatrixSelector: lambda _, tree, depth: nodes.RangeSelector(
        _selector(tree.vector_selector), _milliseconds(tree.range)
    ),
    promql_parser.SubqueryExpr: _Reader.subquery,
    promql_parser.AggregateExpr: _Reader.aggregation,
    promql_parser.Call: _Reader.call,
}
