"""The options of a `host` check: this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from checks.probes.options import Options, limit_problems

Percent = Annotated[float | None, Meta(description="Percent")]


class HostOptions(Options, frozen=True):
    disk_warning_percent: Annotated[
        float | None, Meta(description="WARNING when a file system is fuller than this share, in percent")
    ] = 85
    disk_critical_percent: Annotated[
        float | None, Meta(description="CRITICAL when a file system is fuller than this share, in percent")
    ] = 95
    memory_warning_percent: Annotated[
        float | None, Meta(description="WARNING when more of the memory is in use, in percent")
    ] = 90
    memory_critical_percent: Annotated[
        float | None, Meta(description="CRITICAL when more of the memory is in use, in percent")
    ] = 97
    load_warning: Annotated[float | None, Meta(description="WARNING when the 5-minute load per core is higher")] = None
    load_critical: Annotated[float | None, Meta(description="CRITICAL when the 5-minute load per core is higher")] = (
        None
    )
    mounts: Annotated[
        list[str],
        Meta(max_length=100, description="File systems to watch, by mount point, one a line; empty means all on disks"),
    ] = msgspec.field(default_factory=list)

    def problems(self) -> Iterator[tuple[str, str]]:
        for name in ("disk", "memory"):
            fields = (f"{name}_warning_percent", f"{name}_critical_percent")
            warning, critical = (getattr(self, field) for field in fields)
            yield from limit_problems(warning, critical, fields=fields)
            for field, value in zip(fields, (warning, critical), strict=True):
                if value is not None and value > 100:
                    yield field, f"{value:g} is above 100 percent"
        yield from limit_problems(self.load_warning, self.load_critical, fields=("load_warning", "load_critical"))
        for mount in self.mounts:
            if not mount.startswith("/"):
                yield "mounts", f"{mount!r} must be a full path"
