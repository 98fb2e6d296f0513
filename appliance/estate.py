"""What a supervisor leaves to the executable that takes its place: the descriptors and the table of its children.

A process keeps its number, its descriptors and its children over execve(2), and nothing else. So the rest is written
into memory (memfd_create(2), sealed against changes) whose descriptor the next one inherits. The children notice
nothing: their parent has the same number, the pipe that tells them of its end stays open.

    environment HENGE_ESTATE=<descriptor>     the memory: Estate as JSON
    FORMAT                                    raised when an older reader would go wrong; another one is refused
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from appliance.config import Config, from_texts
from appliance.errors import CannotStart
from appliance.packaged import environment_for_others
from appliance.version import version

FORMAT = 1
ESTATE_VARIABLE = "HENGE_ESTATE"
BYTES_MAX = 64 * 2**20
# For the new executable to answer for the children; a second on a calm machine. The kernel's alarm outlives execve(2).
TAKE_OVER_TIMEOUT_S = 60
BLOCKED_MEANWHILE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # They wait for the handlers of the next one.


class KeptChild(msgspec.Struct, frozen=True):
    """A child that answers, and what people see of it."""

    name: str
    pid: int
    output_fd: int
    rest: bytes  # Of a line of its output that has begun.
    started_ms: int


class KeptRecord(msgspec.Struct, frozen=True):
    name: str
    restarts: int
    last_exit: str | None
    last_words: str | None


class Estate(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the next supervisor has to know."""

    format: int = FORMAT
    version: str
    argv: list[str]  # What executes the one that leaves this, for the way back.
    number: int  # How often this appliance has been handed over.
    gone_back_because: str | None  # Set on the way back: it is not tried again from there.
    started_ms: int
    login_url: str | None
    data_dir: str
    texts: dict[str, str]
    sources: dict[str, str]
    lock_fd: int
    lifeline_read_fd: int
    lifeline_write_fd: int
    socket_fds: dict[str, int]
    addresses: dict[str, tuple[str, int]]
    children: list[KeptChild]
    records: list[KeptRecord]

    @property
    def fds(self) -> list[int]:
        return [
            *(self.lock_fd, self.lifeline_read_fd, self.lifeline_write_fd),
            *self.socket_fds.values(),
            *(child.output_fd for child in self.children),
        ]

    def config(self) -> Config:
        """The settings that count: those that were accepted last. Raises: ConfigError."""
        return from_texts(Path(self.data_dir), self.texts, self.sources)


class _Head(msgspec.Struct, frozen=True):
    """What every format begins with."""

    format: int
    version: str


def written(estate: Estate) -> int:
    """A descriptor of the estate, which nobody can change any more. Raises: OSError."""
    fd = os.memfd_create("henge-estate", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    content = msgspec.json.encode(estate)
    assert os.pwrite(fd, content, 0) == len(content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return fd


def read(fd: int) -> Estate:
    """Raises: CannotStart, if this executable cannot take it over."""
    content = os.pread(fd, BYTES_MAX, 0)
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.format != FORMAT:
            raise CannotStart(
                f"this Henge ({version()}) takes over format {FORMAT}, and the running one ({head.version}) hands over "
                f"format {head.format}; stop the appliance and start this one"
            )
        return msgspec.json.decode(content, type=Estate)
    except msgspec.MsgspecError as error:
        raise CannotStart(f"what the running appliance hands over cannot be read: {error}") from error


def inherited_estate() -> Estate | None:
    """What was left to this process; None when it was started anew. To be asked once, before it starts anything."""
    text = os.environ.pop(ESTATE_VARIABLE, None)
    if text is None:
        return None
    estate = read(int(text))
    os.close(int(text))
    for fd in estate.fds:
        os.set_inheritable(fd, False)
    return estate


def hand_over(argv: Sequence[str], estate: Estate) -> NoReturn:
    """Become another executable. To be called by the main thread: the children are tied to it.

    When it cannot be executed at all, the way back is taken at once. Raises: OSError, when that fails too.
    """
    assert sys.platform == "linux"
    fd = written(estate)
    for each in (fd, *estate.fds):
        os.set_inheritable(each, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_MEANWHILE)
    signal.setitimer(signal.ITIMER_REAL, TAKE_OVER_TIMEOUT_S)
    environ = environment_for_others() | {ESTATE_VARIABLE: str(fd)}
    try:
        os.execve(argv[0], list(argv), environ)  # noqa: S606 - No shell is wanted: this process becomes the next one.
    except OSError as error:
        if estate.gone_back_because is not None:
            raise
        hand_over(estate.argv, returned(estate, f"{argv[0]} cannot be executed: {error.strerror}"))


def returned(estate: Estate, why: str) -> Estate:
    """The same for the one that has left it."""
    return msgspec.structs.replace(estate, gone_back_because=why)


class EarlySignals:
    """What arrives before there is a loop to handle it; and the alarm, by which an executable that hangs goes back."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._received: list[signal.Signals] = []
        self._is_settled = False
        signal.signal(signal.SIGALRM, self._too_late)
        for number in BLOCKED_MEANWHILE:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _frame: self._received.append(signal.Signals(number)))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_MEANWHILE)

    def _too_late(self, _number: int, _frame: object) -> None:
        self.go_back(f"it did not take over within {TAKE_OVER_TIMEOUT_S} s")

    def go_back(self, why: str) -> None:
        """Become the one that was before; does nothing on the way back itself, nor when the loop has taken over."""
        if self._estate.gone_back_because is None and not self._is_settled:
            hand_over(self._estate.argv, returned(self._estate, why))

    def settled(self) -> list[signal.Signals]:
        """The loop has taken over: no alarm any more. Returns: what has arrived meanwhile."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._is_settled = True
        return self._received
