"""Expressions over the samples of twin_samples.py, made by a grammar from a seed, and made smaller again.

Each is written twice: for us, and for the release of Prometheus that the tests find, which is older than the one whose
answers are ours. See Span for windows. Operators that jump, such as comparisons, are put over exact operands only:
elsewhere the last bit of a sum, which nobody promises, would decide.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BESIDE = ("requests_total", "bytes_total", "visits_total", "load", "latency_bucket")
EVEN = ("even_gauge", "even_holes", "even:temperature:max", "even_build")
ODD = "even_special"
LABELS = ("job", "instance", "zone", "cpu", "version", "absent")
VALUES = ("api", "db", "höhe/ü", "a", "b", "c", "x", "v1", "")
PATTERNS = ("a.*", "api|db", ".+", "", ".*", "[ab]", "h.*", "x")

EXACT_OVER_TIME = ("min", "max", "sum", "count", "last", "present")
OVER_TIME = (*EXACT_OVER_TIME, "avg", "stddev", "stdvar")
CHANGES = ("changes", "resets", "idelta", "irate", "deriv")
# They know the length of the window. The first two are of counters, as long as those are far from zero, near which
# releases extrapolate otherwise.
EXTRAPOLATING = ("rate", "increase", "delta")
COUNTERS = ("requests_total", "bytes_total", "visits_total", "latency_bucket")
EXACT_MATH = ("abs", "ceil", "floor", "sgn", "round")
MATH = ("sqrt", "exp", "ln", "log2", "log10", "sin", "cos", "atan", "tanh", "asinh", "deg", "rad")
CALENDAR = (
    "minute hour day_of_week day_of_month day_of_year days_in_month month year".split()  # noqa: SIM905
)
EXACT_AGGREGATIONS = ("sum", "min", "max", "count", "group")
AGGREGATIONS = (*EXACT_AGGREGATIONS, "avg", "stddev", "stdvar")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
ARITHMETIC = ("+", "-", "*", "/", "^")
BETWEEN_VECTORS = (*ARITHMETIC, "atan2")  # Beside a number, the peer leaves the metric's name.
SETS = ("and", "or", "unless")
DEPTH_MAX = 4
STEP_MS_MAX = 300_000  # Of a subquery over a short window.


@dataclass(frozen=True, slots=True)
class Span:
    """The length of a window. The peer's windows include their start, ours do not, so its are 1 ms shorter.

    is_same: written alike for both, since the function knows the length; then no sample and no step may meet the start.
    """

    length_ms: int
    is_same: bool

    def text(self, *, is_peer: bool) -> str:
        return f"{self.length_ms - (1 if is_peer and not self.is_same else 0)}ms"


@dataclass(frozen=True, slots=True)
class Word:
    """What the peer has under another name."""

    ours: str
    peers: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an expression. kind: vector, scalar or range. plain: the same with less in it."""

    kind: str
    parts: tuple[str | Span | Word | Piece, ...]
    plain: Piece | None = None

    def text(self, *, is_peer: bool = False) -> str:
        return "".join(
            part.text(is_peer=is_peer)
            if isinstance(part, Piece | Span)
            else (part.peers if is_peer else part.ours)
            if isinstance(part, Word)
            else part
            for part in self.parts
        )

    def smaller(self) -> Iterator[Piece]:
        """Expressions with less in them, the least first."""
        inner = [part for part in self.parts if isinstance(part, Piece)]
        yield from (part for part in inner if part.kind == self.kind)
        if self.plain is not None:
            yield self.plain
        for place, part in enumerate(self.parts):
            if isinstance(part, Piece):
                for less in part.smaller():
                    yield dataclasses.replace(self, parts=(*self.parts[:place], less, *self.parts[place + 1 :]))


class Grammar:
    """Over the whole language, as far as the peer has it; chance decides."""

    def __init__(self, chance: random.Random, base_s: int, length_s: int) -> None:
        self._chance = chance
        self._base_s, self._length_s = base_s, length_s

    def expression(self) -> Piece:
        if self._chance.random() < 0.03:
            return self._bad()
        return self._scalar(DEPTH_MAX) if self._chance.random() < 0.05 else self._vector(DEPTH_MAX, is_exact=False)

    def _one(self, *of: str) -> str:
        return self._chance.choice(of)

    def _bad(self) -> Piece:
        """What both must refuse."""
        inner = self._vector(1, is_exact=False)
        return self._chance.choice(
            (
                Piece("vector", ("rate(", inner, ")")),
                Piece("vector", ("sum(1, ", inner, ")")),
                Piece("vector", (inner, " and 1")),
                Piece("vector", ("abs(", self._window(EVEN, is_same=False), ")")),
                Piece("vector", ("1 > 2 + ", inner, " >")),
                Piece("vector", ("label_replace(", inner, ', "a", "$1", "job", "(")')),
                Piece("vector", ("count_values(1, ", inner, ")")),
                Piece("vector", ("even_build * on (job) group_left (version) ", inner)),
            )
        )

    def _vector(self, depth: int, *, is_exact: bool) -> Piece:
        if depth <= 0:
            return self._selector((*BESIDE, *EVEN) if is_exact else (*BESIDE, *EVEN, ODD))
        makers: list[tuple[int, Callable[[int, bool], Piece]]] = [
            (3, lambda d, e: self._vector(0, is_exact=e)),
            (5, self._over_time),
            (4, self._aggregation),
            (5, self._binary),
            (3, self._call),
            (2, self._labelled),
        ]
        if not is_exact:
            makers += [(4, self._extrapolated), (3, self._inexact), (1, self._quantile)]
        weights, choices = zip(*makers, strict=True)
        return self._chance.choices(choices, weights)[0](depth - 1, is_exact)

    def _selector(self, metrics: tuple[str, ...]) -> Piece:
        metric = self._one(*metrics)
        plain = Piece("vector", (metric,))
        matchers = self._matchers()
        moment = self._moment()
        bare = Piece("vector", (metric, matchers), plain) if matchers else plain
        return Piece("vector", (metric, matchers, moment), bare) if moment else bare

    def _matchers(self) -> str:
        found = []
        while self._chance.random() < 0.35:
            op = self._one("=", "!=", "=~", "!~")
            found.append(f'{self._one(*LABELS)}{op}"{self._one(*(PATTERNS if "~" in op else VALUES))}"')
        return "{" + ",".join(found) + "}" if found else ""

    def _moment(self) -> str:
        kind = self._chance.random()
        offset = f" offset {self._one('', '-')}{self._one('30s', '5m', '17m', '1h', '1m10s')}"
        at = f" @ {self._one('start()', 'end()', str(self._base_s + self._chance.randrange(self._length_s)))}"
        return offset if kind < 0.15 else at if kind < 0.22 else offset + at if kind < 0.25 else ""

    def _length_ms(self) -> int:
        return self._chance.choice((15_000, 60_000, 90_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000))

    def _window(self, metrics: tuple[str, ...], *, is_same: bool, depth: int = 0) -> Piece:
        if depth > 0 and self._chance.random() < 0.3:
            return self._subquery(depth - 1, is_same=is_same)
        metric, matchers, moment = self._one(*metrics), self._matchers(), self._moment()
        span = Span(self._length_ms(), is_same)
        plain = Piece("range", (metric, "[", span, "]"))
        return Piece("range", (metric, matchers, "[", span, "]", moment), plain)

    def _moving(self, window: Piece) -> Piece:
        """The same without a modifier, which is the last part of a window."""
        return dataclasses.replace(window, parts=(*window.parts[:-1], "")) if "@" in str(window.parts[-1]) else window

    def _subquery(self, depth: int, *, is_same: bool) -> Piece:
        length_ms = self._length_ms() + (7 if is_same else 0)  # Its steps are at whole seconds.
        step = self._one("", "30s", "60s", "47s", "5m") if length_ms < 1_000_000 else self._one("60s", "5m", "7m")
        inner = self._vector(min(depth, 2), is_exact=True)
        if "@" in inner.text():
            # The peer evaluates what does not depend on the step once, also for a window without a step, and tells the
            # error of a vector that nobody sees; so there is one always.
            length_ms = max(length_ms, STEP_MS_MAX + 7)
        plain = Piece("range", ("(", inner, ")[", Span(length_ms, is_same), ":", step, "]"))
        return Piece("range", ("(", inner, ")[", Span(length_ms, is_same), ":", step, "]", self._moment()), plain)

    def _over_time(self, depth: int, is_exact: bool) -> Piece:
        name = self._one(*(EXACT_OVER_TIME if is_exact else OVER_TIME))
        metrics = (*BESIDE, *EVEN) if is_exact or name in ("stddev", "stdvar") else (*BESIDE, *EVEN, ODD)
        return Piece("vector", (f"{name}_over_time(", self._window(metrics, is_same=False, depth=depth), ")"))

    def _extrapolated(self, depth: int, is_exact: bool) -> Piece:
        del is_exact
        name = self._one(*EXTRAPOLATING)
        is_any = name == "delta"
        window = self._window(BESIDE if is_any else COUNTERS, is_same=True, depth=depth if is_any else 0)
        return Piece("vector", (name, "(", window, ")"))

    def _inexact(self, depth: int, is_exact: bool) -> Piece:
        del is_exact
        window = self._window((*BESIDE, *EVEN), is_same=False, depth=depth)
        return self._chance.choice(
            (
                Piece("vector", (self._one(*CHANGES), "(", window, ")")),
                # The peer moves a window that `@` should hold.
                Piece("vector", ("predict_linear(", self._moving(window), ", ", self._one("0", "600", "-60"), ")")),
                Piece("vector", ("quantile_over_time(", self._one("0.5", "0", "0.93", "1", "2"), ", ", window, ")")),
                Piece(
                    "vector",
                    (Word("double_exponential_smoothing", "holt_winters"), "(", window, ", 0.3, ", "0.6)"),
                ),
                Piece("vector", ("absent_over_time(", window, ")")),
                Piece("vector", (self._one(*MATH), "(", self._vector(depth, is_exact=False), ")")),
            )
        )

    def _quantile(self, depth: int, is_exact: bool) -> Piece:
        del is_exact
        inner: Piece = Piece("vector", ("latency_bucket",))
        if depth > 0 and self._chance.random() < 0.7:
            name = self._one("rate", "increase")
            inner = Piece("vector", (name, "(", self._window(("latency_bucket",), is_same=True), ")"), inner)
        if self._chance.random() < 0.5:
            inner = Piece("vector", ("sum by (le", self._one("", ", job"), ") (", inner, ")"), inner)
        return Piece("vector", ("histogram_quantile(", self._one("0.5", "0.937", "0", "1", "-1"), ", ", inner, ")"))

    def _grouping(self) -> str:
        names = ", ".join(self._chance.sample(LABELS, self._chance.randrange(3)))
        return self._one("", f" by ({names}) ", f" without ({names}) ")

    def _aggregation(self, depth: int, is_exact: bool) -> Piece:
        kind, grouping = self._chance.random(), self._grouping()
        if kind < 0.15:  # Of different values only: of equals nobody promises which.
            inner = self._selector(("even_gauge", "load", "even_holes"))
            return Piece(
                "vector", (self._one("topk", "bottomk"), grouping, f"({self._chance.randrange(4)}, ", inner, ")")
            )
        if kind < 0.2:
            return Piece("vector", ("count_values", grouping, '("v", ', self._vector(depth, is_exact=True), ")"))
        if kind < 0.28 and not is_exact:
            inner = self._vector(depth, is_exact=False)
            return Piece("vector", ("quantile", grouping, f"({self._one('0.5', '0.9', '-1', '1')}, ", inner, ")"))
        name = self._one(*(EXACT_AGGREGATIONS if is_exact else AGGREGATIONS))
        is_exact |= name in ("stddev", "stdvar")  # The peer has 0, not NaN, of one that is none.
        return Piece("vector", (name, grouping, "(", self._vector(depth, is_exact=is_exact), ")"))

    def _matching(self, *, is_set: bool) -> str:
        kind = self._chance.random()
        names = ", ".join(self._chance.sample(LABELS, self._chance.randrange(1, 4)))
        if kind < 0.35:
            return ""
        found = f" {self._one('on', 'on', 'ignoring')} ({names})"
        if not is_set and self._chance.random() < 0.4:
            found += f" {self._one('group_left', 'group_right')} ({self._one('', *LABELS)})"
        return found

    def _binary(self, depth: int, is_exact: bool) -> Piece:
        kind = self._chance.random()
        if kind < 0.3:
            op = self._one(*SETS)
            pair = [self._vector(depth - place, is_exact=is_exact) for place in (0, 1)]
            return Piece("vector", ("(", pair[0], f" {op}", self._matching(is_set=True), " ", pair[1], ")"))
        jumps = self._chance.random() < 0.5
        arithmetic = ARITHMETIC if kind < 0.6 else BETWEEN_VECTORS
        op = self._one(*(*COMPARISONS, "%") if jumps else ("+", "-") if is_exact else arithmetic)
        if op in COMPARISONS:
            op += self._one("", " bool")
        left = self._vector(depth, is_exact=is_exact or jumps)
        if kind < 0.6:
            number = Piece("scalar", (self._one("0", "3", "-64", "1000", *(() if is_exact else ("NaN", "Inf"))),))
            pair = [left, number] if self._chance.random() < 0.6 else [number, left]
            return Piece("vector", ("(", pair[0], f" {op} ", pair[1], ")"))
        matching = self._matching(is_set=False)
        right = self._vector(depth - 1, is_exact=is_exact or jumps)
        return Piece("vector", ("(", left, f" {op}", matching, " ", right, ")"))

    def _call(self, depth: int, is_exact: bool) -> Piece:
        inner = self._vector(depth, is_exact=True)
        return self._chance.choice(
            (
                Piece("vector", (self._one(*EXACT_MATH), "(", inner, ")")),
                Piece("vector", ("round(", inner, ", ", self._one("10", "64", "0.5"), ")")),
                Piece("vector", ("clamp(", inner, ", -50, ", self._one("700", "-100", "1e9"), ")")),
                Piece("vector", (self._one("clamp_min", "clamp_max"), "(", inner, ", 500)")),
                self._timestamp(inner),
                Piece("vector", ("-(", inner, ")")),
                Piece("vector", ("absent(", inner, ")")),
                Piece("vector", (self._one("sort", "sort_desc"), "(", inner, ")")),
                Piece("vector", ("vector(", self._scalar(depth), ")")) if not is_exact else inner,
                Piece("vector", (self._one(*CALENDAR), "(", self._timestamp(inner), ")")),
            )
        )

    def _timestamp(self, inner: Piece) -> Piece:
        """The peer finds no sample of a selector that has both `offset` and `@`."""
        text = inner.text()
        return Piece("vector", ("timestamp(", inner, " + 0)" if "offset" in text and "@" in text else ")"))

    def _labelled(self, depth: int, is_exact: bool) -> Piece:
        inner = self._vector(depth, is_exact=is_exact)
        target = self._one("job", "made", "instance", "__name__")
        source = self._one(*LABELS)
        pattern, text = self._chance.choice(
            (("(.*)", "$1"), ("a(.*)", "x$1"), (".*", ""), ("(.).*", "${1}-y"), ("b", "k"))
        )
        return self._chance.choice(
            (
                Piece("vector", ("label_replace(", inner, f', "{target}", "{text}", "{source}", "{pattern}")')),
                Piece("vector", ("label_join(", inner, f', "{target}", "-", "{source}", "job")')),
            )
        )

    def _scalar(self, depth: int) -> Piece:
        if depth <= 0:
            return Piece("scalar", (self._one("1", "-2.5", "time()", "pi()", "NaN"),))
        return self._chance.choice(
            (
                self._scalar(0),
                Piece("scalar", ("scalar(", self._vector(min(depth - 1, 2), is_exact=False), ")")),
                Piece("scalar", ("(", self._scalar(depth - 1), self._one(" + ", " * ", " / "), self._scalar(0), ")")),
                Piece("scalar", ("(", self._scalar(0), " > bool ", self._scalar(0), ")")),
            )
        )
