"""How a command reaches the appliance that runs on a folder."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.bus import Client
from appliance.config import Config, load
from appliance.errors import CannotStart
from appliance.lock import running_pid
from appliance.secrets import SecretBox
from appliance.state import StateClient, state_path
from appliance.state.model import Document
from checks.errors import CheckError
from checks.model import DEFAULT_TEAM

COMMANDS = {"rule file": "rules"}  # Where a thing is not called as its command.


@dataclass(frozen=True, slots=True)
class Connection:
    """Handles on the state of a running appliance and on its scheduler."""

    config: Config
    state: StateClient
    box: SecretBox
    scheduler: Client

    @property
    def actor(self) -> str:
        """The name under which changes are audited."""
        try:
            return f"cli:{getpass.getuser()}"
        except (KeyError, OSError):
            return "cli"


@contextlib.contextmanager
def connected(data: Path | None) -> Iterator[Connection]:
    """Raises: CannotStart, when no appliance runs on the folder."""
    config = load(data_dir=data)
    if running_pid(config.data_dir) is None:
        raise CannotStart(f"no appliance runs on {config.data_dir}; start it with `henge up`, or give --data DIR")
    state = StateClient(config.run_dir, state_path(config.data_dir), origin=lambda: "command line")
    scheduler = Client(config.run_dir, "scheduler")
    try:
        yield Connection(config, state, SecretBox(config.data_dir), scheduler)
    finally:
        scheduler.close()
        state.close()


def find(documents: list[Document], asked: str, *, what: str, name_of: Callable[[Document], str]) -> Document:
    """The document with this id or this name. Raises: CheckError, if there is none or several."""
    for document in documents:
        if document.id == asked:
            return document
    named = [document for document in documents if name_of(document) == asked]
    if len(named) == 1:
        return named[0]
    if named:
        places = ", ".join(f"{document.id} of team {team_of(document.body)}" for document in named)
        raise CheckError("invalid", f"several {what}s are named {asked!r}: {places}; give the id")
    raise CheckError("not_found", f"there is no {what} {asked!r}; `henge {COMMANDS.get(what, what)} list` shows them")


def team_of(body: dict[str, Any]) -> str:
    """Of a check or a channel by its labels; of a rule file by a field of its own."""
    return str(body.get("team") or (body.get("labels") or {}).get("team", DEFAULT_TEAM))


def pairs(texts: tuple[str, ...], *, option: str) -> dict[str, str]:
    """`name=value` texts as a dict; a name given again adds a line. Raises: CheckError."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise CheckError("invalid", f"{option} {text!r}: write name=value")
        name = name.strip()
        found[name] = f"{found[name]}\n{value}" if name in found else value
    return found
