"""The options of a `ping` check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from checks.probes.options import Host, Options, limit_problems

Percent = Annotated[float, Meta(ge=0, le=100)]


class PingOptions(Options, frozen=True):
    host: Host
    count: Annotated[int, Meta(ge=1, le=20, description="Packets to send in one run")] = 3
    interval_s: Annotated[float, Meta(ge=0.01, le=10, description="Seconds between two packets")] = 0.2
    ip_version: Annotated[
        Literal["any", "4", "6"], Meta(description="Which addresses of the name to use; any prefers IPv4")
    ] = "any"
    warning_rtt_ms: Annotated[
        float | None, Meta(description="WARNING when the mean round trip takes longer", extra={"group": "limits"})
    ] = None
    critical_rtt_ms: Annotated[
        float | None, Meta(description="CRITICAL when the mean round trip takes longer", extra={"group": "limits"})
    ] = None
    warning_loss_percent: Annotated[
        Percent, Meta(description="WARNING from this share of lost packets on", extra={"group": "limits"})
    ] = 20
    critical_loss_percent: Annotated[
        Percent, Meta(description="CRITICAL from this share of lost packets on", extra={"group": "limits"})
    ] = 80
    payload_bytes: Annotated[int, Meta(ge=0, le=1400, description="Size of a packet's content")] = 56

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from limit_problems(
            self.warning_rtt_ms, self.critical_rtt_ms, fields=("warning_rtt_ms", "critical_rtt_ms")
        )
        yield from limit_problems(
            self.warning_loss_percent,
            self.critical_loss_percent,
            fields=("warning_loss_percent", "critical_loss_percent"),
        )
