"""Graphite's globs on dotted names: which nodes of the tree of names `servers.*.cpu.{user,system}` finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb import regex
from tsdb.answer import PathNode
from tsdb.canonical import CanonicalColumn
from tsdb.errors import QueryTooLarge, RefusedQuery
from tsdb.sample import SEPARATOR, Int32s, Int64s
from tsdb.store.disk import Bytes
from tsdb.store.path_tree import IsAlive, Level, Nodes, PathTree, Stretches

# Nodes that a search may look at; each that is found costs about 2 µs, in a process that others wait for.
_NODES_LOOKED_AT_MAX = 300_000
_VARIANTS_COUNT_MAX = 1_000
_GLOB = frozenset("*?[")
_DOT = b"."
_CLOSING = {"{": "}", "[": "]"}
_LEAF, _BRANCH = 1, 2

Found = dict[bytes, int]
"""By path: whether it is a leaf, a branch or both, as bits."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One part of a pattern: literals, and globs with what they begin with."""

    literals: Sequence[bytes]
    globs: Sequence[tuple[bytes, Any]]  # (literal prefix, compiled expression; None: anything may follow)
    is_deep: bool = False  # Whether it means all levels below too.


class Glob:
    """A pattern. `*` is any text without a dot, `?` one character, `[a-z]` and `[!a-z]` one of some, `{a,b}` either;
    the part `**` is one part or more.

    Raises: RefusedQuery, if the pattern is wrong.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._steps = [_step(part) for part in _split(pattern)]

    def find(self, trees: Iterable[tuple[PathTree, Bytes]], found: Found, is_alive: IsAlive | None = None) -> None:
        """Add the nodes at the pattern's level. trees: with the text in which their names lie. is_alive: None: all are.

        Raises: QueryTooLarge, if it looks at too many nodes.
        """
        budget = _Budget(self.pattern)
        for tree, text in trees:
            search = _Search(tree, text, budget)
            nodes: dict[int, Nodes] = {-1: _TOP}
            for step in self._steps:
                nodes = search.step(nodes, step)
            for depth, some in nodes.items():
                level = tree.levels[depth]
                search.tell(level, some if is_alive is None else tree.alive(level, some, is_alive), found)


_NONE = np.empty(0, np.int64)
_TOP = Nodes(np.zeros(1, np.int64), _NONE)


def nodes_of(found: Found) -> list[PathNode]:
    """In order."""
    return [PathNode(path.decode(), kinds & _LEAF != 0, kinds & _BRANCH != 0) for path, kinds in sorted(found.items())]


def are_bare_names(series: CanonicalColumn) -> npt.NDArray[np.bool_]:
    """Which series have one label alone: of those, the names are paths."""
    before = np.searchsorted(np.flatnonzero(series.text == SEPARATOR[0]), series.ends)
    found: npt.NDArray[np.bool_] = np.diff(before, prepend=0) == 2  # Behind the name of the label, and its value.
    return found


class _Budget:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._left = _NODES_LOOKED_AT_MAX

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise QueryTooLarge(
                f"the pattern {self._pattern[:200]!r} leads to more than {_NODES_LOOKED_AT_MAX:,} nodes; "
                f"write more of its first parts out"
            )


class _Search:
    """One search in one tree, a part of the pattern at a time."""

    def __init__(self, tree: PathTree, text: Bytes, budget: _Budget) -> None:
        self._tree = tree
        self._text = text
        self._budget = budget

    def step(self, parents: dict[int, Nodes], step: _Step) -> dict[int, Nodes]:
        """By depth: what a part of the pattern means below some branches."""
        found: dict[int, list[Nodes]] = {}
        for depth, some in parents.items():
            if not some.branches.size:
                continue
            below = self._tree.root() if depth < 0 else self._tree.below(self._tree.levels[depth], some.branches)
            for child, level in enumerate(self._tree.levels[depth + 1 :], depth + 1):
                found.setdefault(child, []).append(self._children(level, below, step))
                if not step.is_deep:
                    break
        return {depth: _united(nodes) for depth, nodes in found.items()}

    def tell(self, level: Level, nodes: Nodes, found: Found) -> None:
        """Add the paths of some nodes."""
        leaves, branches = level.leaves[nodes.leaves], level.firsts[nodes.branches]
        for rows, ends, kind in (
            (leaves, None, _LEAF),
            (branches, level.sizes[nodes.branches].astype(np.int64) - 1, _BRANCH),
        ):
            paths = self._tree.names(self._text, rows, np.zeros(rows.size, np.int64), ends)
            found |= {path: found.get(path, 0) | kind for path in paths}

    def _children(self, level: Level, below: Stretches, step: _Step) -> Nodes:
        """What a step means at one level below some branches."""
        if step.is_deep:
            return Nodes(self._taken(level.firsts, below), self._taken(level.leaves, below))
        found = [Nodes(_NONE, _NONE)]
        for literal in step.literals:
            branches = self._taken(level.firsts, below, literal + _DOT)
            leaves, sizes = self._tree.children(self._text, level.leaves, below, literal)
            is_whole = self._tree.texts.lengths[level.leaves[leaves]] == sizes + len(literal)
            found.append(Nodes(branches, leaves[is_whole]))
        for prefix, expression in step.globs:
            test = None if expression is None else _Remembered(expression.fullmatch)
            found.append(
                Nodes(
                    self._matching(level.firsts, level.sizes, below, prefix, test),
                    self._matching(level.leaves, None, below, prefix, test),
                )
            )
        return _united(found)

    def _taken(self, rows: Int32s, below: Stretches, prefix: bytes = b"") -> Int64s:
        nodes, _ = self._tree.children(self._text, rows, below, prefix)
        self._budget.take(nodes.size)
        return nodes

    def _matching(
        self, rows: Int32s, sizes: Int32s | None, below: Stretches, prefix: bytes, test: _Remembered | None
    ) -> Int64s:
        """sizes: of branches, with the dot."""
        nodes, starts = self._tree.children(self._text, rows, below, prefix)
        self._budget.take(nodes.size)
        if test is None:
            return nodes
        ends = None if sizes is None else sizes[nodes].astype(np.int64) - 1
        names = self._tree.names(self._text, rows[nodes], starts, ends)
        return nodes[np.fromiter((test[name] for name in names), np.bool_, len(names))]


class _Remembered(dict[bytes, bool]):
    """Whether names match: most are below many branches."""

    def __init__(self, matches: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._matches = matches

    def __missing__(self, name: bytes) -> bool:
        self[name] = is_match = self._matches(name) is not None
        return is_match


def _united(nodes: Sequence[Nodes]) -> Nodes:
    if len(nodes) == 1:
        return nodes[0]
    return Nodes(*(np.unique(np.concatenate(columns)) for columns in zip(*nodes, strict=True)))


def _split(pattern: str) -> list[str]:
    """The parts between dots; a dot in braces or brackets is none. Raises: RefusedQuery."""
    parts, closing = [""], ""
    for char in pattern:
        if char in _CLOSING and not closing:
            closing = _CLOSING[char]
        elif char == closing:
            closing = ""
        elif char in "{}[]":
            raise RefusedQuery(f"the pattern {pattern[:200]!r}: brackets and braces come in pairs, and not nested")
        if char == "." and not closing:
            parts.append("")
        else:
            parts[-1] += char
    if closing:
        raise RefusedQuery(f"the pattern {pattern[:200]!r}: {closing} is missing at the end of a bracket or brace")
    return parts


def _step(part: str) -> _Step:
    literals, globs = [], []
    for variant in _variants(part):
        if _GLOB.isdisjoint(variant):
            literals.append(variant.encode())
        else:
            first = min(variant.index(char) for char in _GLOB if char in variant)
            is_free = not variant[first:].strip("*")
            globs.append((variant[:first].encode(), None if is_free else regex.compiled(_expression(variant))))
    return _Step(literals, globs, is_deep=part == "**")


def _variants(part: str) -> list[str]:
    """What braces stand for: `a{b,c}` is ab or ac. Raises: RefusedQuery."""
    variants = [""]
    for piece in re.split(r"(\{[^{}]*\})", part):
        choices = piece[1:-1].split(",") if piece.startswith("{") else [piece]
        variants = [variant + choice for variant in variants for choice in choices]
        if len(variants) > _VARIANTS_COUNT_MAX:
            raise RefusedQuery(f"{part[:200]!r} stands for more than {_VARIANTS_COUNT_MAX:,} names; write fewer braces")
    return variants


def _expression(glob: str) -> str:
    """A glob as a regular expression; a bracket as fnmatch has it."""
    pieces = []
    at = 0
    while at < len(glob):
        char = glob[at]
        at += 1
        if char == "*":
            pieces.append(".*")
        elif char == "?":
            pieces.append(".")
        elif char == "[":
            end = glob.index("]", at)
            inside, at = glob[at:end], end + 1
            negated = inside.startswith("!")
            pieces.append("[" + "^" * negated + _escaped_class(inside[negated:]) + "]")
        else:
            pieces.append(re.escape(char))
    return "".join(pieces)


def _escaped_class(inside: str) -> str:
    return re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)
