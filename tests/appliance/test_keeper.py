"""The keeper with real processes: each way a child can misbehave, and what the others notice of it (nothing)."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.house import House, alive, running
from tests.waiting import busy, wait_until

BACK_WITHIN_S = 2.0


def test_start_waits_for_the_first_and_stop_goes_in_reverse(tmp_path: Path) -> None:
    with running("diary_tree", tmp_path) as house:
        house.wait_ready()
        assert house.stop() == 0
        diary = (house.data_dir / "diary").read_text().split("\n")
    assert diary[:2] == ["+a", "a ready"]
    assert sorted(diary[2:6]) == ["+b", "+c", "b ready", "c ready"]
    assert diary[-4:-1] == ["-c", "-b", "-a"]


MISBEHAVIOURS = {  # name: (tree, the reason in the last line)
    "cannot be imported": (
        "missing_module_tree",
        "missing could not start, 3 times in a row; the last time: exit 1 (ModuleNotFoundError: No module named 'tes",
    ),
    "fails in its start": (
        "crash_in_start_tree",
        "crash_in_start could not start, 3 times in a row; the last time: exit 1 (RuntimeError: the well is dry)",
    ),
    "returns before it is ready": (
        "return_before_ready_tree",
        "return_before_ready could not start, 3 times in a row; the last time: exit 0",
    ),
    "hangs in its start": (
        "hang_in_start_tree",
        "hang_in_start could not start, 2 times in a row; the last time: not ready within 1 s",
    ),
    "exits 0 again and again": (
        "exit_at_once_tree",
        "6 ends within 60 s in top, of at most 5; the last was exit_at_once: exit 0",
    ),
    "eats memory": (
        "eat_memory_tree",
        "2 ends within 60 s in top, of at most 1; the last was eat_memory: memory ",
    ),
}


@pytest.mark.parametrize(("tree", "reason"), MISBEHAVIOURS.values(), ids=MISBEHAVIOURS.keys())
def test_a_child_that_does_not_stand_ends_the_tree_with_one_line_that_says_why(
    tree: str, reason: str, tmp_path: Path
) -> None:
    with running(tree, tmp_path) as house:
        assert house.wait_end() == 1
        last = house.stderr.splitlines()[-1]
        assert f"error: stopped: {reason}" in last
        assert str(house.data_dir / "log" / "henge.log") in last
        assert "Traceback" not in house.stderr
        assert not house.ready_path.exists()
        good = [line["text"] for line in house.log() if line["text"].startswith("good")]
    assert [text.split(" is process")[0] for text in good] == ["good", "good is ready", "good has stopped: exit 0"], (
        "the good child was started once and stopped in peace"
    )


def test_pages_of_mapped_files_are_not_held_against_a_child(tmp_path: Path) -> None:
    with running("mapped_tree", tmp_path) as house:
        house.wait_ready()
        row = wait_until(lambda: (row := house.status()["map_a_file"])["rss_bytes"] > 256 * 2**20 and row)
        assert row["restarts"] == 0, "more is resident than the limit, and none of it is its own"


def test_a_start_that_hangs_leaves_in_the_log_where_it_hung(tmp_path: Path) -> None:
    with running("hang_in_start_tree", tmp_path) as house:
        house.wait_end()
        assert any("in hang_in_start" in line["text"] for line in house.log() if line["process"] == "hang_in_start")


def test_a_child_that_fails_twice_comes_up_on_the_third_start(tmp_path: Path) -> None:
    with running("crash_twice_tree", tmp_path) as house:
        house.wait_ready()
        row = house.status()["crash_twice"]
        assert (row["state"], row["restarts"], row["last_exit"]) == ("up", 2, "exit 1")
        assert row["last_words"] == "RuntimeError: attempt 1 fails"
        assert house.stop() == 0


def test_a_stop_does_not_wait_for_the_pause_before_a_start(tmp_path: Path) -> None:
    with running("long_pause_tree", tmp_path) as house:
        wait_until(lambda: "starting it again (restart 4)" in house.stderr)
        house.popen.send_signal(signal.SIGTERM)
        assert house.wait_end(timeout_s=1.5) == 0, "the next pause is 2 s long"


def test_a_killed_child_is_back_and_the_others_never_stop(tmp_path: Path) -> None:
    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        for name in before:
            pid = house.ready_file()["processes"][name]  # type: ignore[index]
            os.kill(pid, signal.SIGKILL)
            back = wait_until(
                lambda name=name, pid=pid: _back(house, name, pid),
                timeout_s=busy(BACK_WITHIN_S),
                what=f"{name} is back",
            )
            others = {other: number for other, number in back.items() if other != name}
            assert all(alive(number) for number in others.values())
        after = house.status()
        assert all((row["restarts"], row["last_exit"]) == (1, "SIGKILL") for row in after.values())
        counted = {
            sample["labels"]["process"]: sample["value"]
            for sample in house.ask("metrics")
            if sample["name"] == "henge_process_restarts_total"
        }
        assert counted == dict.fromkeys(before, 1)
        told = [line["text"] for line in house.log() if line["level"] == "warning"]
        assert told == [f"{name} ended: SIGKILL; starting it again (restart 1)" for name in before]


def _back(house: House, name: str, old_pid: int) -> dict[str, int] | None:
    """The processes as the ready file tells them, once there is a new one of this name."""
    told = house.ready_file()
    return told["processes"] if told and told["processes"][name] not in (old_pid, None) else None


def test_one_for_all_restarts_the_pair_and_leaves_the_rest(tmp_path: Path) -> None:
    with running("one_for_all_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        os.kill(before["left"], signal.SIGKILL)

        def both_new() -> bool:
            now = house.status()
            return all(now[name]["state"] == "up" and now[name]["pid"] != before[name] for name in ("left", "right"))

        wait_until(both_new)
        now = house.status()
        assert now["outside"]["pid"] == before["outside"]
        assert (now["left"]["last_exit"], now["right"]["last_exit"]) == ("SIGKILL", "exit 0")
        assert (now["left"]["restarts"], now["right"]["restarts"]) == (1, 0)


def test_a_child_that_ignores_sigterm_is_killed_after_its_limit(tmp_path: Path) -> None:
    with running("ignore_sigterm_tree", tmp_path) as house:
        house.wait_ready()
        assert house.stop() == 0
        assert "ignore_sigterm did not stop within 0.5 s and is killed" in house.stderr


def test_ctrl_c_stops_in_order_and_a_second_one_at_once(tmp_path: Path) -> None:
    with running("slow_stop_tree", tmp_path) as house:
        pids = house.wait_ready()["processes"].values()
        house.popen.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping all processes (SIGINT)" in house.stderr)
        assert house.popen.poll() is None, "a child still takes its time"
        house.popen.send_signal(signal.SIGINT)
        assert house.wait_end(timeout_s=3) == 0
        assert not any(map(alive, pids))


def test_killed_supervisor_leaves_no_orphan_and_the_next_start_is_not_hindered(tmp_path: Path) -> None:
    with running("orphan_tree", tmp_path) as house:
        pids = house.wait_ready()["processes"]
        house.popen.kill()
        killed_at_s = time.monotonic()
        # The next one is started at once, on the same folder, while the old children are ending.
        with running("good_tree", tmp_path / "next", data_dir=house.data_dir) as again:
            wait_until(
                lambda: not any(map(alive, pids.values())), timeout_s=busy(BACK_WITHIN_S), what=f"{pids} are gone"
            )
            assert time.monotonic() - killed_at_s < busy(BACK_WITHIN_S)
            again.wait_ready()
            assert again.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_child_started_ends_with_it(number: signal.Signals, tmp_path: Path) -> None:
    with running("descendant_tree", tmp_path) as house:
        told = house.wait_ready()
        descendant = int((house.data_dir / "descendant.pid").read_text())
        assert alive(descendant)
        os.kill(told["processes"]["leave_a_descendant"], number)
        wait_until(lambda: not alive(descendant), timeout_s=busy(BACK_WITHIN_S))


def test_connections_made_while_a_child_is_restarted_are_served(tmp_path: Path) -> None:
    with running("web_tree", tmp_path, "--set", "web.listen=127.0.0.1:0") as house:
        told = house.wait_ready()
        port = int(told["web"].rpartition(":")[2])
        first_pid = told["processes"]["echo"]
        answers: list[Any] = []
        stop = threading.Event()

        def visit() -> None:
            while not stop.is_set():
                answers.append(_ask_pid(port))

        visitor = threading.Thread(target=visit)
        visitor.start()
        wait_until(lambda: len(answers) > 5)
        os.kill(first_pid, signal.SIGKILL)
        wait_until(lambda: answers[-1] not in (first_pid, None), what=f"another pid than {first_pid}")
        stop.set()
        visitor.join()
        # At most the one connection that the killed process had accepted is lost; none is refused.
        assert answers.count(None) <= 1, answers
        assert "refused" not in answers


def _ask_pid(port: int) -> int | str | None:
    """The number of the process that answers. None: accepted and then dropped."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            return int(connection.recv(100) or b"0") or None
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return None


def test_reload_replaces_every_process_and_refuses_nobody(tmp_path: Path) -> None:
    with running("web_tree", tmp_path) as house:
        before = house.wait_ready()
        house.ask("reload", {"all": True})

        def all_new() -> bool:
            rows = house.status().values()
            return all(row["state"] == "up" and row["pid"] != before["processes"][row["name"]] for row in rows)

        wait_until(all_new)
        now = house.status()
        assert all(row["restarts"] == 0 for row in now.values()), "a restart that was asked for is not counted"
        assert _ask_pid(int(before["web"].rpartition(":")[2])) == now["echo"]["pid"]
        wait_until(lambda: house.ready_file()["processes"]["echo"] == now["echo"]["pid"])  # type: ignore[index]
        assert house.ready_file()["web"] == before["web"]  # type: ignore[index]


def test_a_single_process_is_restarted_when_asked_by_name(tmp_path: Path) -> None:
    from appliance.bus import BusRefused

    with running("good_tree", tmp_path) as house:
        before = house.wait_ready()["processes"]
        house.ask("restart", {"name": "second"})
        wait_until(lambda: house.status()["second"]["pid"] not in (before["second"], None))
        assert house.status()["first"]["pid"] == before["first"]
        with pytest.raises(BusRefused, match="no process 'secnd'; the processes are first, second, third") as refused:
            house.ask("restart", {"name": "secnd"})
        assert refused.value.code == "not_found"


def test_what_a_child_writes_is_in_the_log_with_its_name(tmp_path: Path) -> None:
    with running("talk_tree", tmp_path) as house:
        house.wait_ready()
        house.stop()
        said = [line for line in house.log() if line["process"] == "talk"]
    by_text = {line["text"]: line for line in said}
    assert by_text["a record with a field"]["fields"] == {"check": "web", "count": 3}
    assert "a record below the level" not in by_text
    assert by_text["a bare line"]["level"] == "info"
    assert "half a line, \\xff not UTF-8, the other half" in by_text
    assert "ValueError: a value" in by_text["a record with a trace"]["traceback"]
    assert "error: a record with a trace" in house.stderr


def test_a_flood_of_output_is_cut_and_counted(tmp_path: Path) -> None:
    with running("flood_tree", tmp_path) as house:
        house.wait_ready()
        wait_until(lambda: "more lines than are kept" in house.stderr or _flood_is_over(house))
        house.stop()
        kept = sum(line["process"] == "flood" for line in house.log())
        left_out = sum(
            int(line["text"].split()[2]) for line in house.log() if line["text"].endswith("more lines than are kept")
        )
    assert kept < 20_000
    assert kept + left_out == 20_000


def _flood_is_over(house: House) -> bool:
    """The pipe is read to its end: the last line was counted or kept."""
    return sum(line["process"] == "flood" for line in house.log()) >= 1_000
