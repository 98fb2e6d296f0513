"""info(): each series with the labels of the info metrics of the same instance and job added.

An info metric, such as target_info, has the value 1 and tells by its labels; of two that claim the same instance, job
and name, the one with the later sample counts. Which rows belong together is decided once for all steps; which of them
hold at a step is a mask.
Source: Prometheus promql/info.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsdb import regex
from tsdb.errors import QueryFailed
from tsdb.query.kernel.groups import Grouping, reduce_rows
from tsdb.query.kernel.steps import Bools, Cells
from tsdb.query.promql import nodes
from tsdb.query.promql.functions.family import Function
from tsdb.query.promql.label_rows import projected
from tsdb.query.promql.labels import grouping_of, keeping, numbered, text_of, united, values_of
from tsdb.query.promql.ledger import CELL_BYTES
from tsdb.query.promql.nodes import Call, Moment, Selector
from tsdb.query.promql.values import Value, Vector
from tsdb.sample import METRIC_NAME, Int64s, Labels, Matcher, MatchOp

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

TARGET_INFO = Matcher(METRIC_NAME, MatchOp.EQUAL, "target_info")
ANY_INFO = Matcher(METRIC_NAME, MatchOp.REGEX, ".+_info")
IDENTIFYING = ("instance", "job")
# So many instances or jobs are asked for by name; of more, all are read and those of others left out.
NAMED_COUNT_MAX = 100


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the result in the making: of which base row each is, at which steps, and what labels it gets added."""

    base: Int64s
    holds: Bools  # (rows, steps)
    is_enriched: Bools
    added: list[Labels]


def _info(evaluator: Evaluator, node: Call) -> Value:
    base = evaluator.vector(node.arguments[0])
    wanted = node.arguments[1].matchers if len(node.arguments) > 1 and isinstance(node.arguments[1], Selector) else ()
    of_name = [matcher for matcher in wanted if matcher.name == METRIC_NAME]
    of_data = [matcher for matcher in wanted if matcher.name != METRIC_NAME]
    if not wanted:
        of_name = [TARGET_INFO]
    names = values_of(base.labels, METRIC_NAME)
    if of_name and all(matcher.op in (MatchOp.NOT_EQUAL, MatchOp.NOT_REGEX) for matcher in of_name):
        of_name.append(ANY_INFO)  # It says only which ones are not meant.
    is_info = {name: bool(of_name) and _passes_all(name, of_name) for name in set(names)}
    plain = np.array([i for i, name in enumerate(names) if not is_info[name]], np.int64)
    if not plain.size:
        return base
    selector = Selector((*(of_name or [TARGET_INFO]), *of_data), _moment_of(node.arguments[0]))
    rows = _enriched(evaluator, base.rows(plain), selector, {matcher.name for matcher in of_data})
    if not _passes_all("", of_data):
        rows = Rows(rows.base, rows.holds & rows.is_enriched[:, None], rows.is_enriched, rows.added)
    return _named(base, plain, rows)


def _passes_all(value: str, matchers: Sequence[Matcher]) -> bool:
    return all(_test(matcher)(value) for matcher in matchers)


def _test(matcher: Matcher) -> Callable[[str], bool]:
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return lambda value: (value == matcher.value) == (matcher.op is MatchOp.EQUAL)
    found = regex.compiled(matcher.value).fullmatch
    return lambda value: (found(value.encode()) is not None) == (matcher.op is MatchOp.REGEX)


def _moment_of(node: nodes.Node) -> Moment:
    """When the first selector of an expression is read, as seen from the evaluation time: info series are read then."""
    offset_ms = 0
    at: int | nodes.Anchor | None = None
    while True:
        here = node.selector.moment if isinstance(node, nodes.RangeSelector) else getattr(node, "moment", None)
        if here is not None:
            offset_ms = here.offset_ms + (0 if here.at is not None else offset_ms)
            at = here.at if here.at is not None else at
        below = _first_below(node)
        if below is None:
            return Moment(offset_ms, at)
        node = below


def _first_below(node: nodes.Node) -> nodes.Node | None:
    """The argument in which the first selector is looked for."""
    if isinstance(node, nodes.Subquery | nodes.Negation | nodes.Aggregation):
        return node.inner
    if isinstance(node, nodes.Binary):
        return node.left
    if isinstance(node, nodes.Call):
        kinds = (nodes.ValueType.VECTOR, nodes.ValueType.MATRIX)
        return next((argument for argument in node.arguments if nodes.type_of(argument) in kinds), None)
    return None


def _enriched(evaluator: Evaluator, base: Vector, selector: Selector, data_names: set[str]) -> Rows:
    """Each base row with the labels of each info row that belongs to it, and as it is where there is none."""
    values_by_name = {name: set(values_of(base.labels, name)) - {""} for name in IDENTIFYING}
    values_by_name = {name: values for name, values in values_by_name.items() if values}
    rows = Rows(
        np.arange(base.row_count), base.cells.present, np.zeros(base.row_count, np.bool_), [()] * base.row_count
    )
    if not values_by_name:
        return rows
    matchers = [_any_of(name, values) for name, values in values_by_name.items()]
    selector = Selector((*selector.matchers, *matchers), selector.moment)
    labels, cells, times_ms = evaluator.instants(selector, with_times=True)
    kept = [
        i
        for i, identity in enumerate(zip(*[values_of(labels, name) for name in values_by_name], strict=True))
        if all(map(set.__contains__, values_by_name.values(), identity))
    ]
    labels = [labels[i] for i in kept]
    present, times_ms = cells.present[kept], times_ms[kept]
    with evaluator.ledger.room((CELL_BYTES + 24) * present.size):
        groups, first_index = grouping_of(keeping(labels, (METRIC_NAME, *IDENTIFYING)))
        latest = _latest(labels, present, times_ms, groups)
    metrics = values_of([labels[i] for i in first_index], METRIC_NAME)
    is_added = (lambda name: name in data_names) if data_names else (lambda name: name != METRIC_NAME)
    added = projected(labels, is_added)
    for metric in sorted(set(metrics)):
        of_metric = np.flatnonzero(np.array([name == metric for name in metrics])[groups.group_of_row])
        identities = keeping([labels[i] for i in of_metric.tolist()], IDENTIFYING)
        rows = _joined(evaluator, base, rows, identities, latest[of_metric], [added[i] for i in of_metric.tolist()])
    return rows


def _any_of(name: str, values: set[str]) -> Matcher:
    if len(values) > NAMED_COUNT_MAX:
        return Matcher(name, MatchOp.NOT_EQUAL, "")
    return Matcher(name, MatchOp.REGEX, "|".join(map(re.escape, sorted(values))))


def _latest(labels: list[Labels], present: Bools, times_ms: Int64s, groups: Grouping) -> Bools:
    """Of the rows of each group, the one with the latest sample at each step. Raises: QueryFailed, if two have it."""
    if groups.group_count == len(labels):
        return present
    time_ms = np.where(present, times_ms.astype(np.float64), -np.inf)
    chosen: Bools = present & (time_ms == reduce_rows(np.maximum, time_ms, groups)[groups.group_of_row])
    twice = reduce_rows(np.add, chosen.astype(np.float64), groups) > 1
    if twice.any():
        group, step = (int(found[0]) for found in np.nonzero(twice))
        first, second = np.flatnonzero((groups.group_of_row == group) & chosen[:, step])[:2].tolist()
        at_ms = int(times_ms[first, step])
        raise QueryFailed(
            f"found duplicate series for info metric: existing {text_of(labels[first])} @ {at_ms}, "
            f"new {text_of(labels[second])} @ {at_ms}"
        )
    return chosen


def _joined(
    evaluator: Evaluator, base: Vector, rows: Rows, identities: list[Labels], holds: Bools, added: list[Labels]
) -> Rows:
    """Each row once for each info row of one metric that belongs to it, and once for the steps where none does."""
    of_base = keeping(base.labels, IDENTIFYING)
    numbers, first_index = numbered([*of_base, *identities])
    of_row, of_info = numbers[: len(of_base)][rows.base], numbers[len(of_base) :]
    order = np.argsort(of_info, kind="stable")
    starts = np.searchsorted(of_info[order], of_row, side="left")
    count = np.searchsorted(of_info[order], of_row, side="right") - starts
    row = np.repeat(np.arange(count.size), count)
    info = order[np.repeat(starts - (np.cumsum(count) - count), count) + np.arange(row.size)]
    cell_count = (row.size + rows.base.size) * base.cells.value.shape[1]
    evaluator.ledger.limits.check_samples(cell_count, "needs")
    with evaluator.ledger.room(4 * cell_count):
        together = rows.holds[row] & holds[info]
        any_info = np.zeros((len(first_index), base.cells.value.shape[1]), np.bool_)
        np.logical_or.at(any_info, of_info, holds)
        alone = rows.holds & ~any_info[of_row]
        pairs = np.flatnonzero(together.any(axis=1))
        rest = np.flatnonzero(alone.any(axis=1))
        found = Rows(
            np.concatenate((rows.base[row[pairs]], rows.base[rest])),
            np.concatenate((together[pairs], alone[rest])),
            np.concatenate((np.ones(pairs.size, np.bool_), rows.is_enriched[rest])),
            [
                _with_added(rows.added[at], added[number], base.labels[rows.base[at]])
                for at, number in zip(row[pairs].tolist(), info[pairs].tolist(), strict=True)
            ]
            + [rows.added[at] for at in rest.tolist()],
        )
        evaluator.ledger.hold(found.holds)
    return found


def _with_added(before: Labels, added: Labels, base: Labels) -> Labels:
    """What several info metrics add to one row. Raises: QueryFailed, if two of them disagree."""
    if not before:
        return added
    own, known = dict(base), dict(before)
    for name, value in added:
        if name not in own and known.setdefault(name, value) != value:
            raise QueryFailed(f"conflicting label: {name}")
    return tuple(known.items())


def _named(base: Vector, plain: Int64s, rows: Rows) -> Vector:
    """The rows with all their labels, behind the info series themselves, which stay as they are."""
    is_info = np.ones(base.row_count, np.bool_)
    is_info[plain] = False
    unchanged = np.flatnonzero(is_info)
    source = np.concatenate((unchanged, plain[rows.base]))
    labels = [base.labels[i] for i in unchanged.tolist()]
    for at, added in zip(plain[rows.base].tolist(), rows.added, strict=True):
        # Labels of the series itself come before those of the info metric.
        labels.append(tuple(sorted({**dict(added), **dict(base.labels[at])}.items())) if added else base.labels[at])
    present = np.concatenate((base.cells.present[unchanged], rows.holds))
    return united(Vector(labels, Cells(base.cells.value[source], present), base.unnamed[source]).filled_rows())


FUNCTIONS: dict[str, Function] = {"info": _info}
