"""PromQL: expressions as Prometheus 3 understands them, evaluated at all steps at once on the kernel.

`guard` looks before the parser leaps, `parse` makes the tree (`nodes`), `evaluator` walks it; `aggregate`, `binary`
with `matching`, and the families in `functions` do the work. What is not built is refused by name, never answered
wrongly.
"""

from tsdb.query.promql.evaluate import instant, range_
from tsdb.query.promql.ledger import Ledger, Pool
from tsdb.query.promql.limits import Deadline, Limits, Options

__all__ = ["Deadline", "Ledger", "Limits", "Options", "Pool", "instant", "range_"]
