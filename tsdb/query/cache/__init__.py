"""Answers of range queries, kept so that a refresh evaluates the newest steps alone; docs/decisions/0009.

`reach` tells whether an expression may be kept, `kept` holds answers within a bound, `join` puts a kept and a fresh
part together, `ranges` decides which steps are which.
"""

from tsdb.query.cache.ranges import RangeCache, Use

__all__ = ["RangeCache", "Use"]
