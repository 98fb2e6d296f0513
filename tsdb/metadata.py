"""What a metric is, as its sender says it: handed from intake to the rooms above."""

from __future__ import annotations

import msgspec

# By the number that remote-write gives them, in both versions.
KINDS = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")


class MetricMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """type: one of KINDS."""

    metric: str
    type: str
    help: str
    unit: str
