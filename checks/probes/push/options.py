"""The options of a `push` check."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from checks.probes.options import Options


class PushOptions(Options, frozen=True):
    period_s: Annotated[
        float, Meta(ge=1, le=31_536_000, description="Seconds between two beats, as the sender is meant to send them")
    ] = 3600
    grace_s: Annotated[
        float, Meta(ge=0, le=31_536_000, description="Seconds that a beat may be late before it is CRITICAL")
    ] = 300
    secret: Annotated[
        str,
        Meta(
            max_length=100,
            pattern=r"^[A-Za-z0-9_-]*$",
            description="The last part of the address that the sender calls; made for you",
            extra={"generated": True},
        ),
    ] = ""
