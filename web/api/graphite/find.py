"""`/graphite/metrics/…`: which names there are, as a tree with globs. Names with tags are no part of it."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from flask import Blueprint, Response

from tsdb.answer import PathNode
from web.api.graphite import arguments, shape
from web.api.graphite.formats import MSGPACK_TYPE, PICKLE_TYPE
from web.auth.guard import Access
from web.auth.roles import Role
from web.services import services

bp = Blueprint("graphite_find", __name__, url_prefix="/graphite/metrics")

QUERY_COUNT_MAX = 1_000
METHODS = ("GET", "POST")
READING = Access(Role.VIEWER, csrf=False)  # A POST here only reads.
_BRANCH = {"allowChildren": 1, "expandable": 1, "leaf": 0}
_LEAF = {"allowChildren": 0, "expandable": 0, "leaf": 1}
_BOTH = {"allowChildren": 1, "expandable": 1, "leaf": 1}
# A number beyond every float reads as infinity: the word Infinity is no JSON.
_FOREVER = msgspec.Raw(b'[{"start":0,"end":1e9999}]')


@dataclass(frozen=True, slots=True)
class Node:
    """One line of an answer: a name that is a series and a branch too makes two."""

    path: str
    is_leaf: bool

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@bp.route("", methods=METHODS)
@bp.route("/", methods=METHODS)
@bp.route("/find", methods=METHODS)
@bp.route("/find/", methods=METHODS)
def find() -> Response:
    query = arguments.needed("query")
    form = arguments.text("format", "treejson")
    if form not in ("treejson", "completer", "nodelist", "json", "pickle", "msgpack"):
        raise arguments.bad(
            f"format: {form[:40]!r} is not known; there are treejson, completer, nodelist, json, pickle, msgpack"
        )
    has_wildcard = bool(arguments.number("wildcards", 0))
    if form == "completer":
        query = _completed(query)
    if arguments.number("automatic_variants", 0):
        query = ".".join(_with_braces(part) for part in query.split("."))
    start_ms, end_ms = arguments.range_ms()
    found = _found(query, start_ms, end_ms, leaves_only=bool(arguments.number("leavesOnly", 0)))
    if form == "treejson":
        return _fresh(shape.json_of(list(_tree(found, query, has_wildcard=has_wildcard))))
    nodes = list(_each(found))
    if form == "completer":
        return _fresh(shape.json_of({"metrics": _completions(nodes, has_wildcard=has_wildcard)}))
    if form == "nodelist":
        return _fresh(shape.json_of({"nodes": _names_at(nodes, arguments.number("position", -1))}))
    return _fresh(_WRITTEN[form](nodes))


@bp.route("/expand", methods=METHODS)
@bp.route("/expand/", methods=METHODS)
def expand() -> Response:
    queries = list(dict.fromkeys(arguments.texts("query")))
    if len(queries) > QUERY_COUNT_MAX:
        raise arguments.bad(f"{len(queries):,} queries are more than {QUERY_COUNT_MAX:,}")
    leaves_only = bool(arguments.number("leavesOnly", 0))
    start_ms, end_ms = arguments.EVER_MS
    by_query = {
        query: sorted({node.path for node in _found(query, start_ms, end_ms, leaves_only=leaves_only)})
        for query in queries
    }
    if arguments.number("groupByExpr", 0):
        return _fresh(shape.json_of({"results": by_query}))
    return _fresh(shape.json_of({"results": sorted({path for paths in by_query.values() for path in paths})}))


@bp.route("/index.json", methods=METHODS)
def index() -> Response:
    """The names of all series without tags."""
    return shape.json_of([node.path for node in _found("**", *arguments.EVER_MS, leaves_only=True)])


for _view in (find, expand, index):
    _view.access = READING  # type: ignore[attr-defined]


def _fresh(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-cache, no-store"
    answer.headers["Pragma"] = "no-cache"
    return answer


def _found(query: str, start_ms: int, end_ms: int, *, leaves_only: bool) -> list[PathNode]:
    nodes = services().tsdb.find_paths(query, start_ms, end_ms)
    return (
        [PathNode(node.path, is_leaf=True, is_branch=False) for node in nodes if node.is_leaf] if leaves_only else nodes
    )


def _completed(query: str) -> str:
    """What a person has typed so far as a pattern."""
    query = query.replace("..", "*.")
    return query if query.endswith("*") else query + "*"


def _with_braces(part: str) -> str:
    return "{" + part + "}" if "," in part and "{" not in part else part


def _each(found: Sequence[PathNode]) -> Iterator[Node]:
    for node in found:
        if node.is_branch:
            yield Node(node.path, is_leaf=False)
        if node.is_leaf:
            yield Node(node.path, is_leaf=True)


def _tree(found: Sequence[PathNode], query: str, *, has_wildcard: bool) -> Iterator[Mapping[str, str | int]]:
    """Branches first, and each name once: below several parents it stands for all, with the query's own globs."""
    base = query[: query.rfind(".") + 1]
    if len(found) > 1 and has_wildcard:
        yield {"text": "*", "id": f"{base}*", **(_BRANCH if any(node.is_branch for node in found) else _LEAF)}
    by_name: dict[str, PathNode] = {}
    for node in found:
        by_name.setdefault(node.path.rpartition(".")[2], node)
    for is_wanted in (True, False):
        for name, node in sorted(by_name.items()):
            if node.is_branch is is_wanted:
                kind = _BOTH if node.is_leaf and node.is_branch else _LEAF if node.is_leaf else _BRANCH
                yield {"text": name, "id": base + name, **kind}


def _completions(nodes: Sequence[Node], *, has_wildcard: bool) -> list[dict[str, str]]:
    listed = [
        {"path": node.path if node.is_leaf else f"{node.path}.", "name": node.name, "is_leaf": str(int(node.is_leaf))}
        for node in sorted(nodes, key=lambda node: node.name)
    ]
    return [*listed, {"name": "*"}] if has_wildcard and len(listed) > 1 else listed


def _names_at(nodes: Sequence[Node], position: int) -> list[str]:
    try:
        return sorted({node.path.split(".")[position] for node in nodes})
    except IndexError:
        raise arguments.bad(f"position: {position} lies outside of some names that were found") from None


def _as_json(nodes: Sequence[Node]) -> Response:
    return shape.json_of(
        [
            {"path": node.path, "is_leaf": node.is_leaf, **({"intervals": _FOREVER} if node.is_leaf else {})}
            for node in nodes
        ]
    )


def _plain(nodes: Sequence[Node]) -> list[dict[str, object]]:
    return [
        {"path": node.path, "is_leaf": node.is_leaf, **({"intervals": [(0.0, math.inf)]} if node.is_leaf else {})}
        for node in nodes
    ]


def _as_pickle(nodes: Sequence[Node]) -> Response:
    return Response(pickle.dumps(_plain(nodes), protocol=4), mimetype=PICKLE_TYPE)


def _as_msgpack(nodes: Sequence[Node]) -> Response:
    return Response(msgspec.msgpack.encode(_plain(nodes)), mimetype=MSGPACK_TYPE)


_WRITTEN: Mapping[str, Callable[[Sequence[Node]], Response]] = {
    "json": _as_json,
    "pickle": _as_pickle,
    "msgpack": _as_msgpack,
}
