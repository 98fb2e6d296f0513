"""Graphite's globs on dotted names: which nodes of the tree of names `servers.*.cpu.{user,system}` finds.

The sorted names are the tree: the children of a node are found by leaping from one to the next, so the work goes with
the nodes that are looked at and not with the series under them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb import regex
from tsdb.answer import PathNode
from tsdb.canonical import CanonicalColumn
from tsdb.errors import QueryTooLarge, RefusedQuery
from tsdb.sample import SEPARATOR
from tsdb.store.disk import Bytes
from tsdb.store.postings import LabelPart

# Nodes that a search may look at, at about 15 µs each: five seconds.
_NODES_LOOKED_AT_MAX = 300_000
_VARIANTS_COUNT_MAX = 1_000
_GLOB = frozenset("*?[")
_DOT = b"."
_CLOSING = {"{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class _Step:
    """One part of a pattern: literals, and globs with what they begin with."""

    literals: Sequence[bytes]
    globs: Sequence[tuple[bytes, Any]]  # (literal prefix, compiled expression)
    is_deep: bool = False  # Whether it means all levels below too.


def find_paths(parts: Iterable[tuple[LabelPart, Bytes]], pattern: str) -> list[PathNode]:
    """The nodes at the pattern's level, in order. parts: the values of `__name__` in each segment of an index.

    `*` is any text without a dot, `?` one character, `[a-z]` and `[!a-z]` one of some, `{a,b}` either; the part `**`
    is one part or more.
    Raises: RefusedQuery, if the pattern is wrong; QueryTooLarge, if it looks at too many nodes.
    """
    steps = [_step(part) for part in _split(pattern)]
    found: dict[bytes, tuple[bool, bool]] = {}
    budget = _Budget(pattern)
    for part, text in parts:
        tree = _Tree(part, text, budget)
        prefixes = [b""]
        for step in steps[:-1]:
            below = (path + _DOT for prefix in prefixes for path, _, is_branch in tree.nodes(prefix, step) if is_branch)
            prefixes = list(dict.fromkeys(below))  # Two parts `**` lead to a node in several ways.
        for prefix in prefixes:
            for path, is_leaf, is_branch in tree.nodes(prefix, steps[-1]):
                before = found.get(path, (False, False))
                found[path] = (before[0] or is_leaf, before[1] or is_branch)
    return [PathNode(path.decode(), *kinds) for path, kinds in sorted(found.items())]


def merged_nodes(parts: Iterable[Iterable[PathNode]]) -> list[PathNode]:
    """What was found in several places, each node once, in order."""
    found: dict[str, PathNode] = {}
    for node in chain.from_iterable(parts):
        before = found.get(node.path, node)
        found[node.path] = PathNode(node.path, before.is_leaf or node.is_leaf, before.is_branch or node.is_branch)
    return sorted(found.values(), key=lambda node: node.path.encode())


def are_bare_names(series: CanonicalColumn) -> npt.NDArray[np.bool_]:
    """Which series have one label alone: of those, the names are paths."""
    before = np.searchsorted(np.flatnonzero(series.text == SEPARATOR[0]), series.ends)
    found: npt.NDArray[np.bool_] = np.diff(before, prepend=0) == 2  # Behind the name of the label, and its value.
    return found


class _Budget:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._left = _NODES_LOOKED_AT_MAX

    def take(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise QueryTooLarge(
                f"the pattern {self._pattern[:200]!r} leads to more than {_NODES_LOOKED_AT_MAX:,} nodes; "
                f"write more of its first parts out"
            )


class _Tree:
    """The names of one segment as a tree."""

    def __init__(self, part: LabelPart, text: Bytes, budget: _Budget) -> None:
        self._part = part
        self._text = text
        self._budget = budget

    def nodes(self, prefix: bytes, step: _Step) -> Iterator[tuple[bytes, bool, bool]]:
        """(path, is leaf, is branch) of each node that a step means from one node on; prefix: its path with a dot."""
        waiting = [prefix]
        while waiting:
            here = waiting.pop()
            for name, is_leaf, is_branch in self._below(here, step):
                yield here + name, is_leaf, is_branch
                if step.is_deep and is_branch:
                    waiting.append(here + name + _DOT)

    def _below(self, prefix: bytes, step: _Step) -> Iterator[tuple[bytes, bool, bool]]:
        """(name, is leaf, is branch) of each child that a step means."""
        seen = set()
        for name in step.literals:
            self._budget.take()
            is_leaf, is_branch = self._kinds(prefix + name)
            if (is_leaf or is_branch) and name not in seen:
                seen.add(name)
                yield name, is_leaf, is_branch
        for literal, expression in step.globs:
            for name in self._children(prefix, literal):
                if name not in seen and expression.fullmatch(name):
                    seen.add(name)
                    yield name, *self._kinds(prefix + name)

    def _kinds(self, path: bytes) -> tuple[bool, bool]:
        place = self._part.place(self._text, path)
        is_leaf = place < self._part.value_count and self._part.values.at(self._text, place) == path
        below = self._part.place(self._text, path + _DOT)
        is_branch = below < self._part.value_count and self._part.values.at(self._text, below).startswith(path + _DOT)
        return is_leaf, is_branch

    def _children(self, prefix: bytes, literal: bytes) -> Iterator[bytes]:
        """The names of the children that begin so; one may come twice, when others lie between leaf and branch."""
        place, end = self._part.range_of(self._text, prefix + literal)
        while place < end:
            self._budget.take()
            value = self._part.values.at(self._text, place)
            name, dot, _ = value[len(prefix) :].partition(_DOT)
            yield name
            place = self._part.place(self._text, prefix + name + b"/") if dot else place + 1  # `/` follows the dot.


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
            globs.append((variant[:first].encode(), regex.compiled(_expression(variant))))
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
