"""A dashboard of twelve panels over the devops workload, and what Grafana asks for each, times on the grid."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

HOUR_S = 3_600
QUARTER_S = 900
STEP_S = 15


@dataclass(frozen=True)
class Panel:
    """span_s of 0: the newest value alone, as a stat or a table shows it."""

    name: str
    expression: str
    span_s: int = HOUR_S
    step_s: int = STEP_S

    @property
    def path(self) -> str:
        return "/api/v1/query_range" if self.span_s else "/api/v1/query"

    def arguments(self, now_s: int) -> dict[str, str]:
        """now_s: the newest time there is; the range ends at the last multiple of the step."""
        if not self.span_s:
            return {"query": self.expression, "time": str(now_s)}
        end_s = now_s - now_s % self.step_s
        start_s = end_s - self.span_s
        return {"query": self.expression, "start": str(start_s), "end": str(end_s), "step": str(self.step_s)}


def dashboard(bench: Any, hosts: int, number: int) -> list[Panel]:
    """The panels of one dashboard: of a group of metrics, and of one host, which its number chooses."""
    chance = random.Random(number)
    group, host = chance.choice(bench.GROUPS), bench.host_name(chance.randrange(hosts))
    dc = f"dc{chance.randrange(10)}"
    return [
        Panel("rate by dc", f"sum by (dc) (rate({group}_bytes[5m]))"),
        Panel("mean by dc", f"avg by (dc) ({group}_user)"),
        Panel("share by dc", f"sum by (dc) ({group}_queue) / sum by (dc) ({group}_limit)", step_s=60),
        Panel("quantiles", f"quantile by (dc) (0.95, {group}_wait)", step_s=60),
        Panel("busy hosts", f"count({group}_user > 90)", QUARTER_S),
        Panel("highest", f'topk(5, rate({group}_reads{{dc="{dc}"}}[5m]))', step_s=60),
        Panel("host gauges", f'{{__name__=~"{group}_(user|system|idle|wait)",host="{host}"}}'),
        Panel("host rate", f'rate({group}_bytes{{host="{host}"}}[1m])', QUARTER_S),
        Panel("host errors", f'increase({group}_errors{{host="{host}"}}[5m])'),
        Panel("stat: mean", f"avg({group}_user)", 0),
        Panel("stat: series", f"count({group}_queue)", 0),
        Panel("table: highest", f"topk(10, {group}_queue)", 0),
    ]
