"""`henge up` from the outside: what it refuses and how, what it tells when it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.house import CHILDREN, ENVIRONMENT, alive, henge, run_henge, running
from tests.waiting import wait_until


def refused(*arguments: str) -> str:
    """The one line of a start that is refused, with exit status 1."""
    ended = run_henge("up", "--no-browser", "--tree", f"{CHILDREN}:web_tree", *arguments)
    assert ended.returncode == 1, ended
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("henge: ")
    return lines[0].removeprefix("henge: ")


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_ready_file_names_addresses_and_processes(tmp_path: Path) -> None:
    with running("listening_tree", tmp_path) as house:
        told = house.wait_ready()
        assert set(told) == {
            *("web", "graphite", "graphite_pickle", "statsd", "statsd_management", "login_url", "pid", "processes"),
        }
        assert told["pid"] == house.popen.pid
        assert alive(told["processes"]["intake"])
        assert told["web"] is told["graphite_pickle"] is told["statsd"] is told["login_url"] is None
        host, port = told["graphite"].split(":")
        assert host == "127.0.0.1"
        socket.create_connection((host, int(port))).close()
        with socket.socket(type=socket.SOCK_DGRAM) as udp, pytest.raises(OSError, match="in use"):
            udp.bind((host, int(port)))  # TCP and UDP share the number.
        assert house.stop() == 0
        assert not house.ready_path.exists()


def test_ready_file_of_a_killed_appliance_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "ready.json").write_text('{"pid": 1}')
    with running("good_tree", tmp_path) as house:
        told = wait_until(lambda: (found := house.ready_file()) and found["pid"] != 1 and found)
        assert told["pid"] == house.popen.pid


def test_banner_says_where_the_page_is_and_how_to_stop(tmp_path: Path) -> None:
    with running("web_tree", tmp_path) as house:
        told = house.wait_ready()
        banner = wait_until(lambda: house.stdout)
        assert told["web"] in banner
        assert str(house.data_dir) in banner
        assert f"kill {told['pid']}" in banner


def test_first_login_link_is_in_the_ready_file_and_the_banner(tmp_path: Path) -> None:
    with running("login_tree", tmp_path) as house:
        told = house.wait_ready()
        assert told["login_url"] == "http://127.0.0.1:1/first"
        assert "http://127.0.0.1:1/first  (works once)" in wait_until(lambda: house.stdout)
        os.kill(told["processes"]["web"], signal.SIGKILL)
        back = wait_until(
            lambda: (now := house.ready_file()) and now["processes"]["web"] != told["processes"]["web"] and now
        )
        assert back["login_url"] == told["login_url"], "the link lives in the state, not in the process"


def test_a_process_that_recovers_slowly_is_in_the_ready_file_before_it_is_ready(tmp_path: Path) -> None:
    with running("slow_recovery_tree", tmp_path) as house:
        old_pid = house.wait_ready()["processes"]["recover_slowly"]
        os.kill(old_pid, signal.SIGKILL)
        wait_until(
            lambda: (now := house.ready_file()) and now["processes"]["recover_slowly"] not in (old_pid, None),
            timeout_s=2.0,
        )
        assert house.status()["recover_slowly"]["state"] == "starting"
        (house.data_dir / "recovered").touch()
        wait_until(lambda: house.status()["recover_slowly"]["state"] == "up")


def test_folders_are_for_the_owner_alone(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        house.wait_ready()
        for folder in (house.data_dir, house.data_dir / "run", house.data_dir / "log"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_port_in_use_names_setting_address_and_way_out(tmp_path: Path) -> None:
    with taken_port() as port:
        said = refused("--data", str(tmp_path / "data"), "--set", f"web.listen=127.0.0.1:{port}")
    start, _, rest = said.partition(f" (process {os.getpid()}); ")
    assert start.startswith(f"web.listen: 127.0.0.1:{port} is in use by ")
    assert rest == ("stop that program, or choose another port with --set web.listen=127.0.0.1:0 (0 picks a free one)")


def test_second_appliance_on_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        told = house.wait_ready()
        said = refused("--data", str(house.data_dir))
        assert said == (
            f"the data folder {house.data_dir} is in use by the appliance with pid {told['pid']}; "
            f"stop it (kill {told['pid']}), or choose another folder with --data DIR"
        )
        assert all(row["restarts"] == 0 and row["state"] == "up" for row in house.status().values())


def test_folder_that_cannot_be_made_is_one_line() -> None:
    said = refused("--data", "/proc/henge")
    assert said.startswith("the data folder /proc/henge cannot be written: ")
    assert said.endswith("or choose another with --data DIR")


def test_full_folder_is_one_line(tmp_path: Path) -> None:
    """A limit of zero bytes a file stands in for a disk without room."""
    program = (
        "import resource, signal, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sys.argv = ['henge', 'up', '--data', sys.argv[1]]\n"
        "runpy.run_module('appliance.cli', run_name='__main__')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        f"henge: the data folder {tmp_path} cannot be written: File too large; free or unlock it, "
        f"or choose another with --data DIR\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_ready_file_in_a_folder_that_is_absent_is_refused_before_the_start(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "ready.json"
    said = refused("--data", str(tmp_path / "data"), "--ready-file", str(path))
    assert said == f"--ready-file {path}: the folder {path.parent} is absent or cannot be written; make it first"


def test_unknown_setting_is_refused_with_the_nearest(tmp_path: Path) -> None:
    said = refused("--data", str(tmp_path), "--set", "web.listn=127.0.0.1:0")
    assert "web.listn: there is no such setting; did you mean web.listen?" in said


def test_a_process_runs_alone_and_opens_its_own_sockets(tmp_path: Path) -> None:
    with taken_port() as port:
        pass  # Free again: `henge run` has no ready file to tell what port 0 came to.
    data = tmp_path / "data"
    popen = subprocess.Popen(
        henge(
            *("run", "echo", "--data", str(data), "--tree", f"{CHILDREN}:web_tree"),
            *("--set", f"web.listen=127.0.0.1:{port}"),
        ),
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert int(wait_until(lambda: _answer(port), what="an answer of the lone process")) == popen.pid
    finally:
        popen.kill()
        popen.communicate()


def _answer(port: int) -> bytes | None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(100)
    except ConnectionRefusedError:
        return None


def test_two_processes_of_one_name_on_one_folder_are_refused(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        pid = house.wait_ready()["processes"]["second"]
        ended = run_henge("run", "second", "--data", str(house.data_dir), "--tree", f"{CHILDREN}:good_tree")
    assert ended.returncode == 1
    assert f"second runs already on {house.data_dir}, as process {pid}; stop that one (kill {pid})" in ended.stderr


def test_a_lone_process_stops_on_sigterm_with_status_0(tmp_path: Path) -> None:
    popen = subprocess.Popen(
        henge("run", "a", "--data", str(tmp_path), "--tree", f"{CHILDREN}:diary_tree"),
        env=ENVIRONMENT,
    )
    try:
        wait_until(lambda: (tmp_path / "diary").exists() and "a ready" in (tmp_path / "diary").read_text())
        popen.terminate()
        assert popen.wait(10) == 0
        assert (tmp_path / "diary").read_text().endswith("-a\n")
    finally:
        popen.kill()
        popen.wait()


def test_unknown_process_names_those_that_are_known(tmp_path: Path) -> None:
    ended = run_henge("run", "stoer", "--data", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr == (
        "henge: there is no process 'stoer'; "
        "the processes are state, store, intake, query, spawner, scheduler, backup, web\n"
    )


def test_status_shows_the_tree_and_says_when_nothing_runs(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        told = house.wait_ready()
        ended = run_henge("status", "--data", str(house.data_dir))
        assert ended.returncode == 0, ended.stderr
        assert "3 of 3 processes up, 0 restarts" in ended.stdout
        assert all(str(pid) in ended.stdout for pid in told["processes"].values())
        house.stop()
    ended = run_henge("status", "--data", str(house.data_dir))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"henge: no appliance runs on {house.data_dir}; start it with `henge up`, or give --data DIR\n"
    )


def test_reload_command_waits_until_all_are_new(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        ended = run_henge("reload", "--all", "--data", str(house.data_dir))
        assert ended.returncode == 0, ended.stderr
        assert [line.split(" restarted, process ")[0] for line in ended.stdout.splitlines()[1:]] == list(before)
        now = {name: row["pid"] for name, row in house.status().items()}
        assert not set(now.values()) & set(before.values())


def test_reload_with_settings_that_cannot_be_used_restarts_nothing(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        (house.data_dir / "henge.toml").write_text('[web]\nlisten = "nowhere"\n')
        ended = run_henge("reload", "--data", str(house.data_dir))
        assert ended.returncode == 1
        assert "web.listen" in ended.stderr
        assert {name: row["pid"] for name, row in house.status().items()} == before


def test_a_data_folder_with_a_very_long_path_works(tmp_path: Path) -> None:
    """Longer than a socket's path may be."""
    with running("good_tree", tmp_path, data_dir=tmp_path / ("d" * 120) / "data") as house:
        house.wait_ready()
        assert len(house.status()) == 3
        assert house.stop() == 0


def test_the_supervisor_stays_small() -> None:
    """It must not carry what its children need: its imports are paid for as long as the appliance runs."""
    program = (
        "import appliance.commands.up, appliance.running, sys\n"
        "print(sorted({'numpy', 'polars', 'flask', 'sqlite_utils', 'aiohttp', 'apprise'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_unknown_process_table_is_one_line(tmp_path: Path) -> None:
    ended = run_henge("up", "--data", str(tmp_path), "--tree", f"{CHILDREN}:nothing")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"henge: the process table {CHILDREN}:nothing cannot be loaded: ")
