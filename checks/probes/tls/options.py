"""The options of a `tls` check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from checks.probes.options import Host, Options, Port


class TlsOptions(Options, frozen=True):
    host: Host
    port: Port = 443
    server_name: Annotated[
        str, Meta(max_length=253, description="Name asked for and checked, when it is not the host")
    ] = ""
    warning_days: Annotated[
        float, Meta(ge=0, le=3650, description="WARNING when the certificate ends in fewer days")
    ] = 21
    critical_days: Annotated[
        float, Meta(ge=0, le=3650, description="CRITICAL when the certificate ends in fewer days")
    ] = 7
    verify_chain: Annotated[bool, Meta(description="An authority that this machine trusts must have signed it")] = True
    verify_name: Annotated[bool, Meta(description="The certificate must be for the name")] = True

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.warning_days < self.critical_days:
            text = f"{self.warning_days:g} is below critical_days, which is {self.critical_days:g}"
            yield "warning_days", f"{text}: WARNING would never be seen"
