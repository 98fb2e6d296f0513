"""What all probes of one event loop share: the resolver, the HTTP connections, the handles of other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.probes import ProbeContext

if TYPE_CHECKING:
    from appliance.clock import Clock
    from appliance.state import StateReader
    from checks.nagios.client import PluginClient
    from checks.probes.http.door import HttpDoor
    from checks.probes.resolver import Resolver
    from tsdb.client import AsyncTsdbClient


class Toolbox:
    """Made inside the event loop that it serves; the costly parts when the first check asks for them.

    A handle that is None makes the probes that need it answer UNKNOWN.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        plugins: PluginClient | None = None,
        tsdb: AsyncTsdbClient | None = None,
        state: StateReader | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._clock = clock
        self._plugins = plugins
        self._tsdb = tsdb
        self._state = state
        self._resolver = resolver
        self._http: HttpDoor | None = None
        self._memory: dict[str, Any] = {}

    def context(self, *, check_id: str, timeout_s: float) -> ProbeContext:
        """What one run of a check is given."""
        if self._resolver is None:
            from checks.probes.resolver import Resolver  # Costs c-ares and aiohttp: only in a process that checks.

            self._resolver = Resolver()
        if self._http is None:
            from checks.probes.http.door import HttpDoor

            self._http = HttpDoor(self._resolver)
        return ProbeContext(
            clock=self._clock,
            timeout_s=timeout_s,
            check_id=check_id,
            resolver=self._resolver,
            http=self._http,
            plugins=self._plugins,
            tsdb=self._tsdb,
            state=self._state,
            memory=self._memory,
        )

    def forget(self, check_id: str) -> None:
        """A check was deleted or changed: what its probe kept from run to run goes with it."""
        self._memory.pop(check_id, None)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
        if self._resolver is not None:
            await self._resolver.close()
