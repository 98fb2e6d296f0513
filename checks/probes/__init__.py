"""The kinds of checks: a registry of names, and what every probe is given and gives back.

A kind is a folder here; its modules are imported when a check of the kind is first met, so that a process pays only
for what it uses. Adding a kind: a folder with options.py and probe.py, and one line in KINDS.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from checks.probes.options import OptionError, Options, nearest

if TYPE_CHECKING:
    from appliance.clock import Clock
    from appliance.state import StateReader
    from checks.model import Result
    from checks.nagios.client import PluginClient
    from checks.probes.http.door import HttpDoor
    from checks.probes.resolver import Resolver
    from tsdb.client import AsyncTsdbClient

KINDS: dict[str, str] = {
    "http": "checks.probes.http.probe:HttpProbe",
    "tcp": "checks.probes.tcp.probe:TcpProbe",
    "ping": "checks.probes.ping.probe:PingProbe",
    "dns": "checks.probes.dns.probe:DnsProbe",
    "tls": "checks.probes.tls.probe:TlsProbe",
    "push": "checks.probes.push.probe:PushProbe",
    "nagios": "checks.probes.nagios.probe:NagiosProbe",
    "host": "checks.probes.host.probe:HostProbe",
    "query": "checks.probes.query.probe:QueryProbe",
}

OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeContext:
    """What a probe may use; a part that the process does not have is None, and the probe then answers UNKNOWN."""

    clock: Clock
    timeout_s: float = 10.0
    check_id: str = ""
    resolver: Resolver | None = None
    http: HttpDoor | None = None
    plugins: PluginClient | None = None
    tsdb: AsyncTsdbClient | None = None
    state: StateReader | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    """What a probe keeps from one run of a check to the next, by check id; lost when the process ends."""


class Probe(ABC, Generic[OptionsT]):
    """One kind of check. An object holds no state of its own, so one serves all checks of the kind.

    A fault of the target is a Result, never an exception: CRITICAL or WARNING, with a line that says what was found
    and which limit it broke. A fault of ours (no socket, no spawner) is UNKNOWN.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    options_type: type[OptionsT]

    @abstractmethod
    def target(self, options: OptionsT) -> str:
        """The host part of what is watched, for the label `host`; "" means this machine."""

    @abstractmethod
    async def run(self, options: OptionsT, context: ProbeContext) -> Result:
        """Look once, within context.timeout_s, and leave nothing open behind."""


_LOADED: dict[str, Probe[Any]] = {}  # A memo of immutable objects: filling it twice changes nothing.


def probe(kind: str) -> Probe[Any]:
    """The probe of a kind. Raises: OptionError on the field "kind", if there is none of that name."""
    found = _LOADED.get(kind)
    if found is None:
        place = KINDS.get(kind)
        if place is None:
            raise OptionError("kind", f"unknown kind {kind!r}{nearest(kind, KINDS)}; the kinds are {', '.join(KINDS)}")
        module_name, _, class_name = place.partition(":")
        found = _LOADED[kind] = getattr(importlib.import_module(module_name), class_name)()
    return found
