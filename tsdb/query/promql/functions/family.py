"""What a function is given and gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from tsdb.query.promql.nodes import Call
from tsdb.query.promql.values import Value

if TYPE_CHECKING:
    from tsdb.query.promql.evaluator import Evaluator

Function: TypeAlias = "Callable[[Evaluator, Call], Value]"
