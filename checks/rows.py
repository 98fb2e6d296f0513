"""A result as rows of series: every number of a check goes to the store, and only there.

The names and labels are part of the appliance's contract. An UNKNOWN result writes no `henge_check_up`: what could
not be asked is neither up nor down, and must not lower anybody's availability.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from checks.model import Check, Result, State
from tsdb.errors import RefusedSample
from tsdb.sample import METRIC_NAME, Labels, labels_from

Row = tuple[Labels, int, float]
"""Labels, epoch ms, value: what tsdb.client takes."""

UP = "henge_check_up"
STATE = "henge_check_state"
DURATION = "henge_check_duration_seconds"
PERFDATA = "henge_check_perfdata"
PROBE_METRIC_COUNT_MAX = 5_000  # Of one result: a host with hundreds of disks and links has fewer.


def rows(check: Check, result: Result, *, host: str) -> tuple[list[Row], int]:
    """The rows of one result, and how many numbers were left out because they cannot be stored.

    host: the host part of the target, or the name of this machine.
    """
    kept: list[Row] = []
    refused_count = 0
    for name, labels, value in _numbers(check, result, host):
        try:
            kept.append((labels_from({**labels, METRIC_NAME: name}), result.at_ms, value))
        except RefusedSample:
            refused_count += 1
    return kept, refused_count


def _numbers(check: Check, result: Result, host: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    whose = {"check": check.name, "kind": check.kind, "host": host, "team": check.team}
    if result.state is not State.UNKNOWN:
        yield UP, whose, 0.0 if result.state is State.CRITICAL else 1.0
    yield STATE, whose, float(result.state)
    yield DURATION, whose, result.duration_s
    where = {"check": check.name, "host": host, "team": check.team}
    for perfdata in result.perfdata:
        if perfdata.value is not None and not math.isnan(perfdata.value):
            yield PERFDATA, {**where, "label": perfdata.label, "unit": perfdata.unit}, perfdata.value
    for metric in result.metrics[:PROBE_METRIC_COUNT_MAX]:
        if not math.isnan(metric.value):
            yield metric.name, {**where, **metric.labels}, metric.value
