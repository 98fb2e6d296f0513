"""Selections that several equal selectors of one query read: each is fetched once.

A selection is kept only while a later selector of the expression may want it, for it holds 16 B for every sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tsdb.interface import Grain
from tsdb.query.promql import nodes
from tsdb.sample import RAW_ALONE_MS, Matcher, Selection

Wanted = tuple[nodes.Selector, int]
"""A selector and the length of its range in ms; 0 for an instant."""
Window = tuple[tuple[Matcher, ...], int, int]


@dataclass(slots=True)
class Kept:
    selection: Selection
    grain: Grain
    uses_left: int

    def answers(self, grain: Grain) -> bool:
        """Raw samples are the same for every aggregate, if each stands for itself."""
        is_raw = self.selection.resolution_ms == 0 and self.selection.raw_from_ms == RAW_ALONE_MS
        is_raw &= self.selection.weight is None
        return is_raw or grain == self.grain


class Shared:
    """Of one query, for one thread."""

    def __init__(self, node: nodes.Node) -> None:
        self._uses = Counter(_wanted(node))
        self._kept: dict[Window, Kept] = {}

    def find(self, window: Window, grain: Grain) -> Selection | None:
        kept = self._kept.get(window)
        if kept is None or not kept.answers(grain):
            return None
        kept.uses_left -= 1
        if not kept.uses_left:
            del self._kept[window]
        return kept.selection

    def keep(self, window: Window, grain: Grain, selection: Selection, wanted: Wanted) -> None:
        """What a selector was given, if there is another one like it."""
        uses_left = self._uses[wanted] - 1
        if uses_left > 0 and window not in self._kept:
            self._kept[window] = Kept(selection, grain, uses_left)


def _wanted(node: nodes.Node | None) -> Iterator[Wanted]:
    """The selectors of an expression. A chain of operators may be a thousand long: no recursion along it."""
    while isinstance(node, nodes.Binary):
        yield from _wanted(node.right)
        node = node.left
    if isinstance(node, nodes.Selector):
        yield node, 0
    elif isinstance(node, nodes.RangeSelector):
        yield node.selector, node.range_ms
    elif isinstance(node, nodes.Subquery | nodes.Negation):
        yield from _wanted(node.inner)
    elif isinstance(node, nodes.Aggregation):
        yield from _wanted(node.inner)
        yield from _wanted(node.parameter)
    elif isinstance(node, nodes.Call):
        for argument in node.arguments:
            yield from _wanted(argument)
