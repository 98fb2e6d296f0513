"""The options of a `dns` check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from checks.probes.options import CriticalSeconds, Options, Port, WarningSeconds, limit_problems


class DnsOptions(Options, frozen=True):
    name: Annotated[
        str, Meta(min_length=1, max_length=253, description="The name to ask for", extra={"placeholder": "example.org"})
    ]
    record_type: Annotated[
        Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"],
        Meta(description="The kind of record; PTR takes an IP address as the name"),
    ] = "A"
    server: Annotated[
        str,
        Meta(
            max_length=253,
            description="The name server to ask, by address or name; empty asks this machine's own",
            extra={"placeholder": "192.0.2.53"},
        ),
    ] = ""
    port: Port = 53
    expected: Annotated[
        list[str],
        Meta(max_length=50, description="Values that must be in the answer, one a line, as a zone file writes them"),
    ] = msgspec.field(default_factory=list)
    match: Annotated[
        Literal["all", "any", "exact"],
        Meta(description="all: each value is there; any: one of them is; exact: they and no others"),
    ] = "all"
    rcode: Annotated[
        Literal["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"],
        Meta(description="How the server must answer; NXDOMAIN watches that a name stays away"),
    ] = "NOERROR"
    transport: Literal["udp", "tcp"] = "udp"
    warning_s: WarningSeconds = None
    critical_s: CriticalSeconds = None

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.expected and self.rcode != "NOERROR":
            yield "expected", f"an answer with {self.rcode} has no values; leave this empty"
        labels = self.name.rstrip(".").split(".")
        if self.name != "." and any(not 1 <= len(label.encode()) <= 63 for label in labels):
            yield "name", f"{self.name!r}: every part between the dots has 1 to 63 bytes"
        yield from limit_problems(self.warning_s, self.critical_s)
