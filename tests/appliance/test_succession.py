"""The supervisor becomes another executable: the children go on, and one that is not good gives way."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest

from tests.appliance.house import ROOT, House, alive, run_henge, running
from tests.appliance.test_reload import answering_pid
from tests.waiting import wait_until


def other(folder: Path, lines: str) -> Path:
    """Another executable: this Henge after some lines of its own, in which `argv` are its arguments."""
    path = folder / "other-henge"
    path.write_text(
        f"#!{sys.executable} -P\nimport os, sys\nsys.path.insert(0, {str(ROOT)!r})\nargv = sys.argv[1:]\n"
        f"is_check = '--check-handover' in argv\ntakes_over = 'HENGE_ESTATE' in os.environ\n{lines}\n"
        "from appliance import packaged\npackaged.command = lambda *arguments: [sys.argv[0], *arguments]\n"
        "from appliance.cli import main\nmain()\n"
    )
    path.chmod(0o700)
    return path


def replaced(house: House, *arguments: str) -> CompletedProcess[str]:
    return run_henge("reload", "--exec", *arguments, "--data", str(house.data_dir))


def all_up(house: House, *, other_than: dict[str, int]) -> bool:
    rows = house.status()
    return all(row["state"] == "up" and row["pid"] != other_than[name] for name, row in rows.items())


def test_the_supervisor_is_another_program_with_the_same_number_sockets_and_record(tmp_path: Path) -> None:
    with running("web_tree", tmp_path) as house:
        before = house.wait_ready()
        os.kill(before["processes"]["first"], signal.SIGKILL)
        wait_until(lambda: (row := house.status()["first"])["state"] == "up" and row["restarts"] == 1)
        started_ms = house.ask("status")["started_ms"]
        path = other(tmp_path, "")
        ended = replaced(house, "--executable", str(path))
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[-1].endswith(" runs, every process is restarted")
        assert str(path) in Path(f"/proc/{house.popen.pid}/cmdline").read_text()
        now = house.ask("status")
        assert (now["pid"], now["started_ms"]) == (house.popen.pid, started_ms)
        assert all_up(house, other_than=before["processes"])
        assert (house.status()["first"]["restarts"], house.status()["first"]["last_exit"]) == (1, "exit 0")
        port = int(before["web"].rpartition(":")[2])
        assert answering_pid(port) == house.status()["echo"]["pid"]
        wait_until(lambda: house.ready_file()["processes"]["echo"] == house.status()["echo"]["pid"])  # type: ignore[index]
        assert house.ready_file()["web"] == before["web"]  # type: ignore[index]
        assert house.stop() == 0
        assert not house.ready_path.exists()


def test_children_go_on_until_their_turn_and_one_that_was_killed_meanwhile_is_started_again(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        kill = "import signal\nif takes_over: os.kill(int(open('victim').read()), signal.SIGKILL)"
        (tmp_path / "victim").write_text(str(before["third"]))
        path = other(tmp_path, f"os.chdir({str(tmp_path)!r})\n{kill}")
        assert replaced(house, "--executable", str(path)).returncode == 0
        row = house.status()["third"]
        assert (row["state"], row["restarts"]) == ("up", 1)
        assert house.status()["first"]["restarts"] == 0


REFUSED = {  # what the other executable is: what is said of it
    "#!/bin/sh\nexit 0\n": "cannot take over (exit status 0): it said nothing",
    "#!/bin/sh\necho no such option >&2; exit 2\n": "cannot take over (exit status 2): no such option",
    "\x7fELF and then nothing of it": "cannot be executed: Exec format error",
}


@pytest.mark.parametrize(("content", "said"), REFUSED.items(), ids=["silent", "strange", "bad ELF"])
def test_what_cannot_take_over_is_refused_before_anything_happens(content: str, said: str, tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        path = tmp_path / "other-henge"
        path.write_text(content)
        path.chmod(0o700)
        ended = replaced(house, "--executable", str(path))
        assert ended.returncode == 1
        assert said in ended.stderr
        assert "everything goes on as it was" in ended.stderr
        assert {name: row["pid"] for name, row in house.status().items()} == before
        assert house.ask("status")["succession"]["number"] == 0


def test_one_that_reads_another_format_says_so(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        house.wait_ready()
        ended = replaced(house, "--executable", str(other(tmp_path, "import appliance.estate as e\ne.FORMAT = 99")))
        assert ended.returncode == 1
        assert "takes over format 99" in ended.stderr
        assert "hands over format 1; stop the appliance and start this one" in ended.stderr


def crash_in(function: str) -> str:
    """Lines of a program that can take over as far as anybody sees, until it does."""
    module, _, name = function.rpartition(".")
    return (
        f"import {module} as m\ndef fail(*_a, **_k): raise RuntimeError('the well is dry')\n"
        f"if takes_over: m.{name} = fail"
    )


WAYS_BACK = {  # the lines of the other executable: why it is not kept
    "an error before it has begun": (crash_in("appliance.running.taken_over"), "RuntimeError: the well is dry"),
    "an error while it opens its log": (crash_in("appliance.belongings.open_log"), "RuntimeError: the well is dry"),
    "children that do not start": (
        """if argv[0] == 'nursery':
    import appliance.child as c
    def fail(*_a): raise RuntimeError('no well')
    c.resolved = fail""",
        "first of Henge 0.1.0 could not start: exit 1 (RuntimeError: no well)",
    ),
}


@pytest.mark.parametrize(("lines", "why"), WAYS_BACK.values(), ids=WAYS_BACK.keys())
def test_one_that_fails_when_it_has_taken_over_gives_way_to_the_one_before(
    lines: str, why: str, tmp_path: Path
) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        ended = replaced(house, "--executable", str(other(tmp_path, lines)))
        assert ended.returncode == 1, ended.stdout
        assert f" is back: {why}" in ended.stderr
        assert "other-henge" not in Path(f"/proc/{house.popen.pid}/cmdline").read_text()
        wait_until(lambda: all_up(house, other_than=before))
        assert house.stop() == 0


def test_one_that_hangs_goes_back_when_its_time_is_up(tmp_path: Path) -> None:
    lines = (
        "import signal, time, appliance.running as r\n"
        "if takes_over: r.taken_over = lambda e: (signal.setitimer(signal.ITIMER_REAL, 0.2), time.sleep(60))"
    )
    with running("good_tree", tmp_path) as house:
        house.wait_ready()
        began_s = time.monotonic()
        ended = replaced(house, "--executable", str(other(tmp_path, lines)))
        assert "is back: it did not take over within 60 s" in ended.stderr
        assert time.monotonic() - began_s < 50, "the alarm of the test is earlier"


def test_a_stop_that_comes_in_the_middle_is_a_stop(tmp_path: Path) -> None:
    lines = "import signal\nif takes_over: os.kill(os.getpid(), signal.SIGTERM)"
    with running("good_tree", tmp_path) as house:
        house.wait_ready()
        house.ask("exec", {"executable": str(other(tmp_path, lines))})
        assert house.wait_end() == 0
        assert any("stopping all processes (SIGTERM)" in line["text"] for line in house.log())
        assert any(line["text"] == "first has stopped: exit 0" for line in house.log()), "in peace"


@pytest.mark.parametrize("when", ["before it has taken over", "afterwards"])
def test_nobody_is_left_when_the_new_supervisor_is_killed(when: str, tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        house.wait_ready()
        kill = "import signal\nif takes_over: os.kill(os.getpid(), signal.SIGKILL)"
        path = other(tmp_path, kill if when.startswith("before") else "")
        children = [child.pid for child in psutil.Process(house.popen.pid).children()]
        house.ask("exec", {"executable": str(path)})
        if when == "afterwards":
            wait_until(lambda: house.ask("status")["succession"]["number"] == 1)
            children += [child.pid for child in psutil.Process(house.popen.pid).children()]
            house.popen.kill()
        assert house.wait_end() == -signal.SIGKILL
        wait_until(lambda: not any(map(alive, children)), timeout_s=2)
        again = run_henge("status", "--data", str(house.data_dir))
        assert "no appliance runs on" in again.stderr
