"""What one render request asks for besides its targets, and what a function sees when it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from tsdb.query.graphite.account import Account
from tsdb.query.graphite.grammar import Expression, Literal
from tsdb.query.graphite.series import Series

UTC_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, as graphite-web's events have it."""

    at_s: int
    what: str = ""
    tags: tuple[str, ...] = ()


class Storage(Protocol):
    """Where series come from. Both give series in the order of their names."""

    def fetch(self, pattern: str, start_s: int, end_s: int) -> list[Series]:
        """The series whose names fit a path with globs, for start_s < time <= end_s, both rounded down to the step."""

    def fetch_tagged(self, expressions: Sequence[str], start_s: int, end_s: int) -> list[Series]:
        """The series that fit all tag expressions, such as `name=disk.used` and `dc!=lon`."""

    def events(self, tags: Sequence[str], start_s: int, end_s: int) -> list[Event]:
        """Those that have one of the tags at least; all without any tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Times in seconds since 1970; zone: for days and months."""

    storage: Storage
    start_s: int
    end_s: int
    now_s: int
    zone: ZoneInfo = UTC_ZONE
    x_files_factor: float = 0.0
    points_max: int | None = None
    account: Account = field(default_factory=Account)
    template: Mapping[str, Literal] = field(default_factory=dict)

    def between(self, start_s: int, end_s: int) -> Context:
        return replace(self, start_s=start_s, end_s=end_s)


Evaluate = Callable[[Context, Expression], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of a function: what a function gets beside its arguments.

    name: as it was written, for a function with several. arguments: not evaluated, for those that ask for other times.
    """

    name: str
    context: Context
    arguments: tuple[Expression, ...]
    text: str  # As it was written; empty for a call that was piped to.
    evaluate: Evaluate
    called: Callable[[str, Sequence[Any]], list[Series]]  # Another function by name, with evaluated arguments.

    def again(self, index: int, context: Context) -> list[Series]:
        """An argument evaluated for other times than those of the request."""
        found = self.evaluate(context, self.arguments[index])
        assert isinstance(found, list), found
        return found
