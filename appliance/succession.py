"""How a running supervisor becomes another executable, and how it comes back when that one is not good.

the one that runs                        the new executable
asks it: can you take this over?    →    reads the table, the settings, the process tree; starts nothing
writes its estate, execve(2)        →    adopts the children, answers as the supervisor, restarts each child
                                    ←    a child that cannot start, an error, 60 s without a word: the way back
adopts what runs, restarts each child
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from appliance.belongings import Belongings
from appliance.changes import Checked, ExecAsked
from appliance.errors import CannotStart
from appliance.estate import Estate, KeptRecord, read, written
from appliance.keeper import Keeper
from appliance.packaged import command, environment_for_others
from appliance.processes import load_tree, processes_of
from appliance.reloading import Reloading
from appliance.version import version

log = logging.getLogger(__name__)

CHECK_OPTION = "--check-handover"
CHECK_TIMEOUT_S = 30
WORDS_CHARS_MAX = 300


def check(fd: int, tree_target: str) -> Checked:
    """In the new executable: read everything that it would have to take over. Raises: CannotStart, ConfigError."""
    config = read(fd).config()
    list(processes_of(load_tree(tree_target, config)))
    return Checked(version())


@dataclass(slots=True, eq=False)
class Succession:
    """Of one supervisor. began: what was left to it, if it was not started anew."""

    began: Estate | None
    reloading: Reloading
    keeper: Keeper
    belongings: Belongings
    started_ms: int
    on_trial: bool = False
    next: tuple[list[str], Estate] | None = None  # Whom to become, when run() has ended.

    def status(self) -> dict[str, Any]:
        return {
            "number": self.began.number if self.began else 0,
            "on_trial": self.on_trial or self.next is not None,
            "gone_back_because": self.began.gone_back_because if self.began else None,
        }

    def checked(self, asked: ExecAsked) -> tuple[list[str], Checked]:
        """The command line of the next one, which says that it can. From any thread. Raises: CannotStart."""
        if sys.platform != "linux":
            raise CannotStart("a supervisor is replaced on Linux alone; stop the appliance and start it again")
        self._must_be_calm()
        prefix = [asked.executable] if asked.executable else command()
        argv = [*prefix, *sys.argv[1:]]
        fd = written(self._estate([], None, None))
        try:
            return argv, _answer([*argv, CHECK_OPTION, str(fd)], fd)
        finally:
            os.close(fd)

    async def leave(self, argv: Sequence[str], login_url: str | None, *, back_because: str | None = None) -> None:
        """End run() with everything written down. Raises: CannotStart."""
        if self.next is not None or self.keeper.ending:
            raise CannotStart("the supervisor is being replaced already, or stops")
        if back_because is None:
            self._must_be_calm()
        self.next = [*argv], self._estate([], login_url, back_because)
        kept = await self.keeper.leave()
        self.next = [*argv], self._estate(kept, login_url, back_because)

    def _must_be_calm(self) -> None:
        if not self.keeper.all_up or self.keeper.reloading:
            late = [name for name, phase in self.keeper.phases.items() if phase.value != "up"]
            raise CannotStart(f"not now: {', '.join(late) or 'a process'} is being restarted; try again in a moment")

    def _estate(self, children: list[Any], login_url: str | None, back_because: str | None) -> Estate:
        config, listeners = self.reloading.config, self.belongings.listeners
        return Estate(
            version=version(),
            argv=command(*sys.argv[1:]),
            number=(self.began.number if self.began else 0) + (back_because is None),
            gone_back_because=back_because,
            started_ms=self.started_ms,
            login_url=login_url,
            data_dir=str(config.data_dir),
            texts=dict(config.texts),
            sources=dict(config.sources),
            lock_fd=self.belongings.lock.fd,
            lifeline_read_fd=self.belongings.lifeline_read_fd,
            lifeline_write_fd=self.belongings.lifeline_write_fd,
            socket_fds={name: each.fileno() for name, each in listeners.sockets.items()},
            addresses={key: (address.host, address.port) for key, address in listeners.addresses.items()},
            children=children,
            records=[
                KeptRecord(each.name, each.restarts, each.last_exit, each.last_words)
                for each in self.keeper.records.values()
            ],
        )


def _answer(argv: list[str], fd: int) -> Checked:
    """Raises: CannotStart."""
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            argv,
            env=environment_for_others(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_TIMEOUT_S,
            pass_fds=(fd,),
            check=False,
        )
    except OSError as error:
        raise CannotStart(f"{argv[0]} cannot be executed: {error.strerror}; everything goes on as it was") from error
    except subprocess.TimeoutExpired as error:
        raise CannotStart(f"{name} did not say within {CHECK_TIMEOUT_S} s whether it can take over") from error
    if done.returncode == 0:
        try:
            return msgspec.json.decode(done.stdout, type=Checked)
        except msgspec.MsgspecError:
            pass  # Some other program.
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines() or ["it said nothing"]
    raise CannotStart(
        f"{name} cannot take over (exit status {done.returncode}): {said[-1][:WORDS_CHARS_MAX]}; "
        f"everything goes on as it was"
    )
