"""The families of functions, one file each; importing this enters them all into the table of the registry."""

from tsdb.query.graphite.functions import combine, grouping, neighbours, ratios, transform

__all__ = ["combine", "grouping", "neighbours", "ratios", "transform"]
