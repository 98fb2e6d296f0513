"""The operations of the query process: expressions and selections in, columns out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.bus import Answer, Request, Server
from tsdb.answer import QueryAnswer
from tsdb.errors import RefusedQuery
from tsdb.interface import SeriesSource
from tsdb.query.promql import nodes
from tsdb.query.promql.evaluate import instant, range_
from tsdb.query.promql.limits import Deadline, Limits
from tsdb.query.promql.parse import parse
from tsdb.sample import Matcher, MatchOp

TIMEOUT_S_MAX = 120.0


class Instant(msgspec.Struct, frozen=True):
    expression: str
    time_ms: int
    timeout_s: float


class Range(msgspec.Struct, frozen=True):
    expression: str
    start_ms: int
    end_ms: int
    step_ms: int
    timeout_s: float


class Select(msgspec.Struct, frozen=True):
    matchers: list[tuple[str, MatchOp, str]]
    start_ms: int
    end_ms: int


class Texts(msgspec.Struct, frozen=True):
    texts: list[str]


class QueryService:
    """Evaluates over one source. Handlers run in several threads at once; nothing here changes between requests."""

    def __init__(self, source: SeriesSource, limits: Limits) -> None:
        self._source = source
        self._limits = limits

    def register(self, server: Server) -> None:
        server.handle("instant", self.instant, Instant)
        server.handle("range", self.range, Range)
        server.handle("select", self.select, Select)
        server.handle("selectors", self.selectors, Texts)

    def instant(self, request: Request) -> Answer:
        ask: Instant = request.body
        return _answer(instant(ask.expression, ask.time_ms, self._source, self._limits, _deadline(ask.timeout_s)))

    def range(self, request: Request) -> Answer:
        ask: Range = request.body
        deadline = _deadline(ask.timeout_s)
        return _answer(
            range_(ask.expression, ask.start_ms, ask.end_ms, ask.step_ms, self._source, self._limits, deadline)
        )

    def select(self, request: Request) -> Answer:
        ask: Select = request.body
        found = self._source.select(matchers_of(ask.matchers), ask.start_ms, ask.end_ms)
        self._limits.check_series(found.series_count)
        self._limits.check_samples(found.value.size)
        return Answer({"labels": found.labels}, (found.offsets, found.timestamp_ms, found.value))

    def selectors(self, request: Request) -> list[list[tuple[str, str, str]]]:
        return [[(m.name, m.op.value, m.value) for m in selector_of(text)] for text in request.body.texts]


def selector_of(text: str) -> Sequence[Matcher]:
    """The matchers of one selector. Raises: RefusedQuery, when the text is another kind of expression."""
    node = parse(text)
    if not isinstance(node, nodes.Selector):
        raise RefusedQuery(f'{text[:80]!r} is not a selector such as up{{job="web"}}')
    return node.matchers


def matchers_of(plain: Sequence[tuple[str, MatchOp, str]]) -> list[Matcher]:
    return [Matcher(*matcher) for matcher in plain]


def _deadline(timeout_s: float) -> Deadline:
    return Deadline(min(timeout_s, TIMEOUT_S_MAX))


def _answer(answer: QueryAnswer) -> Answer:
    body: dict[str, Any] = {"kind": answer.kind.value, "labels": answer.labels, "text": answer.text}
    return Answer(body, (answer.offsets, answer.timestamp_ms, answer.value))
