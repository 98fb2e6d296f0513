"""Which series carry which label: name → value → series, and the evaluation of matchers on it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from pyroaring import BitMap

from tsdb.errors import RefusedQuery
from tsdb.sample import SEPARATOR, Int32s, Matcher, MatchOp

# Characters that mean something in a regular expression; a pattern without them, but for `|`, is a list of literals.
_SPECIAL = frozenset(r"\.^$*+?{}[]()")


class Postings:
    """The inverted index of the series 0 … series_count - 1. Not safe for threads: its owner holds a lock.

    A value that one series has, such as a Graphite path, is held as that series' id alone, others as a roaring set.
    """

    def __init__(self) -> None:
        self._by_name: dict[bytes, dict[bytes, int | BitMap]] = {}
        self.series_count = 0

    def extend(self, canonical: Iterable[bytes]) -> None:
        """Index the next series, given as canonical label bytes in the order of their ids."""
        found: defaultdict[bytes, defaultdict[bytes, list[int]]] = defaultdict(lambda: defaultdict(list))
        series = self.series_count
        for one in canonical:
            parts = one.split(SEPARATOR)
            for name, value in zip(parts[:-1:2], parts[1::2], strict=True):
                found[name][value].append(series)
            series += 1
        for name, ids_of in found.items():
            held = self._by_name.setdefault(name, {})
            for value, ids in ids_of.items():
                before = held.get(value)
                if before is None:
                    held[value] = ids[0] if len(ids) == 1 else BitMap(ids)
                elif isinstance(before, int):
                    held[value] = BitMap([before, *ids])
                else:
                    before.update(ids)
        self.series_count = series

    def match(self, matchers: Sequence[Matcher]) -> Int32s:
        """The ids of the series that satisfy every matcher, rising. Raises: RefusedQuery, if a regex is wrong."""
        # What "" satisfies also holds for series without the label: such a matcher only takes series away.
        tests = [(matcher, value_test(matcher)) for matcher in matchers]
        chosen: BitMap | None = None
        for matcher, test in sorted(tests, key=lambda pair: pair[0].op is not MatchOp.EQUAL):
            if not test(""):
                found = self._having(matcher, test, is_literal_op=matcher.op in (MatchOp.EQUAL, MatchOp.REGEX))
                chosen = found if chosen is None else chosen & found
                if not chosen:
                    return np.empty(0, np.int32)
        if chosen is None:
            chosen = BitMap(range(self.series_count))
        for matcher, test in tests:
            if test(""):
                is_literal_op = matcher.op in (MatchOp.NOT_EQUAL, MatchOp.NOT_REGEX)
                chosen = chosen - self._having(matcher, _opposite(test), is_literal_op=is_literal_op)
        return np.array(chosen.to_array(), dtype=np.int32)

    def names(self) -> list[str]:
        return [name.decode() for name in self._by_name]

    def values(self, name: str, among: Int32s | None = None) -> list[str]:
        """The values of a label, of the given series alone if some are given; in no order."""
        by_value = self._by_name.get(name.encode(), {})
        if among is None or among.size == self.series_count:
            return [value.decode() for value in by_value]
        wanted = BitMap(among)
        return [
            value.decode()
            for value, ids in by_value.items()
            if (ids in wanted if isinstance(ids, int) else wanted.intersect(ids))
        ]

    def having(self, name: str) -> BitMap:
        """The series that have a label."""
        held = self._by_name.get(name.encode(), {}).values()
        chosen = BitMap.union(*[ids for ids in held if not isinstance(ids, int)], BitMap())
        chosen.update([ids for ids in held if isinstance(ids, int)])
        return chosen

    def _having(self, matcher: Matcher, test: Callable[[str], bool], *, is_literal_op: bool) -> BitMap:
        """The series whose value of the matcher's label is there and passes the test; not to be changed.

        is_literal_op: a pattern of literals names the very values that pass.
        """
        by_value = self._by_name.get(matcher.name.encode(), {})
        literals = _literals(matcher) if is_literal_op else None
        if literals is not None:
            held = [by_value[value] for value in literals if value in by_value]
        else:
            held = [ids for value, ids in by_value.items() if test(value.decode())]
        sets = [ids for ids in held if not isinstance(ids, int)]
        if len(sets) == len(held) == 1:
            return sets[0]
        chosen = BitMap.union(*sets) if sets else BitMap()
        chosen.update([ids for ids in held if isinstance(ids, int)])
        return chosen


def value_test(matcher: Matcher) -> Callable[[str], bool]:
    """The condition of one matcher on a value, its regex compiled once. Raises: RefusedQuery."""
    wanted = matcher.value
    if matcher.op is MatchOp.EQUAL:
        return lambda value: value == wanted
    if matcher.op is MatchOp.NOT_EQUAL:
        return lambda value: value != wanted
    try:
        fullmatch = re.compile(wanted, re.DOTALL).fullmatch
    except re.error as error:
        raise RefusedQuery(f"label {matcher.name}: the regular expression {wanted!r} is wrong: {error}") from error
    if matcher.op is MatchOp.REGEX:
        return lambda value: fullmatch(value) is not None
    return lambda value: fullmatch(value) is None


def _opposite(test: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda value: not test(value)


def _literals(matcher: Matcher) -> set[bytes] | None:
    """The values that the matcher's text names one by one; None if it is a pattern."""
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return {matcher.value.encode()}
    if _SPECIAL.isdisjoint(matcher.value):
        return {value.encode() for value in matcher.value.split("|")}
    return None
