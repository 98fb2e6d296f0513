"""Targets evaluated: paths fetched, functions called, templates filled in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tsdb.query.graphite import functions as _families  # noqa: F401  # They enter themselves into the table.
from tsdb.query.graphite.context import Context, Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.grammar import Call, Expression, Literal, Path, Template, Value, parse_target
from tsdb.query.graphite.registry import FUNCTIONS, Function
from tsdb.query.graphite.series import Series

_NUMBER = re.compile(r"-?[\d.]+")
SERIES_BY_TAG = "seriesByTag"


def render(context: Context, target: str) -> list[Series]:
    """The series of one target. Raises: BadTarget, BadTime."""
    found = _evaluate(context, parse_target(target))
    if not isinstance(found, list) or any(isinstance(one, list) for one in found):
        raise BadTarget(f"target {target[:80]!r} gives no series; lists of them are for reduceSeries()")
    return found


def _evaluate(context: Context, expression: Expression) -> Any:
    """A list of series, or the value that stands there."""
    if isinstance(expression, Value):
        return expression.value
    if isinstance(expression, Template):
        values = {**dict(expression.values), **context.template}
        return _evaluate(context, filled(expression.inner, values))
    if isinstance(expression, Path):
        return _fetched(context, context.storage.fetch(expression.text, context.start_s, context.end_s))
    return _called(context, expression)


def _fetched(context: Context, group: list[Series]) -> list[Series]:
    return [replace(one, x_files_factor=context.x_files_factor) for one in group] if context.x_files_factor else group


def _called(context: Context, call: Call) -> list[Series]:
    found = known(call.name)
    arguments, named, kept_count = [], [], 0
    for argument in call.arguments:
        arguments.append(_evaluate(context, argument))
        kept_count += context.account.keep(arguments[-1])
    for name, argument in call.named:
        named.append((name, _evaluate(context, argument)))
        kept_count += context.account.keep(named[-1][1])
    made = _run(context, found, call, arguments, named)
    context.account.release(kept_count)
    return made


def _run(
    context: Context,
    found: Function,
    call: Call,
    arguments: Sequence[Any],
    named: Sequence[tuple[str, Any]] = (),
) -> list[Series]:
    invocation = Invocation(
        name=found.name,
        context=context,
        arguments=call.arguments,
        text=call.text,
        evaluate=_evaluate,
        called=lambda name, values: _run(context, known(name), call, values),
    )
    return found.run(invocation, *found.bound(arguments, named))


def known(name: str) -> Function:
    """Raises: BadTarget, with the nearest name."""
    if (found := FUNCTIONS.get(name)) is not None:
        return found
    near = difflib.get_close_matches(name, FUNCTIONS, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise BadTarget(f"unknown function {name[:80]}(){hint}")


def filled(expression: Expression, values: Mapping[str, Literal]) -> Expression:
    """A template's expression with $name replaced; a path that is nothing else becomes the value itself."""
    if isinstance(expression, Path):
        return _filled_path(expression, values)
    if isinstance(expression, Call):
        arguments = tuple(filled(one, values) for one in expression.arguments)
        return Call(expression.name, arguments, tuple((name, filled(one, values)) for name, one in expression.named))
    if isinstance(expression, Template):
        return Template(filled(expression.inner, values), expression.values)
    return expression


def _filled_path(path: Path, values: Mapping[str, Literal]) -> Expression:
    text = path.text
    for name, value in values.items():
        if text == f"${name}":
            is_number = isinstance(value, str) and _NUMBER.fullmatch(value) is not None
            return Value(float(str(value)) if is_number else value)
        text = text.replace(f"${name}", str(value))
    return Path(text)
