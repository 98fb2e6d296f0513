"""The messages of one channel on their way: begun in their order, several at once, those of one incident one by one.

An outage is a thousand messages at once; one after the other, with 40 ms for each answer, the last would leave after
its time. A recovery must never overtake its alert; that a message of another incident arrives a few milliseconds
sooner harms nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from appliance.state.model import Message
from scheduler.notify import TransportError

TOGETHER_COUNT = {"webhook": 16}  # Chats and phones show messages as they come, and limit their rate: one at a time.

Deliver = Callable[[Message], Awaitable[TransportError | None]]


def incident_id_of(message: Message) -> str:
    return str((message.body.get("incident") or {}).get("id") or message.id)


class ChannelRun:
    """One pass over what waits for a channel. It ends when all is sent, or when the channel fails."""

    def __init__(
        self,
        kind: str,
        *,
        deliver: Deliver,
        wait_s: Callable[[Message], float],
        is_refused: Callable[[Message], bool],
        may_begin: Callable[[], bool],
    ) -> None:
        self._together_count = TOGETHER_COUNT.get(kind, 1)
        self._deliver = deliver
        self._wait_s = wait_s
        self._is_refused = is_refused
        self._may_begin = may_begin
        self._held: set[str] = set()  # Incidents of which a message waits for its next attempt.
        self._is_down = False
        self._running: dict[asyncio.Task[TransportError | None], str] = {}

    async def send(self, messages: Sequence[Message]) -> None:
        try:
            for message in messages:
                if not await self._begin(message):
                    break
            await self._until(lambda: not self._running)
        finally:
            for task in self._running:
                task.cancel()

    async def _begin(self, message: Message) -> bool:
        """Begin to send a message, or pass it by; False ends the pass."""
        incident_id = incident_id_of(message)
        await self._until(
            lambda: incident_id not in self._running.values() and len(self._running) < self._together_count
        )
        if self._is_down or not self._may_begin():
            return False
        if incident_id in self._held:
            return True
        if self._wait_s(message) > 0:
            self._held.add(incident_id)
            return self._is_refused(message)  # Else the channel itself is to be left alone until then.
        task = asyncio.ensure_future(self._deliver(message))
        self._running[task] = incident_id
        if message.attempt_count > 0 and not self._is_refused(message):
            await self._until(lambda: not self._running)  # The channel has failed: one message tries it.
        return True

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                incident_id = self._running.pop(task)
                fault = task.result()
                if fault is not None:
                    self._held.add(incident_id)
                    self._is_down |= not fault.is_of_message
