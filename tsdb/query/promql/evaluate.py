"""The two doors: an expression at one time, or at every step of a range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tsdb.answer import AnswerKind, QueryAnswer
from tsdb.errors import RefusedQuery
from tsdb.interface import SeriesSource
from tsdb.query.kernel.blocks import series_blocks, temporary_sample_bytes
from tsdb.query.kernel.steps import Steps
from tsdb.query.promql import nodes
from tsdb.query.promql.annotations import Annotations
from tsdb.query.promql.evaluator import Evaluator, QueryRange, as_samples, finished_vector
from tsdb.query.promql.ledger import Ledger
from tsdb.query.promql.limits import Deadline, Limits, Options
from tsdb.query.promql.parse import parse
from tsdb.query.promql.shared import Shared
from tsdb.query.promql.values import Scalar
from tsdb.sample import Selection

DEFAULT_LIMITS = Limits()
DEFAULT_OPTIONS = Options()
# 285,000 years: far from the ends of int64, so that ranges and offsets of centuries cannot overflow it.
TIME_MS_MAX = 2**53
FOREVER = Deadline(None)


def instant(
    expression: str,
    time_ms: int,
    source: SeriesSource,
    limits: Limits = DEFAULT_LIMITS,
    deadline: Deadline = FOREVER,
    options: Options = DEFAULT_OPTIONS,
    ledger: Ledger | None = None,
) -> QueryAnswer:
    """The value of an expression at one time. A ledger, if given, comes instead of the limits and the deadline.

    Raises: RefusedQuery, NotSupported, QueryFailed, QueryTooLarge, QueryTimeout, QueryCancelled, QueriesBusy.
    """
    ledger = Ledger(limits, deadline) if ledger is None else ledger
    _check_time(time_ms)
    with ledger.stage("parse"):
        node = parse(expression)
    steps = Steps(time_ms, 1, 1)
    evaluator = Evaluator(
        source, QueryRange(time_ms, time_ms, None), steps, ledger, options, Annotations(), Shared(node)
    )
    with np.errstate(all="ignore"):
        answer = _instant_answer(evaluator, node)
    return _annotated(answer, evaluator.annotations)


def _instant_answer(evaluator: Evaluator, node: nodes.Node) -> QueryAnswer:
    steps, ledger = evaluator.steps, evaluator.ledger
    if nodes.type_of(node) is nodes.ValueType.MATRIX:
        return _matrix_answer(evaluator.samples(node), ledger)
    value = evaluator.evaluate(node)
    if isinstance(value, str):
        return QueryAnswer(kind=AnswerKind.STRING, text=value, timestamp_ms=steps.times_ms())
    if isinstance(value, Scalar):
        return QueryAnswer(kind=AnswerKind.SCALAR, timestamp_ms=steps.times_ms(), value=value.value)
    samples = as_samples(finished_vector(value, steps), steps, ledger)
    return QueryAnswer(
        kind=AnswerKind.VECTOR,
        labels=[dict(labels) for labels in samples.labels],
        offsets=samples.offsets,
        timestamp_ms=samples.timestamp_ms,
        value=samples.value,
    )


def _annotated(answer: QueryAnswer, annotations: Annotations) -> QueryAnswer:
    return replace(answer, warnings=annotations.warnings, infos=annotations.infos)


def range_(
    expression: str,
    start_ms: int,
    end_ms: int,
    step_ms: int,
    source: SeriesSource,
    limits: Limits = DEFAULT_LIMITS,
    deadline: Deadline = FOREVER,
    options: Options = DEFAULT_OPTIONS,
    ledger: Ledger | None = None,
) -> QueryAnswer:
    """The value of an expression at start_ms, start_ms + step_ms, … up to end_ms, as a matrix sorted by labels.

    A ledger, if given, comes instead of the limits and the deadline.
    Raises: RefusedQuery, NotSupported, QueryFailed, QueryTooLarge, QueryTimeout, QueryCancelled, QueriesBusy.
    """
    ledger = Ledger(limits, deadline) if ledger is None else ledger
    if step_ms <= 0:
        raise RefusedQuery(
            f"zero or negative query resolution step widths are not accepted: the step is {step_ms} ms. "
            f"Try a positive integer"
        )
    if end_ms < start_ms:
        raise RefusedQuery(f"end timestamp must not be before start time: {end_ms} ms is before {start_ms} ms")
    _check_time(start_ms)
    _check_time(end_ms)
    steps = Steps.over(start_ms, end_ms, step_ms)
    ledger.limits.check_steps(steps.count)
    with ledger.stage("parse"):
        node = parse(expression)
    if (kind := nodes.type_of(node)) not in (nodes.ValueType.SCALAR, nodes.ValueType.VECTOR):
        raise RefusedQuery(f'invalid expression type "{kind.value}" for range query, must be Scalar or instant Vector')
    evaluator = Evaluator(
        source, QueryRange(start_ms, end_ms, step_ms), steps, ledger, options, Annotations(), Shared(node)
    )
    with np.errstate(all="ignore"):
        value = finished_vector(evaluator.evaluate(node), steps)
        samples = as_samples(value, steps, ledger)
    return _annotated(_matrix_answer(samples, ledger), evaluator.annotations)


def _check_time(time_ms: int) -> None:
    if abs(time_ms) > TIME_MS_MAX:
        raise RefusedQuery(f"the time {time_ms} ms is not in the range of ±{TIME_MS_MAX} ms; give seconds since 1970")


def _matrix_answer(samples: Selection, ledger: Ledger) -> QueryAnswer:
    """Series in the order of their labels."""
    labels = list(samples.labels)
    order = sorted(range(len(labels)), key=labels.__getitem__)
    if order == list(range(samples.series_count)):
        offsets, timestamp_ms, value = samples.offsets, samples.timestamp_ms, samples.value
    else:
        rows = np.array(order, np.int64)
        count = np.diff(samples.offsets)[rows]
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(count)))
        with ledger.room(16 * samples.value.size + temporary_sample_bytes(offsets)):
            timestamp_ms, value = np.empty(int(offsets[-1]), np.int64), np.empty(int(offsets[-1]))
            for block in series_blocks(offsets, 1):
                ledger.check("result preparation")
                part = slice(int(offsets[block.start]), int(offsets[block.stop]))
                index = np.repeat(samples.offsets[:-1][rows[block]] - offsets[block.start : block.stop], count[block])
                index += np.arange(part.start, part.stop)
                timestamp_ms[part], value[part] = samples.timestamp_ms[index], samples.value[index]
            ledger.hold(timestamp_ms, value)
    return QueryAnswer(
        kind=AnswerKind.MATRIX,
        labels=[dict(labels[i]) for i in order],
        offsets=offsets,
        timestamp_ms=timestamp_ms,
        value=value,
    )
