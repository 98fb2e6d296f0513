"""What a script has loaded since its last `clear`: samples in memory, and the native histograms that were left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.scripts.promql_script import Evaluation, Load, Series
from tests.tsdb.matching import satisfies
from tsdb.errors import RefusedQuery
from tsdb.query.promql import nodes
from tsdb.query.promql.parse import parse
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import METRIC_NAME, Labels


@dataclass(slots=True)
class Section:
    source: MemorySeries = field(default_factory=MemorySeries)
    native: set[Labels] = field(default_factory=set)

    def load(self, command: Load) -> None:
        for series in command.series:
            assert series.labels is not None, series
            if series.is_native:
                self.native.add(tuple(sorted(series.labels.items())))
            elif not series.has_start_times:
                times = range(0, len(series.points) * command.interval_ms, command.interval_ms)
                points = zip(times, series.points, strict=True)
                self.source.add(series.labels, [(time, value) for time, value in points if value is not None])
            if command.makes_native:
                self.native.add(_native_twin(series))

    def touches_native(self, case: Evaluation) -> bool:
        """Whether a native histogram is selected or expected."""
        if any(series.is_native for series in case.series):
            return True
        if not self.native:
            return False
        try:
            selectors = list(_selectors(parse(case.expression)))
        except RefusedQuery:  # The expression is to fail; or it has operators that only native histograms have.
            names = {dict(labels).get(METRIC_NAME, "") for labels in self.native}
            return not names.isdisjoint(re.findall(r"[A-Za-z_:][\w:]*", case.expression))
        return any(satisfies(labels, selector.matchers) for selector in selectors for labels in self.native)


def _native_twin(series: Series) -> Labels:
    """The native histogram that Prometheus makes of a classic one."""
    labels = dict(series.labels or {})
    labels.pop("le", None)
    labels[METRIC_NAME] = re.sub("_(bucket|count|sum)$", "", labels.get(METRIC_NAME, ""))
    return tuple(sorted(labels.items()))


def _selectors(node: nodes.Node | None) -> Iterator[nodes.Selector]:
    if isinstance(node, nodes.Selector):
        yield node
    elif isinstance(node, nodes.RangeSelector):
        yield node.selector
    elif isinstance(node, nodes.Subquery | nodes.Negation):
        yield from _selectors(node.inner)
    elif isinstance(node, nodes.Call):
        for argument in node.arguments:
            yield from _selectors(argument)
    elif isinstance(node, nodes.Aggregation):
        yield from _selectors(node.inner)
        yield from _selectors(node.parameter)
    elif isinstance(node, nodes.Binary):
        yield from _selectors(node.left)
        yield from _selectors(node.right)
