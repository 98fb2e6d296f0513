"""The families of functions, one file each; importing this enters them all into the table of the registry."""

from tsdb.query.graphite.functions import (
    alias,
    combine,
    filters,
    graph,
    grouping,
    neighbours,
    ratios,
    special,
    transform,
)

__all__ = ["alias", "combine", "filters", "graph", "grouping", "neighbours", "ratios", "special", "transform"]
