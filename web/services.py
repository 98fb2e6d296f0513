"""What the web room works with: every collaborator is handed in, so that a test can hand in its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from flask import current_app

from appliance.clock import Clock
from appliance.config import Config
from appliance.metrics import Metrics
from appliance.secrets import SecretBox
from appliance.state import StateClient

if TYPE_CHECKING:
    from appliance.bus import Reply
    from tsdb.client import TsdbClient
    from web.board import Changes


class Ask(Protocol):
    """One request to another process of the appliance, by the name of its service."""

    def __call__(
        self, service: str, op: str, body: Any = None, *, columns: Sequence[Any] = (), timeout_s: float = 5.0
    ) -> Reply: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    config: Config
    clock: Clock
    metrics: Metrics
    state: StateClient
    tsdb: TsdbClient
    secrets: SecretBox
    ask: Ask
    port: int  # Of the listening socket; part of the cookie names, as cookies do not tell ports apart.
    changes: Changes | None = None  # What the hints of the state process told; None: nobody follows them.
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("henge.web"))

    def close(self) -> None:
        """Give the sockets back."""
        self.state.close()
        self.tsdb.close()
        self.ask.close()


def services() -> Services:
    """The collaborators of the application that answers the current request."""
    found = current_app.extensions["henge"]
    assert isinstance(found, Services)
    return found
