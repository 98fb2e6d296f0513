"""The families of functions, one file each; importing this enters them all into the table of the registry."""

from tsdb.query.graphite.functions import (
    alias,
    calculate,
    combine,
    filters,
    graph,
    grouping,
    holt_winters,
    moving,
    neighbours,
    ratios,
    shift,
    special,
    summaries,
    transform,
)

__all__ = [
    "alias",
    "calculate",
    "combine",
    "filters",
    "graph",
    "grouping",
    "holt_winters",
    "moving",
    "neighbours",
    "ratios",
    "shift",
    "special",
    "summaries",
    "transform",
]
