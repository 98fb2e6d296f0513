"""Secret options: sealed in documents, open only for the run or the message that needs them, hidden from readers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

HIDDEN = "********"
"""Stands in answers for a secret that is set. Sent back in a change, it means "as it was"."""
MARK = "sealed:"


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


def _is_sealed(value: object) -> bool:
    return isinstance(value, str) and value.startswith(MARK)
