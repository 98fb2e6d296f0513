"""Numbers as Prometheus writes them in labels and messages."""

from __future__ import annotations

import math


def text_of_number(value: float) -> str:
    """The shortest decimal that reads back, without an exponent (Go's FormatFloat(value, 'f', -1, 64))."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    digits = repr(value)
    if "e" not in digits and "E" not in digits:
        return digits.removesuffix(".0")
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    mantissa, _, exponent = digits.partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent)
    figures = whole + fraction.rstrip("0")
    if point <= 0:
        return f"{sign}0.{'0' * -point}{figures}"
    return sign + (figures.ljust(point, "0") if point >= len(figures) else f"{figures[:point]}.{figures[point:]}")
