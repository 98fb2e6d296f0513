"""The message by which a person tries a channel."""

from __future__ import annotations

import secrets
from typing import Any

from checks.channels import Channel, ChannelError
from checks.incidents import Event
from scheduler.notify import TransportError
from scheduler.outbox import Sender

TEXT = "This is a test from Henge. If you can read this, messages of this channel arrive."


def test_body(channel: Channel, *, now_ms: int) -> dict[str, Any]:
    """A message of the same shape as an alert."""
    return {
        "id": f"test-{secrets.token_hex(8)}",
        "event": Event.TEST.value,
        "incident": {
            "id": "test",
            "title": f"TEST: channel {channel.name} works",
            "state": "resolved",
            "started_at_ms": now_ms,
            "resolved_at_ms": now_ms,
            "last_ok_ms": now_ms,
            "instance": {},
            "worst": "ok",
        },
        "check": {"id": "test", "name": "test", "kind": "test", "labels": {"team": channel.team}},
        "state": "ok",
        "output": TEXT,
        "at_ms": now_ms,
        "link": "/channels",
    }


async def send_test(sender: Sender, channel: Channel, *, now_ms: int) -> dict[str, Any]:
    """Send one now, without the outbox: the person waits for the receiver's answer."""
    try:
        answer = await sender.send(channel, test_body(channel, now_ms=now_ms), now_ms=now_ms)
    except (TransportError, ChannelError) as error:
        return {"delivered": False, "detail": str(error)}
    return {"delivered": True, "detail": answer}
