"""A comparison as a person writes it, such as `> 90`. Pure."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    symbol: str
    limit: float

    def holds(self, value: float) -> bool:
        """NaN compares as in IEEE 754: only != holds for it."""
        return _OPERATORS[self.symbol](value, self.limit)

    def __str__(self) -> str:
        return f"{self.symbol} {self.limit:g}"


def parse_comparison(text: str) -> Comparison:
    """Read `> 90`. Raises: ValueError, with what is wrong."""
    found = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*", text)
    if found is None:
        raise ValueError(f"{text!r} is not a comparison: one of {' '.join(_OPERATORS)} and a number, such as > 90")
    try:
        limit = float(found[2])
    except ValueError:
        raise ValueError(f"{found[2]!r} in {text!r} is not a number") from None
    if math.isnan(limit):
        raise ValueError("nothing compares with NaN; give a number")
    return Comparison(found[1], limit)
