"""`henge reload` with real processes: what is refused changes nothing, what is accepted reaches those that read it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.appliance.house import House, alive, run_henge, running
from tests.waiting import wait_until

FREE = '[statsd]\nlisten = "127.0.0.1:0"\n[graphite]\npickle_listen = ""\n'


@contextlib.contextmanager
def moving(folder: Path) -> Iterator[House]:
    """An appliance with one listener, whose address stands in the file."""
    (folder / "data").mkdir(mode=0o700)
    (folder / "data" / "henge.toml").write_text(FREE)
    with running("moving_tree", folder) as house:
        yield house


def settings(house: House, text: str) -> None:
    (house.data_dir / "henge.toml").write_text(text)


def reload(house: House) -> list[str]:
    ended = run_henge("reload", "--data", str(house.data_dir))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def answering_pid(port: int, host: str = "127.0.0.1") -> int:
    with socket.create_connection((host, port), timeout=10) as connection:
        return int(connection.recv(100))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_without_a_change_every_process_goes_on(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        assert reload(house) == ["no setting has changed; every process goes on as it is"]
        assert {name: row["pid"] for name, row in house.status().items()} == before


def test_an_address_in_the_file_moves_its_listener_while_the_supervisor_runs_on(tmp_path: Path) -> None:
    with moving(tmp_path) as house:
        before = house.wait_ready()
        settings(house, FREE.replace("127.0.0.1:0", f"127.0.0.1:{(new := free_port())}"))
        table = reload(house)
        assert table[0].split() == ["SETTING", "OLD", "NEW", "RESTARTED"]
        assert table[1].split() == ["statsd.listen", "127.0.0.1:0", f"127.0.0.1:{new}", "echo"]
        assert [line.split(",")[0] for line in table[2:]] == ["echo restarted"]
        told = wait_until(lambda: (now := house.ready_file()) and now["statsd"] != before["statsd"] and now)
        assert told["statsd"] == f"127.0.0.1:{new}"
        now = house.status()
        assert answering_pid(new) == now["echo"]["pid"] != before["processes"]["echo"]
        assert now["other"]["pid"] == before["processes"]["other"], "it reads nothing of this"
        with pytest.raises(ConnectionRefusedError):
            answering_pid(int(before["statsd"].rpartition(":")[2]))


def test_an_address_that_takes_in_the_old_one_is_opened_beside_it(tmp_path: Path) -> None:
    with moving(tmp_path) as house:
        port = int(house.wait_ready()["statsd"].rpartition(":")[2])
        settings(house, FREE.replace("127.0.0.1:0", f"0.0.0.0:{port}"))
        reload(house)
        assert answering_pid(port) == answering_pid(port, "127.0.0.2") == house.status()["echo"]["pid"]
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))  # It is shared with nobody afterwards.


def test_an_address_in_use_is_refused_with_who_has_it_and_the_old_one_stays(tmp_path: Path) -> None:
    with moving(tmp_path) as house, socket.create_server(("127.0.0.1", 0)) as taken:
        before = house.wait_ready()
        port = taken.getsockname()[1]
        settings(
            house, f'[graphite]\npickle_listen = "127.0.0.1:{free_port()}"\n[statsd]\nlisten = "127.0.0.1:{port}"\n'
        )
        ended = run_henge("reload", "--data", str(house.data_dir))
        assert ended.returncode == 1
        assert f"statsd.listen: 127.0.0.1:{port} is in use by " in ended.stderr
        assert f"(process {os.getpid()}); stop that program" in ended.stderr
        assert {name: row["pid"] for name, row in house.status().items()} == before["processes"]
        assert answering_pid(int(before["statsd"].rpartition(":")[2])) == before["processes"]["echo"]
        assert house.ready_file() == before


def test_two_listeners_cannot_move_to_one_address(tmp_path: Path) -> None:
    with moving(tmp_path) as house:
        before = house.wait_ready()
        both = f'listen = "127.0.0.1:{free_port()}"\n'
        settings(house, f"[graphite]\npickle_{both}[statsd]\n{both}")
        ended = run_henge("reload", "--data", str(house.data_dir))
        assert (ended.returncode, house.ready_file()) == (1, before)


def test_a_bad_file_is_refused_with_its_line_and_a_killed_child_comes_back_beside_it(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        settings(house, "[store]\nfsync = 'sometimes'\n")
        ended = run_henge("reload", "--data", str(house.data_dir))
        assert ended.returncode == 1
        assert "store.fsync: 'sometimes' is neither always, never nor an interval" in ended.stderr
        assert f"{house.data_dir / 'henge.toml'}, line 2" in ended.stderr
        assert {name: row["pid"] for name, row in house.status().items()} == before
        os.kill(before["second"], signal.SIGKILL)
        wait_until(lambda: (row := house.status()["second"])["state"] == "up" and row["pid"] != before["second"])
        assert house.status()["second"]["restarts"] == 1, "it has the settings that were accepted, not the file"


def test_a_hangup_reloads_and_one_that_is_refused_is_told_in_the_log(tmp_path: Path) -> None:
    with moving(tmp_path) as house:
        before = house.wait_ready()
        settings(house, FREE.replace("127.0.0.1:0", "nowhere"))
        house.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: any("the reload is refused" in line["text"] for line in house.log()))
        settings(house, FREE.replace("127.0.0.1:0", f"127.0.0.1:{(new := free_port())}"))
        house.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: house.status()["echo"]["pid"] not in (before["processes"]["echo"], None))
        assert answering_pid(new) == house.status()["echo"]["pid"]


def test_one_that_overlaps_is_asked_to_stop_when_the_next_answers(tmp_path: Path) -> None:
    with running("overlapping_tree", tmp_path) as house:
        before = house.wait_ready()
        old, port = before["processes"]["echo_in_peace"], int(before["web"].rpartition(":")[2])
        (house.data_dir / "finish slowly").touch()
        (house.data_dir / "wait").touch()
        house.ask("restart", {"name": "echo_in_peace"})
        wait_until(lambda: any("beside the one before it" in line["text"] for line in house.log()))
        assert answering_pid(port) == old, "the next one is not ready yet"
        assert house.status()["echo_in_peace"]["pid"] == old
        (house.data_dir / "wait").unlink()
        new = wait_until(lambda: (pid := house.status()["echo_in_peace"]["pid"]) != old and pid)
        wait_until((house.data_dir / f"{old}.finishing").exists)
        assert answering_pid(port) == new
        assert alive(old), "it may finish what it has in hand"
        (house.data_dir / "finish slowly").unlink()
        wait_until(lambda: not alive(old))
        row = house.status()["echo_in_peace"]
        assert (row["pid"], row["state"], row["restarts"], row["last_exit"]) == (new, "up", 0, None)


def test_one_that_cannot_be_replaced_goes_on(tmp_path: Path) -> None:
    with running("overlapping_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        (house.data_dir / "fail").touch()
        ended = run_henge("reload", "--all", "--data", str(house.data_dir))
        assert ended.returncode == 1
        assert "the new echo_in_peace ended: exit 1 (RuntimeError: the well is dry); the one before it" in ended.stderr
        row = house.status()["echo_in_peace"]
        assert (row["pid"], row["state"], row["restarts"]) == (before["echo_in_peace"], "up", 0)


def test_one_that_is_killed_beside_its_successor_is_followed_by_it(tmp_path: Path) -> None:
    with running("overlapping_tree", tmp_path) as house:
        old = house.wait_ready()["processes"]["echo_in_peace"]
        (house.data_dir / "wait").touch()
        house.ask("restart", {"name": "echo_in_peace"})
        wait_until(lambda: any("beside the one before it" in line["text"] for line in house.log()))
        os.kill(old, signal.SIGKILL)
        row = wait_until(lambda: (row := house.status()["echo_in_peace"])["pid"] != old and row)
        assert row["state"] == "starting"
        (house.data_dir / "wait").unlink()
        wait_until(lambda: house.status()["echo_in_peace"]["state"] == "up")
        assert house.status()["echo_in_peace"]["pid"] == row["pid"], "no third one was started"


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_nobody_is_left_when_the_supervisor_ends_in_a_replacement(tmp_path: Path, by: signal.Signals) -> None:
    with running("overlapping_tree", tmp_path) as house:
        house.wait_ready()
        (house.data_dir / "wait").touch()
        house.ask("restart", {"name": "echo_in_peace"})
        wait_until(lambda: any("beside the one before it" in line["text"] for line in house.log()))
        children = [child.pid for child in psutil.Process(house.popen.pid).children()]
        assert len(children) == 4, "the pair, the successor, the nursery"
        house.popen.send_signal(by)
        assert house.wait_end() == (0 if by is signal.SIGTERM else -by)
        wait_until(lambda: not any(map(alive, children)), timeout_s=2)
