"""The operations of the query process: expressions and selections in, columns out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from appliance.bus import Answer, Request, Server
from appliance.graphite import AggregationRule
from appliance.metrics import Metrics
from appliance.retention import SchemaRule
from tsdb.answer import QueryAnswer
from tsdb.errors import QueryTooLarge, TsdbError
from tsdb.interface import SeriesSource
from tsdb.query.asked import Asked
from tsdb.query.cache import RangeCache, Use
from tsdb.query.cache.ranges import Asked as AskedRange
from tsdb.query.gate import Gate, Register
from tsdb.query.graphite.archives import Archives
from tsdb.query.graphite.steps import ConfiguredSteps
from tsdb.query.promql.describe import formatted, tree_json
from tsdb.query.promql.evaluate import instant
from tsdb.query.promql.ledger import Ledger, Pool
from tsdb.query.promql.limits import Deadline, Limits, Options
from tsdb.query.promql.selector import selector_of
from tsdb.query.remote_read import frames_of, read_request, samples_message
from tsdb.query.render import Render, Tags, Times, epochs, functions, rendered, tag_matchers
from tsdb.sample import Matcher, MatchOp

CONTROL = "control"
LANES = {CONTROL: 1}
"""What costs next to nothing, and must not wait behind queries: above all, to take one back."""

REASON_BY_KIND: dict[type[TsdbError], str] = {QueryTooLarge: "too_large"}  # Of others, the code.


class Expression(Asked, frozen=True, kw_only=True):
    """lookback_ms: how far back a sample still counts as the present one; without it as PromQL has it."""

    expression: str
    lookback_ms: int | None = None

    @property
    def options(self) -> Options:
        return Options() if self.lookback_ms is None else Options(lookback_ms=self.lookback_ms)


class Instant(Expression, frozen=True, kw_only=True):
    time_ms: int


class Range(Expression, frozen=True, kw_only=True):
    """skips_cache: every step is evaluated, whatever is kept of earlier answers."""

    start_ms: int
    end_ms: int
    step_ms: int
    skips_cache: bool = False


class Select(Asked, frozen=True, kw_only=True):
    matchers: list[tuple[str, MatchOp, str]]
    start_ms: int
    end_ms: int


class Cancel(msgspec.Struct, frozen=True):
    query_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many queries may run at once, and how many more may wait."""

    concurrent_count_max: int = 4
    queue_count_max: int = 100

    @property
    def threads_count(self) -> int:
        """What a server needs to serve so many: threads that wait cost some KiB each."""
        return self.concurrent_count_max + self.queue_count_max + 1


class Source(msgspec.Struct, frozen=True):
    expression: str


class Texts(msgspec.Struct, frozen=True):
    texts: list[str]


class QueryService:
    """Evaluates over one source. Handlers run in several threads at once; the gate says how many of them work.

    The server needs a thread for each query that runs or waits, and one more to refuse the next: see Crowd.
    """

    def __init__(
        self,
        source: SeriesSource,
        limits: Limits,
        crowd: Crowd,
        *,
        timeout_s: float,
        metrics: Metrics,
        cache_bytes_max: int = 0,
        schemas: Sequence[SchemaRule] = (),
        aggregations: Sequence[AggregationRule] = (),
    ) -> None:
        """schemas: of their resolutions come the steps of Graphite's render API. aggregations: how it is filled."""
        self._source = source
        self._limits = limits
        self._timeout_s = timeout_s
        self._steps = ConfiguredSteps(schemas)
        self._archives = (
            Archives(aggregations, self._steps.resolution_s, self._steps.coarser_s) if aggregations else None
        )
        self._gate = Gate(crowd.concurrent_count_max, crowd.queue_count_max)
        self._queries = Register()
        self._cache = RangeCache(source, cache_bytes_max, metrics)
        # Two queries at their limit fit beside each other and what is kept; the process may have as much, and 1 GiB
        # for itself.
        self._pool = Pool(2 * limits.bytes_max + cache_bytes_max)
        self._total = metrics.counter("henge_query_total", "Queries that were asked.")
        self._refused = metrics.counter("henge_query_refused_total", "Queries that got no answer, by reason.")
        self._running = metrics.gauge("henge_query_running", "Queries that run at this moment.")
        self._waiting = metrics.gauge("henge_query_waiting", "Queries that wait for their turn.")
        self._held = metrics.gauge("henge_query_held_bytes", "Bytes of columns that queries and their answers hold.")

    def register(self, server: Server) -> None:
        server.handle("instant", self.instant, Instant)
        server.handle("range", self.range, Range)
        server.handle("select", self.select, Select)
        server.handle("remote_read", self.remote_read, Asked)
        server.handle("render", self.render, Render)
        server.handle("selectors", self.selectors, Texts, lane=CONTROL)
        server.handle("graphite_times", lambda request: epochs(request.body), Times, lane=CONTROL)
        server.handle("graphite_matchers", lambda request: tag_matchers(request.body), Tags, lane=CONTROL)
        server.handle("graphite_functions", lambda _: functions(), lane=CONTROL)
        server.handle("format", self.format, Source, lane=CONTROL)
        server.handle("tree", self.tree, Source, lane=CONTROL)
        server.handle("cancel", self.cancel, Cancel, lane=CONTROL)

    def instant(self, request: Request) -> Answer:
        ask: Instant = request.body

        def evaluate(ledger: Ledger) -> Answer:
            return _answer(instant(ask.expression, ask.time_ms, self._source, options=ask.options, ledger=ledger))

        return self._asked("instant", ask, evaluate)

    def range(self, request: Request) -> Answer:
        ask: Range = request.body

        def evaluate(ledger: Ledger) -> Answer:
            asked = AskedRange(ask.expression, ask.start_ms, ask.end_ms, ask.step_ms, ask.options)
            found, use = self._cache.range_(asked, ledger, is_skipped=ask.skips_cache)
            return _answer(found, use)

        return self._asked("range", ask, evaluate)

    def select(self, request: Request) -> Answer:
        ask: Select = request.body

        def read(ledger: Ledger) -> Answer:
            with ledger.stage("select"):
                found = self._source.select(matchers_of(ask.matchers), ask.start_ms, ask.end_ms, bounds=ledger)
            ledger.selected(found)
            ledger.hold(found.timestamp_ms)
            body = {
                "labels": list(found.labels),
                "resolution_ms": found.resolution_ms,
                "raw_from_ms": found.raw_from_ms,
            }
            return Answer(body, (found.offsets, found.timestamp_ms, found.value))

        return self._asked("select", ask, read)

    def render(self, request: Request) -> Answer:
        ask: Render = request.body
        return self._asked(
            "render", ask, lambda ledger: rendered(ask, self._source, ledger, self._steps.step_s, self._archives)
        )

    def remote_read(self, request: Request) -> Answer:
        """Its column is the body of a remote-read request as it came; the answer's is the body to give back."""
        wanted = read_request(request.columns[0].data)

        def read(ledger: Ledger) -> Answer:
            found = []
            for query in wanted.queries:
                with ledger.stage("select"):
                    found.append(self._source.select(query.matchers, query.start_ms, query.end_ms, bounds=ledger))
                ledger.selected(found[-1])
                ledger.hold(found[-1].timestamp_ms)
            body = b"".join(frames_of(found)) if wanted.is_streamed else samples_message(found)
            ledger.check("result preparation")
            return Answer({"is_streamed": wanted.is_streamed}, (np.frombuffer(body, np.uint8),))

        return self._asked("remote_read", request.body, read)

    def selectors(self, request: Request) -> list[list[tuple[str, str, str]]]:
        return [[(m.name, m.op.value, m.value) for m in selector_of(text)] for text in request.body.texts]

    def format(self, request: Request) -> str:
        return formatted(request.body.expression)

    def tree(self, request: Request) -> bytes:
        return tree_json(request.body.expression)

    def cancel(self, request: Request) -> dict[str, int]:
        """End the queries of one name, waiting or running; they are answered as cancelled within half a second."""
        return {
            "cancelled_count": self._queries.cancel(request.body.query_id),
            "running_count": self._gate.running_count,
            "waiting_count": self._gate.waiting_count,
        }

    def _asked(self, op: str, ask: Asked, evaluate: Callable[[Ledger], Answer]) -> Answer:
        """Run one query when its turn comes, count it, and put its figures beside its answer."""
        timeout_s = self._timeout_s if ask.timeout_s is None else min(ask.timeout_s, self._timeout_s)
        ledger = Ledger(self._limits, Deadline(timeout_s), self._pool)
        self._total.inc(op=op)
        try:
            with (
                self._queries.entry(ask.query_id, ledger.deadline),
                ledger.stage("total"),
                self._gate.passage(ledger.deadline),
            ):
                ledger.waited()
                self._show()
                answer = evaluate(ledger)
        except TsdbError as error:
            self._refused.inc(op=op, reason=REASON_BY_KIND.get(type(error), error.code))
            raise
        finally:
            ledger.close()
            self._show()
        answer.body["stats"] = ledger.figures() | answer.body.get("stats", {})
        return answer

    def _show(self) -> None:
        self._running.set(self._gate.running_count)
        self._waiting.set(self._gate.waiting_count)
        self._held.set(self._pool.bytes_count)


def matchers_of(plain: Sequence[tuple[str, MatchOp, str]]) -> list[Matcher]:
    return [Matcher(*matcher) for matcher in plain]


def _answer(answer: QueryAnswer, use: Use | None = None) -> Answer:
    body: dict[str, Any] = {
        "kind": answer.kind.value,
        "labels": answer.labels,
        "text": answer.text,
        "warnings": answer.warnings,
        "infos": answer.infos,
    }
    if use is not None and use.step_count:
        body["stats"] = {"step_count": use.step_count, "kept_step_count": use.kept_step_count}
    return Answer(body, (answer.offsets, answer.timestamp_ms, answer.value))
