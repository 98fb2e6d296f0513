"""rate and its kin: the change of a series over a window."""

from __future__ import annotations

from functools import partial

from tsdb.query.kernel.rates import extrapolated, instantaneous
from tsdb.query.promql.functions.family import Function, OverWindows

FUNCTIONS: dict[str, Function] = {
    "rate": OverWindows(partial(extrapolated, is_counter=True, is_rate=True), of_counter=True),
    "increase": OverWindows(partial(extrapolated, is_counter=True, is_rate=False), of_counter=True),
    "delta": OverWindows(partial(extrapolated, is_counter=False, is_rate=False)),
    "irate": OverWindows(partial(instantaneous, is_rate=True)),
    "idelta": OverWindows(partial(instantaneous, is_rate=False)),
}
