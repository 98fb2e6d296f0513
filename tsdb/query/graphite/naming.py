"""The parts of a name: which path a series came from, and its nodes."""

from __future__ import annotations

from collections.abc import Sequence

from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.grammar import Call, Expression, Path, Template, parse_target
from tsdb.query.graphite.series import Series


def first_path(name: str) -> str:
    """`a.b.c` of `scale(a.b.c,3)`; a name that is no target is its own path."""
    try:
        expression: Expression = parse_target(name)
    except BadTarget:
        return name
    while not isinstance(expression, Path):
        inner = expression.inner if isinstance(expression, Template) else None
        if isinstance(expression, Call):
            inner = next((one for one in expression.arguments if isinstance(one, Path | Call | Template)), None)
        if inner is None:
            return name
        expression = inner
    return expression.text


def node_or_tag(series: Series, which: int | str) -> str:
    """A node of the path by its number, from the end if negative, or a tag by its name; empty where there is none."""
    if isinstance(which, str):
        return series.tags.get(which, "")
    nodes = first_path(series.name).partition(";")[0].split(".")
    return nodes[which] if -len(nodes) <= which < len(nodes) else ""


def key_of(series: Series, which: Sequence[int | str]) -> str:
    return ".".join(node_or_tag(series, one) for one in which)
