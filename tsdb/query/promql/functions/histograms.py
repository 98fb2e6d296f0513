"""Quantiles of classic histograms: series that count up to a bound, given in the label `le`."""

from __future__ import annotations

from tsdb.query.promql.functions.family import Function

FUNCTIONS: dict[str, Function] = {}
