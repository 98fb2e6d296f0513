"""The handles of the other processes: changes go over the bus to the writer, reads come from the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.bus import AsyncClient, Client
from appliance.state.model import SERVICE
from appliance.state.mutations import Apply, Mutation
from appliance.state.reader import StateReader


class StateClient:
    """For threads. `read` works while the state process is down; apply() waits for it until its time-out.

    origin: asked at each change for the address or program that it comes from, for the audit.
    """

    def __init__(self, run_dir: Path, path: Path, *, origin: Callable[[], str] = str) -> None:
        self.read = StateReader(path)
        self._client = Client(run_dir, SERVICE)
        self._origin = origin

    def apply(self, mutations: Sequence[Mutation], *, actor: str, timeout_s: float = 5.0) -> int:
        """Apply all mutations or none. When this returns they are on disk. Returns the revision that has them.

        Raises: BusRefused with code "conflict", "not_found", "bad_request", "disk_full", "not_ready" or "busy": nothing
        was changed. BusTimeout, BusGone: all or nothing was changed; read to know.
        """
        wanted = Apply(list(mutations), actor, self._origin())
        reply = self._client.call("apply", wanted, timeout_s=timeout_s, type=int)
        return int(reply.body)

    def close(self) -> None:
        self._client.close()
        self.read.close()


class AsyncStateClient:
    """For an event loop. Reads are not awaited: they take tens of microseconds."""

    def __init__(self, run_dir: Path, path: Path) -> None:
        self.read = StateReader(path)
        self._client = AsyncClient(run_dir, SERVICE)

    async def apply(self, mutations: Sequence[Mutation], *, actor: str, timeout_s: float = 5.0) -> int:
        """As StateClient.apply."""
        reply = await self._client.call("apply", Apply(list(mutations), actor), timeout_s=timeout_s, type=int)
        return int(reply.body)

    def close(self) -> None:
        self._client.close()
        self.read.close()
