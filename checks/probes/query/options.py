"""The options of a `query` check: an expression over stored metrics, compared with limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from checks.probes.options import Options
from checks.probes.query.comparison import parse_comparison

EXPRESSION_BYTES_MAX = 16 * 1024


class QueryOptions(Options, frozen=True):
    expression: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=EXPRESSION_BYTES_MAX,
            description="PromQL; each label set of its answer has its own state",
            extra={"multiline": True, "placeholder": "rate(errors_total[5m])"},
        ),
    ]
    warning: Annotated[
        str, Meta(max_length=60, description="WARNING when a value is so", extra={"placeholder": "> 80"})
    ] = ""
    critical: Annotated[
        str, Meta(max_length=60, description="CRITICAL when a value is so", extra={"placeholder": "> 90"})
    ] = ""
    for_s: Annotated[float, Meta(ge=0, le=604_800, description="Seconds that it must have been so without a break")] = 0
    no_data: Annotated[
        Literal["unknown", "ok", "warning", "critical"], Meta(description="The result when the answer is empty")
    ] = "unknown"

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.warning and not self.critical:
            yield "critical", "give a comparison such as > 90 here or for warning"
        for field in ("warning", "critical"):
            text = getattr(self, field)
            if text:
                try:
                    parse_comparison(text)
                except ValueError as error:
                    yield field, str(error)
