"""The scheduler's handle on the spawner."""

from __future__ import annotations

from pathlib import Path

from appliance.bus import AsyncClient
from checks.nagios.plugin import SERVICE, PluginOutcome, PluginRun

ANSWER_MARGIN_S = 0.3  # For the way there and back, so that the spawner's own words about a time-out arrive.


class PluginClient:
    """For one event loop."""

    def __init__(self, run_dir: Path) -> None:
        self._client = AsyncClient(run_dir, SERVICE)

    async def run(self, run: PluginRun) -> PluginOutcome:
        """Run a program once.

        Raises: BusError, when the spawner is away, has too much to do, or ended meanwhile.
        """
        reply = await self._client.call("run", run, timeout_s=run.timeout_s + ANSWER_MARGIN_S, type=PluginOutcome)
        outcome: PluginOutcome = reply.body
        return outcome

    def close(self) -> None:
        self._client.close()
