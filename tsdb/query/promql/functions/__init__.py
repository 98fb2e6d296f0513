"""The functions of PromQL, in small families; each takes the evaluator and the call, and gives the value.

The parser has checked the number and the types of the arguments.
"""

from __future__ import annotations

from tsdb.query.promql.functions import clock, elementwise, enrich, histograms, labelling, over_time, rates, scalars
from tsdb.query.promql.functions.family import Function

FUNCTIONS: dict[str, Function] = {
    **clock.FUNCTIONS,
    **elementwise.FUNCTIONS,
    **enrich.FUNCTIONS,
    **histograms.FUNCTIONS,
    **labelling.FUNCTIONS,
    **over_time.FUNCTIONS,
    **rates.FUNCTIONS,
    **scalars.FUNCTIONS,
}
