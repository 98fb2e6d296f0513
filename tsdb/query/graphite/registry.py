"""The functions of the render language as data: names, groups, parameters, and what a call of them may hold.

From this table calls are checked, `/functions` answers and the docs are made.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tsdb.query.graphite.attime import seconds_of
from tsdb.query.graphite.errors import BadTarget, BadTime
from tsdb.query.graphite.series import Series


class Kind(StrEnum):
    """What a parameter takes, in graphite-web's words."""

    SERIES_LIST = "seriesList"
    SERIES_LISTS = "seriesLists"
    FLOAT = "float"
    INTEGER = "integer"
    INTEGER_OR_INF = "intOrInf"
    INTEGER_OR_INTERVAL = "intOrInterval"
    INTERVAL = "interval"
    STRING = "string"
    BOOLEAN = "boolean"
    NODE = "node"
    NODE_OR_TAG = "nodeOrTag"
    TAG = "tag"
    DATE = "date"
    AGGREGATION = "aggFunc"
    AGGREGATION_OR_SERIES_FUNCTION = "aggOrSeriesFunc"
    ANY = "any"


class _Missing:
    def __repr__(self) -> str:
        return "no default"


NO_DEFAULT = _Missing()


@dataclass(frozen=True, slots=True)
class Parameter:
    """multiple: any number of arguments from here on. default: what stands in for it; None where there is none."""

    name: str
    kind: Kind
    required: bool = False
    default: Any = NO_DEFAULT
    multiple: bool = False
    options: tuple[Any, ...] = ()
    suggestions: tuple[Any, ...] = ()


def required(name: str, kind: Kind, **more: Any) -> Parameter:
    return Parameter(name, kind, required=True, **more)


def optional(name: str, kind: Kind, default: Any = NO_DEFAULT, **more: Any) -> Parameter:
    return Parameter(name, kind, default=default, **more)


SERIES_LIST = required("seriesList", Kind.SERIES_LIST)
SERIES_LISTS = required("seriesLists", Kind.SERIES_LIST, multiple=True)


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    group: str
    parameters: tuple[Parameter, ...]
    run: Callable[..., list[Series]]

    @property
    def description(self) -> str:
        return inspect.getdoc(self.run) or ""

    def bound(self, positional: Sequence[Any], named: Sequence[tuple[str, Any]]) -> list[Any]:
        """The arguments in the order of the parameters, checked and converted. Raises: BadTarget."""
        values: list[Any] = []
        by_name = dict(named)
        if unknown := by_name.keys() - {parameter.name for parameter in self.parameters}:
            known = ", ".join(parameter.name for parameter in self.parameters)
            raise BadTarget(f"{self.name}() has no parameter {min(unknown)!r}; it has {known}")
        rest = list(positional)
        for parameter in self.parameters:
            if parameter.multiple:
                values += [self._converted(parameter, one) for one in rest]
                rest = []
                continue
            if rest:
                if parameter.name in by_name:
                    raise BadTarget(f"{self.name}() got two values for its argument {parameter.name}")
                given = rest.pop(0)
            elif parameter.name in by_name:
                given = by_name[parameter.name]
            elif parameter.required:
                raise BadTarget(f"{self.name}() needs an argument {parameter.name}")
            else:
                values.append(None if parameter.default is NO_DEFAULT else parameter.default)
                continue
            values.append(self._converted(parameter, given))
        if rest:
            raise BadTarget(f"{self.name}() takes at most {len(self.parameters)} arguments, not {len(positional)}")
        return values

    def _converted(self, parameter: Parameter, given: Any) -> Any:
        if given is None and not parameter.required:
            return None if parameter.default is NO_DEFAULT else parameter.default
        try:
            return _CONVERSIONS[parameter.kind](given)
        except BadTime as error:
            raise BadTarget(f"{self.name}(): argument {parameter.name}: {error}") from None
        except (TypeError, ValueError, OverflowError):
            shown = "a list of series" if isinstance(given, list) else repr(given)
            raise BadTarget(
                f"{self.name}(): argument {parameter.name} is {shown}, but must be {_WORDS[parameter.kind]}"
            ) from None


FUNCTIONS: dict[str, Function] = {}


def function(
    *names: str, group: str, parameters: Sequence[Parameter] = ()
) -> Callable[[Callable[..., list[Series]]], Callable[..., list[Series]]]:
    """Enter a function under its names. It is called with the Invocation and its arguments by position."""

    def entered(run: Callable[..., list[Series]]) -> Callable[..., list[Series]]:
        for name in names:
            assert name not in FUNCTIONS, name
            FUNCTIONS[name] = Function(name, group, tuple(parameters), run)
        return run

    return entered


def _series(given: Any) -> list[Series]:
    if not isinstance(given, list):
        raise TypeError
    return given


def _number(given: Any) -> float:
    if isinstance(given, bool | list):
        raise TypeError
    value = float(given)
    if math.isnan(value):
        raise ValueError
    return value


def _integer(given: Any) -> int:
    value = _number(given)
    if value != int(value):
        raise ValueError
    return int(value)


def _integer_or_inf(given: Any) -> float:
    return math.inf if given in (math.inf, "inf", "INF", "Inf") else _integer(given)


def _text(given: Any) -> str:
    if isinstance(given, list) or given is None:
        raise TypeError
    if isinstance(given, bool):
        return "true" if given else "false"
    return str(given)


def _boolean(given: Any) -> bool:
    if isinstance(given, str) and given.lower() in ("true", "false"):
        return given.lower() == "true"
    if isinstance(given, bool) or given in (0, 1):
        return bool(given)
    raise TypeError


def _node_or_tag(given: Any) -> int | str:
    if isinstance(given, str):
        return int(given) if given.lstrip("-").isdecimal() else given
    return _integer(given)


def _interval(given: Any) -> str:
    """Raises: BadTime, here and not within the function, where nobody knows the argument's name."""
    seconds_of(text := _text(given))
    return text


def _integer_or_interval(given: Any) -> int | str:
    return _interval(given) if isinstance(given, str) else _integer(given)


_CONVERSIONS: dict[Kind, Callable[[Any], Any]] = {
    Kind.SERIES_LIST: _series,
    Kind.SERIES_LISTS: _series,
    Kind.FLOAT: _number,
    Kind.INTEGER: _integer,
    Kind.INTEGER_OR_INF: _integer_or_inf,
    Kind.INTEGER_OR_INTERVAL: _integer_or_interval,
    Kind.INTERVAL: _interval,
    Kind.STRING: _text,
    Kind.BOOLEAN: _boolean,
    Kind.NODE: _integer,
    Kind.NODE_OR_TAG: _node_or_tag,
    Kind.TAG: _text,
    Kind.DATE: _text,
    Kind.AGGREGATION: _text,
    Kind.AGGREGATION_OR_SERIES_FUNCTION: _text,
    Kind.ANY: lambda given: given,
}
_WORDS: dict[Kind, str] = {
    Kind.SERIES_LIST: "series: a path or a call",
    Kind.SERIES_LISTS: "lists of series",
    Kind.FLOAT: "a number",
    Kind.INTEGER: "a whole number",
    Kind.INTEGER_OR_INF: "a whole number or inf",
    Kind.INTEGER_OR_INTERVAL: "a number of points or an interval such as '5min'",
    Kind.INTERVAL: "an interval such as '5min'",
    Kind.STRING: "a text",
    Kind.BOOLEAN: "true or false",
    Kind.NODE: "the number of a node",
    Kind.NODE_OR_TAG: "the number of a node or the name of a tag",
    Kind.TAG: "the name of a tag",
    Kind.DATE: "a time",
    Kind.AGGREGATION: "the name of an aggregation",
    Kind.AGGREGATION_OR_SERIES_FUNCTION: "the name of an aggregation or a function",
    Kind.ANY: "anything",
}
