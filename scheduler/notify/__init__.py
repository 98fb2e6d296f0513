"""Ways to tell people: one module for each, all of one form.

A transport sends one message once, and returns what the receiver answered. It raises TransportError when it was not
delivered; who tries again, and when, is the outbox's business. `apprise` is imported by the first message that needs
it: it costs 30 MB.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from checks.channels import Channel, ChannelOptions, options_of

SEND_TIMEOUT_S = 15.0  # From the first byte to the answer; a receiver slower than this is tried again.
ANSWER_CHARACTERS_MAX = 300

KINDS: dict[str, str] = {
    "webhook": "scheduler.notify.webhook:Webhooks",
    "email": "scheduler.notify.through_apprise:Apprises",
    "slack": "scheduler.notify.through_apprise:Apprises",
    "teams": "scheduler.notify.through_apprise:Apprises",
    "ntfy": "scheduler.notify.through_apprise:Apprises",
    "apprise": "scheduler.notify.through_apprise:Apprises",
}


class TransportError(Exception):
    """A message was not delivered.

    is_of_message: the receiver is well and refuses this very message, so others of the channel need not wait for it.
    """

    def __init__(self, detail: str, *, is_of_message: bool = False) -> None:
        super().__init__(detail)
        self.is_of_message = is_of_message


class Transport(Protocol):
    async def send(self, options: Any, body: Mapping[str, Any], *, now_ms: int) -> str:
        """Send one message: its body as checks.incidents.message makes it. Raises: TransportError."""

    async def close(self) -> None: ...


class Transports:
    """The transports of one event loop, each made when the first message needs it."""

    def __init__(self) -> None:
        self._made: dict[str, Transport] = {}

    async def send(self, channel: Channel, body: Mapping[str, Any], *, now_ms: int) -> str:
        """Raises: TransportError, and ChannelError when the channel's options are wrong."""
        options: ChannelOptions = options_of(channel)
        return await self._transport(channel.kind).send(options, body, now_ms=now_ms)

    def _transport(self, kind: str) -> Transport:
        place = KINDS[kind]
        if place not in self._made:
            module, _, name = place.partition(":")
            self._made[place] = getattr(importlib.import_module(module), name)()
        return self._made[place]

    async def close(self) -> None:
        for transport in self._made.values():
            await transport.close()
