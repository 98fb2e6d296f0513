"""The handle by which the other rooms use the time-series room: write, select, query.

TsdbClient is for threads and has everything; AsyncTsdbClient is for asyncio and has what a scheduler needs.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from appliance.bus import AsyncClient, BusError, BusRefused, Client, Reply
from tsdb.answer import AnswerKind, PathNode, QueryAnswer, RenderedSeries
from tsdb.errors import NotReady, TsdbError, error_of
from tsdb.metadata import MetricMetadata
from tsdb.sample import Labels, Matcher, MatchOp, Selection

WRITE_TIMEOUT_S = 15.0
QUERY_TIMEOUT_S = 30.0
QUERY_TIMEOUT_S_MAX = 600.0  # As much as query.timeout can allow, for queries that name no time-out of their own.
QUERY_MARGIN_S = 2.0  # The worker ends a query itself at its time-out; the caller waits a little longer for its words.
SELECTOR_COUNT_MAX = 1_000  # Kept by their text, of which one has at most so many characters: 2 MiB of both.
SELECTOR_CHARS_MAX = 1_024
SERIES_COUNT_MAX = 100_000  # Names that one look-up answers; more help nobody and cost a gigabyte of JSON.

Row = tuple[Labels, int, float]
"""One sample with its labels: (labels, timestamp_ms, value)."""
Selectors = Sequence[Sequence[Matcher]]
"""Any of several selectors, each of which wants all of its matchers."""


class WriteAnswer(msgspec.Struct, frozen=True):
    """What became of a write: everything accepted is in the write-ahead log."""

    accepted_count: int
    refused: dict[str, int] = {}  # reason → samples
    first_error: str | None = None


class TsdbClient:
    """Thread-safe.

    Every method raises: RefusedQuery or RefusedSample (change and ask again), NotReady (try again later).
    """

    def __init__(self, run_dir: Path) -> None:
        self._intake = Client(run_dir, "intake", is_direct=True)
        self._query = Client(run_dir, "query", is_direct=True)
        self._store = Client(run_dir, "store", is_direct=True)
        self._lock = threading.Lock()
        self._matchers_by_text: dict[str, tuple[Matcher, ...]] = {}

    def write(self, door: str, body: bytes | memoryview, *, sender: str) -> WriteAnswer:
        """Pass a request body, which must not change meanwhile, to a door of intake. Answers after the log."""
        return _write_answer(_call(self._intake, "write", *_write(door, body, sender), timeout_s=WRITE_TIMEOUT_S))

    def metadata(self, metrics: Sequence[str] = (), limit: int | None = None) -> list[MetricMetadata]:
        """What senders said of these metrics, or of all by name; at most so many."""
        body = {"metrics": list(metrics), "limit": limit}
        return msgspec.convert(_call(self._intake, "metadata", body).body, list[MetricMetadata])

    def append(self, rows: Sequence[Row]) -> WriteAnswer:
        """Store rows of our own. Answers after the write-ahead log."""
        return self.write("rows", _rows(rows), sender="henge")

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """The samples of all series that match every matcher, both ends included; order: by labels."""
        body = {
            "matchers": _plain([matchers])[0],
            "start_ms": start_ms,
            "end_ms": end_ms,
            "timeout_s": QUERY_TIMEOUT_S,
        }
        reply = _call(self._query, "select", body, timeout_s=QUERY_TIMEOUT_S + QUERY_MARGIN_S)
        labels = [tuple((name, text) for name, text in pairs) for pairs in reply.body["labels"]]
        offsets, timestamp_ms, value = reply.columns
        return Selection(
            labels=labels,
            offsets=offsets,
            times_ms=timestamp_ms,
            value=value,
            resolution_ms=reply.body["resolution_ms"],
            raw_from_ms=reply.body["raw_from_ms"],
        )

    def query_instant(
        self,
        expression: str,
        time_ms: int,
        *,
        timeout_s: float | None = QUERY_TIMEOUT_S,
        lookback_ms: int | None = None,
        query_id: str = "",
    ) -> QueryAnswer:
        """timeout_s: None asks for as long as query.timeout allows. query_id: any name, for cancel_query.

        lookback_ms: how far back a sample still counts as the present one; None: five minutes.
        """
        body = {
            "expression": expression,
            "time_ms": time_ms,
            "timeout_s": timeout_s,
            "lookback_ms": lookback_ms,
            "query_id": query_id,
        }
        return _answer(_call(self._query, "instant", body, timeout_s=_patience_s(timeout_s)))

    def query_range(
        self,
        expression: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout_s: float | None = QUERY_TIMEOUT_S,
        lookback_ms: int | None = None,
        query_id: str = "",
        skips_cache: bool = False,
    ) -> QueryAnswer:
        """skips_cache: no step comes from an earlier answer. The three before it as in query_instant."""
        body = {
            "expression": expression,
            "start_ms": start_ms,
            "end_ms": end_ms,
            "step_ms": step_ms,
            "timeout_s": timeout_s,
            "lookback_ms": lookback_ms,
            "query_id": query_id,
            "skips_cache": skips_cache,
        }
        return _answer(_call(self._query, "range", body, timeout_s=_patience_s(timeout_s)))

    def render(
        self,
        targets: Sequence[str],
        from_text: str,
        until_text: str,
        now_s: int,
        *,
        zone: str = "UTC",
        x_files_factor: float = 0.0,
        points_max: int | None = None,
        template: Mapping[str, str] | None = None,
        events: Sequence[tuple[int, str, Sequence[str]]] = (),
        timeout_s: float | None = QUERY_TIMEOUT_S,
        query_id: str = "",
    ) -> list[RenderedSeries]:
        """Graphite's targets between two times as its render API writes them. events: what events() may count."""
        body = {
            "targets": targets,
            "from_text": from_text,
            "until_text": until_text,
            "now_s": now_s,
            "zone": zone,
            "x_files_factor": x_files_factor,
            "points_max": points_max,
            "template": dict(template or {}),
            "events": events,
            "timeout_s": timeout_s,
            "query_id": query_id,
        }
        reply = _call(self._query, "render", body, timeout_s=_patience_s(timeout_s))
        offsets, values = reply.columns
        edges = offsets.tolist()
        return [
            RenderedSeries(values=values[start:end], **one)
            for one, (start, end) in zip(reply.body["series"], pairwise(edges), strict=True)
        ]

    def graphite_times(self, texts: Sequence[str], now_s: int, *, zone: str = "UTC") -> list[int]:
        """Times as Graphite's render API writes them, in seconds since 1970."""
        body = {"texts": texts, "now_s": now_s, "zone": zone}
        return list(_call(self._query, "graphite_times", body, timeout_s=QUERY_TIMEOUT_S).body)

    def tag_matchers(self, texts: Sequence[str]) -> list[Matcher]:
        """What Graphite's tag expressions want together, such as `name=disk.used` and `dc!=~l.*`."""
        reply = _call(self._query, "graphite_matchers", {"texts": texts}, timeout_s=QUERY_TIMEOUT_S)
        return [Matcher(name, MatchOp(op), value) for name, op, value in reply.body]

    def graphite_functions(self) -> dict[str, Any]:
        """By name: group, parameters and words of each function of Graphite's render API."""
        return dict(_call(self._query, "graphite_functions", timeout_s=QUERY_TIMEOUT_S).body)

    def cancel_query(self, query_id: str) -> int:
        """End the queries of this name, from another thread than theirs. Returns: how many there were."""
        reply = _call(self._query, "cancel", {"query_id": query_id}, timeout_s=QUERY_TIMEOUT_S)
        return int(reply.body["cancelled_count"])

    def series(
        self, selectors: Selectors, start_ms: int, end_ms: int, *, limit: int = SERIES_COUNT_MAX
    ) -> list[dict[str, str]]:
        """The label sets that match any selector and may have samples in the range."""
        return list(self._look_up("series", selectors, start_ms, end_ms, limit))

    def label_names(
        self, selectors: Selectors, start_ms: int, end_ms: int, *, limit: int = SERIES_COUNT_MAX
    ) -> list[str]:
        return list(self._look_up("labels", selectors, start_ms, end_ms, limit))

    def label_values(
        self,
        name: str,
        selectors: Selectors,
        start_ms: int,
        end_ms: int,
        *,
        limit: int = SERIES_COUNT_MAX,
        contains: str = "",
        has_tags: bool = False,
    ) -> list[str]:
        """The values of one label, sorted; `contains` keeps those with that text in them, for completion.

        has_tags: of series that have a label beside their name alone.
        """
        more = {"name": name, "contains": contains, "has_tags": has_tags}
        return list(self._look_up("label_values", selectors, start_ms, end_ms, limit, more))

    def find_paths(self, pattern: str, start_ms: int, end_ms: int) -> list[PathNode]:
        """The nodes of the tree of dotted names that a Graphite glob finds, of series without other labels."""
        body = {"pattern": pattern, "start_ms": start_ms, "end_ms": end_ms}
        return [PathNode(*node) for node in _call(self._store, "find_paths", body, timeout_s=QUERY_TIMEOUT_S).body]

    def _look_up(
        self,
        op: str,
        selectors: Selectors,
        start_ms: int,
        end_ms: int,
        limit: int,
        more: dict[str, Any] | None = None,
    ) -> Sequence[Any]:
        body = {"selectors": _plain(selectors), "start_ms": start_ms, "end_ms": end_ms, "limit": limit} | (more or {})
        answer: Sequence[Any] = _call(self._store, op, body, timeout_s=QUERY_TIMEOUT_S).body
        return answer

    def selectors(self, texts: Sequence[str]) -> list[list[Matcher]]:
        """Read selectors such as `up{job="x"}`, as the `match[]` parameters of the Prometheus API hold them."""
        known = {text: kept for text in texts if (kept := self._matchers_by_text.get(text)) is not None}
        unknown = [text for text in dict.fromkeys(texts) if text not in known]
        if unknown:
            reply = _call(self._query, "selectors", {"texts": unknown}, timeout_s=QUERY_TIMEOUT_S)
            for text, selector in zip(unknown, reply.body, strict=True):
                known[text] = tuple(Matcher(name, MatchOp(op), value) for name, op, value in selector)
            self._keep({text: known[text] for text in unknown if len(text) <= SELECTOR_CHARS_MAX})
        return [list(known[text]) for text in texts]

    def _keep(self, matchers_by_text: dict[str, tuple[Matcher, ...]]) -> None:
        """What a selector means never changes, and a page asks for the same ones again."""
        with self._lock:
            if len(self._matchers_by_text) + len(matchers_by_text) > SELECTOR_COUNT_MAX:
                self._matchers_by_text.clear()
            self._matchers_by_text.update(islice(matchers_by_text.items(), SELECTOR_COUNT_MAX))

    def remote_read(self, body: bytes | memoryview) -> tuple[bytes, bool]:
        """Answer a remote-read request as it came. Returns: the body to give back, and whether it is a stream of
        chunks (as it is) or one message of samples (not yet compressed)."""
        columns = (np.frombuffer(body, np.uint8),)
        reply = _call(self._query, "remote_read", {}, columns, timeout_s=_patience_s(None))
        return reply.columns[0].tobytes(), bool(reply.body["is_streamed"])

    def formatted(self, expression: str) -> str:
        """The expression in its canonical form."""
        return str(_call(self._query, "format", {"expression": expression}).body)

    def syntax_tree(self, expression: str) -> bytes:
        """The syntax tree of an expression, in the JSON of Prometheus' HTTP API."""
        return bytes(_call(self._query, "tree", {"expression": expression}).body)

    def cardinality(self, top_count: int) -> dict[str, Any]:
        """Which metrics, labels and values have most series, and most new ones."""
        return dict(_call(self._store, "cardinality", {"count": top_count}).body)

    def compact(self, *, timeout_s: float = 600) -> dict[str, Any]:
        """Flush the head and merge the blocks of each window; returns when that is done."""
        return dict(_call(self._store, "compact", timeout_s=timeout_s).body)

    def delete(self, selectors: Selectors, start_ms: int, end_ms: int, *, timeout_s: float = 120) -> int:
        """Delete the samples that any selector matches, both ends included; durable when it returns.

        Returns how many series had samples there, each counted once a selector."""
        body = {"selectors": _plain(selectors), "start_ms": start_ms, "end_ms": end_ms}
        return int(_call(self._store, "delete", body, timeout_s=timeout_s).body["series_count"])

    def snapshot(self, folder: Path | None = None, *, skips_head: bool = False, timeout_s: float = 600) -> Path:
        """Take a snapshot of all samples; returns its folder. folder: where nothing is yet, of the caller's choice."""
        body = {"folder": None if folder is None else str(folder), "skips_head": skips_head}
        return Path(_call(self._store, "backup", body, timeout_s=timeout_s).body["path"])

    def sealed(self, start_ms: int, end_ms: int, *, timeout_s: float = 120) -> tuple[list[str], list[Any]]:
        """Write the head into blocks; the names of all blocks that overlap the range, and what of them is deleted."""
        _call(self._store, "flush", timeout_s=timeout_s)
        nothing = [["__name__", "=", ""], ["__name__", "!=", ""]]
        body = {"matchers": nothing, "start_ms": start_ms, "end_ms": end_ms}
        reply = _call(self._store, "snapshot", body, timeout_s=timeout_s)
        return reply.body["blocks"], reply.body["tombstones"]

    def erase(self, *, timeout_s: float = 600) -> None:
        """Rewrite every block of which something is deleted."""
        _call(self._store, "erase", timeout_s=timeout_s)

    def close(self) -> None:
        for client in (self._intake, self._query, self._store):
            client.close()


class AsyncTsdbClient:
    """The same for asyncio: what a scheduler needs."""

    def __init__(self, run_dir: Path) -> None:
        self._intake = AsyncClient(run_dir, "intake")
        self._query = AsyncClient(run_dir, "query")

    async def append(self, rows: Sequence[Row]) -> WriteAnswer:
        """Store rows of our own. Answers after the write-ahead log."""
        body, columns = _write("rows", _rows(rows), "henge")
        return _write_answer(await _acall(self._intake, "write", body, columns, timeout_s=WRITE_TIMEOUT_S))

    async def query_instant(self, expression: str, time_ms: int, *, timeout_s: float = QUERY_TIMEOUT_S) -> QueryAnswer:
        body = {"expression": expression, "time_ms": time_ms, "timeout_s": timeout_s}
        return _answer(await _acall(self._query, "instant", body, timeout_s=_patience_s(timeout_s)))

    def close(self) -> None:
        for client in (self._intake, self._query):
            client.close()


def _call(
    client: Client, op: str, body: Any = None, columns: Sequence[Any] = (), *, timeout_s: float = QUERY_TIMEOUT_S
) -> Reply:
    try:
        return client.call(op, body, columns, timeout_s=timeout_s)
    except BusError as error:
        raise _error(error) from error


async def _acall(
    client: AsyncClient, op: str, body: Any = None, columns: Sequence[Any] = (), *, timeout_s: float = QUERY_TIMEOUT_S
) -> Reply:
    try:
        return await client.call(op, body, columns, timeout_s=timeout_s)
    except BusError as error:
        raise _error(error) from error


def _error(error: BusError) -> TsdbError:
    """The same class on this side of the bus as was raised on the other; a silent service is not ready."""
    return error_of(error.code, error.message) if isinstance(error, BusRefused) else NotReady(str(error))


def _plain(selectors: Selectors) -> list[list[list[str]]]:
    return [[[m.name, m.op.value, m.value] for m in selector] for selector in selectors]


def _write(door: str, body: bytes | memoryview, sender: str) -> tuple[dict[str, str], tuple[Any, ...]]:
    return {"door": door, "sender": sender}, (np.frombuffer(body, np.uint8),)


def _write_answer(reply: Reply) -> WriteAnswer:
    return msgspec.convert(reply.body, WriteAnswer)


def _rows(rows: Sequence[Row]) -> bytes:
    return msgspec.msgpack.encode([(labels, at_ms, float(value)) for labels, at_ms, value in rows])


def _patience_s(timeout_s: float | None) -> float:
    return (QUERY_TIMEOUT_S_MAX if timeout_s is None else timeout_s) + QUERY_MARGIN_S


def _answer(reply: Reply) -> QueryAnswer:
    offsets, timestamp_ms, value = reply.columns
    return QueryAnswer(
        kind=AnswerKind(reply.body["kind"]),
        labels=reply.body["labels"],
        offsets=offsets,
        timestamp_ms=timestamp_ms,
        value=value,
        text=reply.body["text"],
        warnings=reply.body["warnings"],
        infos=reply.body["infos"],
        figures=reply.body.get("stats", {}),
    )
