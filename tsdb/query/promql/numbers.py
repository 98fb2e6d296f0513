"""Numbers as Prometheus writes them in labels and messages."""

from __future__ import annotations

import math

SHORT_POWER_MAX = 6  # From 10^6 on numbers are written with an exponent.


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


def short_text_of_number(value: float) -> str:
    """The shortest text that reads back, with an exponent for the very large and small (Go's %g)."""
    if math.isnan(value) or math.isinf(value) or value == 0:
        return "-0" if value == 0 and math.copysign(1.0, value) < 0 else text_of_number(value)
    digits = len(repr(abs(value)).partition("e")[0].replace(".", "").strip("0"))
    mantissa, _, exponent = f"{value:.{max(digits - 1, 0)}e}".partition("e")
    power = int(exponent)
    if -4 <= power < SHORT_POWER_MAX:
        return text_of_number(value)
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def metric_text_of_number(value: float) -> str:
    """As OpenMetrics writes numbers in labels: always with a point or an exponent."""
    text = short_text_of_number(value)
    return text if math.isnan(value) or math.isinf(value) or "." in text or "e" in text else f"{text}.0"
