"""Takes the notices that intake reads: one transaction for all of a message."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.bus import BusError
from appliance.clock import Clock
from appliance.state import AsyncStateClient
from checks.notices import outcome_of
from scheduler.inventory import Inventory
from tsdb.notices import Notice, Unwanted

ACTOR = "statsd"


class Notices:
    """For the event loop."""

    def __init__(self, inventory: Inventory, state: AsyncStateClient, clock: Clock) -> None:
        self._inventory = inventory
        self._state = state
        self._clock = clock

    async def take(self, notices: Sequence[Notice]) -> list[Unwanted]:
        """Write what they mean. Returns those that mean nothing here, or could not be written."""
        checks = [(watched.id, watched.check) for watched in self._inventory.watched.values()]
        mutations, unwanted = outcome_of(notices, checks, self._clock.now_ms())
        if mutations:
            try:
                await self._state.apply(mutations, actor=ACTOR)
            except BusError as error:
                known = {one.index for one in unwanted}
                unwanted += [Unwanted(at, "not_kept", str(error)) for at in range(len(notices)) if at not in known]
        return unwanted
