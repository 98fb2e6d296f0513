"""Children come out of one process and share its memory; nothing else about them is different."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from appliance.child import Handover
from appliance.commands import nursery
from appliance.nursery import Nursery, Seed
from appliance.packaged import command
from tests.appliance.house import ENVIRONMENT, House, alive, running
from tests.waiting import wait_until

GONE_WORDS = "from now on children share no memory"


def nursery_of(house: House) -> int:
    """The only child of the supervisor that is no process of its table."""
    known = {row["pid"] for row in house.status().values()}
    (found,) = {child.pid for child in psutil.Process(house.popen.pid).children()} - known
    return found


def test_children_belong_to_the_supervisor_and_share_what_the_nursery_has_imported(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        pids = house.wait_ready()["processes"]
        mother = psutil.Process(nursery_of(house))
        for name, pid in pids.items():
            child = psutil.Process(pid)
            assert child.ppid() == house.popen.pid
            assert os.getsid(pid) == pid
            assert Path(f"/proc/{pid}/cmdline").read_text().startswith(f"henge run {name} --data ")
            memory = child.memory_full_info()
            assert memory.pss < 0.7 * memory.rss, "private pages are counted whole, shared ones by their share"
        assert not mother.children(), "a child is not the nursery's"
        house.popen.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(map(alive, [mother.pid, *pids.values()])), timeout_s=2)


def test_a_killed_or_hanging_nursery_stops_nobody_and_is_replaced_by_the_next_reload(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        os.kill(nursery_of(house), signal.SIGKILL)
        name, pid = next(iter(before.items()))
        os.kill(pid, signal.SIGKILL)
        again = wait_until(lambda: (row := house.status()[name])["state"] == "up" and row["restarts"] and row)
        assert psutil.Process(again["pid"]).ppid() == house.popen.pid
        assert any(GONE_WORDS in line["text"] for line in house.log())
        assert {row["pid"] for row in house.status().values()} - {again["pid"]} == set(before.values()) - {pid}
        house.ask("reload", {"all": True})
        old = {again["pid"], *before.values()}
        wait_until(lambda: all(row["state"] == "up" and row["pid"] not in old for row in house.status().values()))
        # One that hangs keeps no killed child away; if a fork could last as long as the imports, it would for 10 s.
        os.kill(nursery_of(house), signal.SIGSTOP)
        os.kill(house.status()[name]["pid"], signal.SIGKILL)
        wait_until(lambda: (row := house.status()[name])["state"] == "up" and row["restarts"] == 2, timeout_s=6)


def test_a_system_without_room_for_a_process_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sprout = nursery._forked(theirs, Seed(["run", "nobody"], Handover(1, 3, 4, 5, 6)), [])
    assert (sprout.pid, sprout.error_number) == (0, errno.EAGAIN)


def test_a_handover_keeps_its_names_when_the_descriptors_have_other_numbers() -> None:
    handover = Handover(1, ready_fd=3, lifeline_fd=4, lock_fd=5, settings_fd=6, socket_fds={"web": 7, "graphite": 8})
    other = handover.renumbered([13, 14, 15, 16, 17, 18])
    assert other.fds == (13, 14, 15, 16, 17, 18)
    assert other.socket_fds == {"web": 17, "graphite": 18}
    assert other.supervisor_pid == 1


def test_after_a_failed_start_there_is_another_nursery_with_the_code_on_disk(tmp_path: Path) -> None:
    with running("crash_twice_tree", tmp_path) as house:
        pids = house.wait_ready()["processes"]
        assert psutil.Process(nursery_of(house)).create_time() > psutil.Process(pids["good"]).create_time()
        assert not any(GONE_WORDS in line["text"] for line in house.log())


FORKS_AND_ENDS = """
import os, pathlib, socket, sys
import msgspec
from appliance.commands import nursery
folder = pathlib.Path(sys.argv[1])
nursery._live = lambda seed, fds: (folder / "began").touch()
connection = socket.socket(fileno=int(sys.argv[3]))
message, fds, _, _ = socket.recv_fds(connection, 65536, 8)
sprout = nursery._forked(connection, msgspec.json.decode(message, type=nursery.Seed), fds)
(folder / "pid").write_text(str(sprout.pid))
os._exit(0)
"""


def test_a_child_whose_number_never_reached_the_supervisor_never_begins(tmp_path: Path) -> None:
    mother = Nursery([sys.executable, "-c", FORKS_AND_ENDS, str(tmp_path)], ENVIRONMENT)
    with contextlib.closing(mother):
        mother.open()
        assert mother.start(Seed(["run", "nobody"], Handover(1, 0, 0, 0, 0)), [0]) is None
    pid = int(wait_until((tmp_path / "pid").read_text))
    wait_until(lambda: not alive(pid))
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    assert not (tmp_path / "began").exists()


def test_without_a_subreaper_children_are_executed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("appliance.nursery.PR_SET_CHILD_SUBREAPER", -1)
    mother = Nursery(command("nursery"), ENVIRONMENT)
    with contextlib.closing(mother):
        mother.open()
        assert mother.start(Seed(["run", "nobody"], Handover(1, 0, 0, 0, 0)), [0]) is None
    assert "no subreaper: Invalid argument" in caplog.text


def test_an_appliance_whose_standard_descriptors_are_closed_starts(tmp_path: Path) -> None:
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    with running("web_tree", tmp_path, through=closed) as house:
        assert house.wait_ready()["processes"].keys() == {"first", "echo"}
        assert nursery_of(house)
