"""The syntax tree that is evaluated: plain data, times in ms, every choice of the grammar spelled out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from tsdb.sample import Matcher


class ValueType(Enum):
    """The types of PromQL; a MATRIX is what a matrix selector or a subquery gives."""

    SCALAR = "scalar"
    VECTOR = "instant vector"
    MATRIX = "range vector"
    STRING = "string"


class Anchor(Enum):
    """`@ start()` and `@ end()`: the ends of the whole query, whatever subquery they stand in."""

    START = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Moment:
    """When a selector is read: `at_ms` or an anchor instead of the evaluation time, then `offset_ms` earlier."""

    offset_ms: int = 0
    at: int | Anchor | None = None


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """An instant vector selector. alternatives: one list of matchers for each branch of `or`; usually one list."""

    matchers: tuple[Matcher, ...]
    moment: Moment


@dataclass(frozen=True, slots=True)
class RangeSelector:
    selector: Selector
    range_ms: int


@dataclass(frozen=True, slots=True)
class Subquery:
    inner: Node
    range_ms: int
    step_ms: int | None
    moment: Moment


@dataclass(frozen=True, slots=True)
class Negation:
    inner: Node


@dataclass(frozen=True, slots=True)
class Call:
    """`places`: where each argument begins, as `line:column`; where two calls stand does not make them differ."""

    name: str
    arguments: tuple[Node, ...]
    places: tuple[str, ...] = field(default=(), compare=False)

    def place(self, index: int) -> str:
        return self.places[index] if index < len(self.places) else ""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`labels` are those to keep, or those to drop if is_without. parameter_place: as in Call."""

    name: str
    inner: Node
    parameter: Node | None
    labels: tuple[str, ...]
    is_without: bool
    parameter_place: str = field(default="", compare=False)


class Cardinality(Enum):
    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"  # group_left
    ONE_TO_MANY = "one-to-many"  # group_right
    MANY_TO_MANY = "many-to-many"  # Set operators.


@dataclass(frozen=True, slots=True)
class Matching:
    """How the series of two vectors find each other: by `labels` (is_on), or by all others but the metric name."""

    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    labels: tuple[str, ...] = ()
    is_on: bool = False
    included: tuple[str, ...] = ()  # Labels that group_left(…) or group_right(…) copies from the "one" side.
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Node
    right: Node
    matching: Matching
    is_bool: bool


Node: TypeAlias = Number | Text | Selector | RangeSelector | Subquery | Negation | Call | Aggregation | Binary

COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
SET_OPERATORS = frozenset({"and", "or", "unless"})


def type_of(node: Node) -> ValueType:
    """What a node gives."""
    while isinstance(node, Negation):
        node = node.inner
    if isinstance(node, Number):
        return ValueType.SCALAR
    if isinstance(node, Text):
        return ValueType.STRING
    if isinstance(node, RangeSelector | Subquery):
        return ValueType.MATRIX
    if isinstance(node, Call):
        return ValueType.SCALAR if node.name in SCALAR_FUNCTIONS else ValueType.VECTOR
    if isinstance(node, Binary):
        # A chain of operators leans to the left, and may be a thousand long: no recursion along it.
        while isinstance(node, Binary):
            if type_of(node.right) is ValueType.VECTOR:
                return ValueType.VECTOR
            node = node.left
        return type_of(node)
    return ValueType.VECTOR


SCALAR_FUNCTIONS = frozenset({"time", "scalar", "pi", "step", "range", "start", "end", "min_of", "max_of"})
