"""Which series carry which label: name → value → series, and the evaluation of matchers on it."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from tsdb import regex
from tsdb.errors import QueryTooLarge, RefusedQuery
from tsdb.sample import SEPARATOR, Int32s, Matcher, MatchOp

# Characters that mean something in a regular expression; a pattern without them, but for `|`, is a list of literals.
_SPECIAL = frozenset(r"\.^$*+?{}[]()")
# A selector may look at the values of a label for so long; all other look-ups wait meanwhile.
_LOOKING_S_MAX = 10.0
_VALUES_BETWEEN_LOOKS_AT_THE_CLOCK = 4_096


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
        """The ids of the series that satisfy every matcher, rising.

        Raises: RefusedQuery, if a regex is wrong; QueryTooLarge, if it is too much work for the values there are.
        """
        # What "" satisfies also holds for series without the label: such a matcher only takes series away.
        tests = [(matcher, value_test(matcher)) for matcher in matchers]
        chosen: BitMap | None = None
        for matcher, test in sorted(tests, key=lambda pair: pair[0].op is not MatchOp.EQUAL):
            if not test(b""):
                found = self._having(matcher, test, is_literal_op=matcher.op in (MatchOp.EQUAL, MatchOp.REGEX))
                chosen = found if chosen is None else chosen & found
                if not chosen:
                    return np.empty(0, np.int32)
        if chosen is None:
            chosen = BitMap(range(self.series_count))
        for matcher, test in tests:
            if test(b""):
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

    def count_by_value(self, name: str, is_wanted: npt.NDArray[np.bool_]) -> dict[bytes, int]:
        wanted = BitMap(np.flatnonzero(is_wanted).tolist())
        found = self._by_name.get(name.encode(), {})
        return {
            value: int(ids in wanted) if isinstance(ids, int) else ids.intersection_cardinality(wanted)
            for value, ids in found.items()
        }

    def having(self, name: str) -> BitMap:
        """The series that have a label."""
        held = self._by_name.get(name.encode(), {}).values()
        chosen = BitMap.union(*[ids for ids in held if not isinstance(ids, int)], BitMap())
        chosen.update([ids for ids in held if isinstance(ids, int)])
        return chosen

    def _having(self, matcher: Matcher, test: Callable[[bytes], bool], *, is_literal_op: bool) -> BitMap:
        """The series whose value of the matcher's label is there and passes the test; not to be changed.

        is_literal_op: a pattern of literals names the very values that pass.
        """
        by_value = self._by_name.get(matcher.name.encode(), {})
        literals = _literals(matcher) if is_literal_op else None
        if literals is not None:
            held = [by_value[value] for value in literals if value in by_value]
        else:
            held = _passing(by_value, matcher, test)
        sets = [ids for ids in held if not isinstance(ids, int)]
        if len(sets) == len(held) == 1:
            return sets[0]
        chosen = BitMap.union(*sets) if sets else BitMap()
        chosen.update([ids for ids in held if isinstance(ids, int)])
        return chosen


def _passing(
    by_value: dict[bytes, int | BitMap], matcher: Matcher, test: Callable[[bytes], bool]
) -> list[int | BitMap]:
    """The series of each value that passes. Raises: QueryTooLarge."""
    found: list[int | BitMap] = []
    deadline_s = time.monotonic() + _LOOKING_S_MAX
    items = iter(by_value.items())
    while some := list(itertools.islice(items, _VALUES_BETWEEN_LOOKS_AT_THE_CLOCK)):
        if time.monotonic() > deadline_s:
            raise QueryTooLarge(
                f"label {matcher.name}: {matcher.value[:80]!r} has not been compared with all {len(by_value):,} values "
                f"within {_LOOKING_S_MAX:g} s; write a simpler regular expression"
            )
        found += [ids for value, ids in some if test(value)]
    return found


def value_test(matcher: Matcher) -> Callable[[bytes], bool]:
    """The condition of one matcher on a value, its regex compiled once. Raises: RefusedQuery."""
    wanted = matcher.value.encode()
    if matcher.op is MatchOp.EQUAL:
        return lambda value: value == wanted
    if matcher.op is MatchOp.NOT_EQUAL:
        return lambda value: value != wanted
    try:
        matches = regex.value_test(matcher.value)
    except RefusedQuery as error:
        raise RefusedQuery(f"label {matcher.name}: {error}") from None
    return matches if matcher.op is MatchOp.REGEX else _opposite(matches)


def _opposite(test: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    return lambda value: not test(value)


def _literals(matcher: Matcher) -> set[bytes] | None:
    """The values that the matcher's text names one by one; None if it is a pattern."""
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return {matcher.value.encode()}
    if _SPECIAL.isdisjoint(matcher.value):
        return {value.encode() for value in matcher.value.split("|")}
    return None
