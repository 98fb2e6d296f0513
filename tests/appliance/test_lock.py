"""The locks: who holds a folder, and when it is free again."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import lock
from appliance.errors import CannotStart
from appliance.lock import lock_folder, prepare_folder, running_pid
from tests.appliance.house import ENVIRONMENT

HOLD = """
import subprocess, sys
from pathlib import Path
from appliance.lock import lock_folder
held = lock_folder(Path(sys.argv[1]))
if sys.argv[2] == "with a child":
    child = subprocess.Popen(["sleep", "60"], pass_fds=[held.fd], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
else:
    print(0, flush=True)
sys.stdin.read()
"""


def holder(folder: Path, how: str = "alone") -> tuple[subprocess.Popen[str], int]:
    """Another process that holds the folder, and the pid of its child, if it has one."""
    popen = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), how],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert popen.stdout is not None
    return popen, int(popen.stdout.readline())


def end(popen: subprocess.Popen[str]) -> None:
    popen.kill()
    popen.communicate()


def test_a_free_folder_has_no_holder(tmp_path: Path) -> None:
    assert running_pid(tmp_path / "absent") is None
    held = lock_folder(tmp_path)
    held.release()
    assert running_pid(tmp_path) is None


def test_a_held_folder_names_its_holder_and_is_free_when_that_is_killed(tmp_path: Path) -> None:
    popen, _ = holder(tmp_path)
    try:
        assert running_pid(tmp_path) == popen.pid
        with pytest.raises(CannotStart, match=f"in use by the appliance with pid {popen.pid}"):
            lock_folder(tmp_path)
    finally:
        end(popen)
    assert running_pid(tmp_path) is None
    lock_folder(tmp_path).release()


def test_a_folder_is_not_free_while_a_child_of_a_killed_holder_lives(tmp_path: Path) -> None:
    popen, child_pid = holder(tmp_path, "with a child")
    end(popen)
    assert running_pid(tmp_path) is None, "no appliance runs there"
    with pytest.raises(CannotStart, match="still held by a process of an appliance that was killed"):
        lock_folder(tmp_path, orphans_wait_s=0.05)
    os.kill(child_pid, 9)
    lock_folder(tmp_path).release()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_folder_that_cannot_be_written_says_why(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.os, "fsync", fail)
    with pytest.raises(CannotStart) as raised:
        prepare_folder(tmp_path)
    assert str(raised.value) == (
        f"the data folder {tmp_path} cannot be written: {os.strerror(number)}; free or unlock it, "
        f"or choose another with --data DIR"
    )
    assert list(tmp_path.iterdir()) == [], "the probe is not left behind"
