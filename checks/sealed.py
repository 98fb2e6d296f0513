"""Secret options: sealed in documents, open only for the run or the message that needs them, hidden from readers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

HIDDEN = "********"
"""Stands in answers for a secret that is set. Sent back in a change, it means "as it was"."""
MARK = "sealed:"
SENT_TO = {  # kind: its secret, and the options that say to whom it is sent
    "http": ("password", ("url", "proxy", "verify_tls")),
    "email": ("password", ("smtp_host", "smtp_port", "security")),
    "ntfy": ("token", ("server",)),
}


class Box(Protocol):
    """What seals: appliance.secrets.SecretBox."""

    def seal(self, text: str) -> str: ...

    def open(self, sealed: str) -> str: ...


def sealed(options: Mapping[str, Any], names: Collection[str], box: Box) -> dict[str, Any]:
    """Options as they are stored. Empty secrets stay empty."""
    return {
        name: MARK + box.seal(value) if name in names and isinstance(value, str) and value else value
        for name, value in options.items()
    }


def opened(options: Mapping[str, Any], names: Collection[str], box: Box) -> dict[str, Any]:
    """Undo sealed. Raises: what box.open raises, when the key is another one."""
    return {
        name: box.open(value.removeprefix(MARK)) if name in names and _is_sealed(value) else value
        for name, value in options.items()
    }


def hidden(options: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Options as readers may see them."""
    return {name: HIDDEN if name in names and value else value for name, value in options.items()}


def carried_off(
    kind: str, before: Mapping[str, Any], after: Mapping[str, Any], written: Mapping[str, Any]
) -> str | None:
    """The secret that a change would send to another receiver than it was given for, or None.

    Who may change a check or a channel may not therefore read its password, by pointing it at a host of his own: a new
    receiver wants the secret written again. before, after: options with their defaults. written: the options of the
    change; the hidden form is not a writing.
    """
    if kind not in SENT_TO:
        return None
    secret, destination = SENT_TO[kind]
    is_kept = before[secret] and after[secret] == before[secret] and written.get(secret, HIDDEN) == HIDDEN
    moved = any(_receiver(before[name]) != _receiver(after[name]) for name in destination)
    return secret if is_kept and moved else None


def _receiver(value: object) -> object:
    """Of an address, the part that names who answers; a path on the same server is the same receiver."""
    return urlsplit(value)[:2] if isinstance(value, str) and "://" in value else value


def _is_sealed(value: object) -> bool:
    return isinstance(value, str) and value.startswith(MARK)
