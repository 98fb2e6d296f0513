"""The parts of a name: which path a series came from, and its nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.grammar import TARGET_SIZE_MAX, Call, Expression, Path, Template, parse_target
from tsdb.query.graphite.series import Series

# A plain path, or one call of it with texts behind it, as summarize() names what it gives: read without the grammar,
# which takes a hundred times as long. The path begins with a letter and has a dot, so that it is no value.
_USUAL = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+)"
    r'|(?!template\()[A-Za-z_][A-Za-z0-9_]*\(([A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+)(?:, "[^"\\\n]*")*\))'
)


def first_path(name: str) -> str:
    """`a.b.c` of `scale(a.b.c,3)`; a name that is no target is its own path."""
    if len(name) <= TARGET_SIZE_MAX and (usual := _USUAL.fullmatch(name)) is not None:
        return usual[1] or usual[2]
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
