"""`henge top` of a real tree: once, and live in a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.appliance.house import ENVIRONMENT, House, henge, run_henge, running
from tests.waiting import wait_until

ALTERNATE_SCREEN, USUAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running("web_tree", tmp_path_factory.mktemp("top")) as started:
        started.wait_ready()
        yield started


@dataclass
class Terminal:
    """The end of a terminal of 80 × 24 that a person sits at."""

    fd: int
    own_fd: int  # The other end, on which the program's settings of the terminal can be read.
    popen: subprocess.Popen[bytes]
    seen: str = field(default="")

    def sees(self, words: str) -> bool:
        while select.select([self.fd], [], [], 0)[0]:
            self.seen += os.read(self.fd, 65_536).decode(errors="replace")
        return words in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen) or words in self.seen

    @property
    def is_cooked(self) -> bool:
        return bool(termios.tcgetattr(self.own_fd)[3] & termios.ICANON)


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    fd, own_fd = pty.openpty()
    fcntl.ioctl(own_fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = {**ENVIRONMENT, "TERM": "xterm-256color"} | {"COLUMNS": "80", "LINES": "24"}
    popen = subprocess.Popen(
        henge(*arguments), env=environ, stdin=own_fd, stdout=own_fd, stderr=own_fd, start_new_session=True
    )
    try:
        yield Terminal(fd, own_fd, popen)
    finally:
        popen.kill()
        popen.wait(10)
        os.close(fd)
        os.close(own_fd)


def test_once_prints_one_picture_and_ends(house: House) -> None:
    ended = run_henge("top", "--once", "--data", str(house.data_dir))
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[1].startswith("2 of 2 processes up, 0 restarts, CPU ")
    pid = house.status()["echo"]["pid"]
    assert any(re.match(rf"└─ echo +{pid}  up +0 +\d+\.\d % +\d+ MiB", line) for line in lines), ended.stdout
    assert lines[-1] == "Silent      first, echo", "these have no service on the bus"
    assert "\x1b" not in ended.stdout


def test_without_an_appliance_it_is_refused(tmp_path: Path) -> None:
    ended = run_henge("top", "--data", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"henge: no appliance runs on {tmp_path}")


@pytest.mark.parametrize("end", ["q", "\x03", signal.SIGTERM], ids=["q", "Ctrl-C", "SIGTERM"])
def test_live_it_ends_and_gives_the_terminal_back(house: House, end: str | signal.Signals) -> None:
    with terminal("top", "--data", str(house.data_dir)) as shown:
        wait_until(lambda: shown.sees("├─ first"), what="the picture")
        assert ALTERNATE_SCREEN in shown.seen
        assert not shown.is_cooked
        if isinstance(end, str) and end == "q":
            os.write(shown.fd, b"\x1b[A")  # An arrow key means nothing here.
            os.write(shown.fd, b"q")
        else:
            shown.popen.send_signal(signal.SIGINT if isinstance(end, str) else end)
        assert wait_until(lambda: shown.popen.poll() is not None, what="the end")
        assert shown.popen.returncode == 0
        assert shown.sees(USUAL_SCREEN)
        assert shown.is_cooked


def test_live_it_says_when_the_appliance_is_gone(tmp_path: Path) -> None:
    with running("web_tree", tmp_path) as own:
        own.wait_ready()
        with terminal("top", "--data", str(own.data_dir)) as shown:
            wait_until(lambda: shown.sees("├─ first"), what="the picture")
            own.stop()
            wait_until(lambda: shown.sees("The supervisor does not answer"), what="the word of its end")
            assert shown.popen.poll() is None
