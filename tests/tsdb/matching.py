"""What a matcher means, said once more in the plainest way: the twin of the store's for tests."""

from __future__ import annotations

from collections.abc import Iterable

from tsdb.regex import compiled
from tsdb.sample import Labels, Matcher, MatchOp


def satisfies(labels: Labels, matchers: Iterable[Matcher]) -> bool:
    """Whether a series satisfies every matcher; a label that it has not got is empty."""
    return all(_passes(dict(labels).get(matcher.name, ""), matcher) for matcher in matchers)


def _passes(value: str, matcher: Matcher) -> bool:
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        found = value == matcher.value
    else:
        found = compiled(matcher.value).fullmatch(value) is not None
    return found == (matcher.op in (MatchOp.EQUAL, MatchOp.REGEX))
