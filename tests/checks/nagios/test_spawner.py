"""Plugins that behave and plugins that do not, run by a real spawner."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.bus import BusError, BusRefused, Client
from checks.nagios.plugin import PluginRun
from tests.checks.nagios.spawning import RunningSpawner, is_alive, running_spawner, script
from tests.waiting import busy, wait_until


@pytest.fixture(scope="module")
def spawner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSpawner]:
    with running_spawner(tmp_path_factory.mktemp("spawner")) as running:
        running.run("/bin/true", timeout_s=20)  # Its start may take a while on a busy machine.
        yield running


def pid_in(path: Path) -> int:
    """The process id that a plugin has left in a file."""
    return int(wait_until(lambda: path.exists() and path.read_text().strip(), what=f"a pid in {path}"))


def test_exit_code_and_output_come_back(spawner: RunningSpawner, tmp_path: Path) -> None:
    plugin = script(tmp_path, '#!/bin/sh\necho "got $1 and $2"\necho oops >&2\nexit 2\n')
    outcome = spawner.run(plugin, "a b", "$HOME;ls")
    assert (outcome.exit_status, outcome.stdout, outcome.stderr) == (2, "got a b and $HOME;ls\n", "oops\n")
    assert not outcome.timed_out
    assert not outcome.truncated
    assert 0 < outcome.duration_s < 5


@pytest.mark.parametrize("status", [0, 3, 42, 127])
def test_any_exit_code_is_told_as_it_is(spawner: RunningSpawner, tmp_path: Path, status: int) -> None:
    assert spawner.run(script(tmp_path, f"#!/bin/sh\nexit {status}\n")).exit_status == status


def test_a_signal_is_told_as_a_signal(spawner: RunningSpawner, tmp_path: Path) -> None:
    outcome = spawner.run(script(tmp_path, "#!/bin/sh\nkill -9 $$\n"))
    assert (outcome.exit_status, outcome.signal) == (None, signal.SIGKILL)


def test_the_environment_is_clean_and_limits_are_set(spawner: RunningSpawner, tmp_path: Path) -> None:
    plugin = script(tmp_path, "#!/bin/sh\nenv | cut -d= -f1 | sort | tr '\\n' ' '\nulimit -c\ncat\npwd\n")
    outcome = spawner.run(plugin, env={"COMMUNITY": "public"}, cwd="/usr")
    names, _, rest = outcome.stdout.partition("0\n")
    assert set(names.split()) - {"_", "PWD", "OLDPWD", "SHLVL", "TZ"} == {
        "COMMUNITY", "HENGE_RUN_ID", "HOME", "LANG", "LC_ALL", "PATH",
    }  # fmt: skip
    assert rest == "/usr\n"  # And cat ended at once: the input is empty.


def test_what_cannot_be_started_says_why(spawner: RunningSpawner, tmp_path: Path) -> None:
    missing, folder = tmp_path / "check_nothing", tmp_path
    bad_interpreter = script(tmp_path, "#!/no/such/interpreter\n")
    locked = script(tmp_path, "#!/bin/sh\n", mode=0o644)
    garbage = script(tmp_path, "\x7fnot a program")
    assert spawner.run(str(missing)).refusal == f"{missing} does not exist"
    assert spawner.run(bad_interpreter).refusal == f"{bad_interpreter} names an interpreter that does not exist"
    assert spawner.run(locked).refusal == f"{locked} is not executable by this user"
    assert spawner.run(str(folder)).refusal == f"{folder} is not executable by this user"
    assert spawner.run(garbage).refusal == f"{garbage} cannot be started: Exec format error"
    assert spawner.run("/bin/true", cwd="/no/such").refusal == "the folder /no/such to start in does not exist"
    assert spawner.run("/bin/true", user="nosuchuser").refusal == "there is no user 'nosuchuser' on this machine"


def test_a_program_without_a_full_path_is_refused(spawner: RunningSpawner) -> None:
    with pytest.raises(BusRefused, match="the first a full path"):
        spawner.run("true")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start programs as another user")
def test_another_user_can_be_named(spawner: RunningSpawner) -> None:
    outcome = spawner.run("/usr/bin/id", "-un", user="nobody")
    assert outcome.stdout == "nobody\n"


def test_a_hanging_plugin_is_ended_and_says_what_it_had_printed(spawner: RunningSpawner, tmp_path: Path) -> None:
    plugin = script(tmp_path, f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho so far\nsleep 1000\n")
    outcome = spawner.run(plugin, timeout_s=0.5)
    assert outcome.timed_out
    assert outcome.stdout == "so far\n"
    assert 0.4 < outcome.duration_s < 2
    pid = pid_in(tmp_path / "pid")
    wait_until(lambda: not is_alive(pid), what="the end of the plugin")


def test_a_plugin_that_ignores_sigterm_is_killed(spawner: RunningSpawner, tmp_path: Path) -> None:
    plugin = script(tmp_path, f"#!/bin/sh\ntrap '' TERM\necho $$ > {tmp_path}/pid\nwhile true; do sleep 0.1; done\n")
    assert spawner.run(plugin, timeout_s=0.5).timed_out
    pid = pid_in(tmp_path / "pid")
    wait_until(lambda: not is_alive(pid), what="the end of the plugin")


def test_children_left_running_end_with_the_plugin(spawner: RunningSpawner, tmp_path: Path) -> None:
    plugin = script(tmp_path, f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/pid\necho done\n")
    outcome = spawner.run(plugin)
    assert (outcome.exit_status, outcome.stdout) == (0, "done\n")  # Though the child still holds the pipe.
    assert outcome.duration_s < 5
    pid = pid_in(tmp_path / "pid")
    wait_until(lambda: not is_alive(pid), what="the end of the child")


DAEMON = """#!/usr/bin/env python3
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        if "naked" in sys.argv:
            os.execve("/bin/sleep", ["sleep", "1000"], {})
        time.sleep(1000)
    while not (os.path.exists(sys.argv[1]) and open(sys.argv[1]).read()):
        time.sleep(0.01)  # Whoever is ended before it has said its pid cannot be looked for.
    os._exit(0)
os.wait()
if "hang" in sys.argv:
    time.sleep(1000)
print("OK")
"""


@pytest.mark.parametrize("how", [(), ("naked",), ("hang",), ("hang", "naked")], ids=" ".join)
def test_a_daemon_that_left_session_and_parent_is_ended(
    spawner: RunningSpawner, tmp_path: Path, how: tuple[str, ...]
) -> None:
    """Also one that threw its environment away."""
    outcome = spawner.run(script(tmp_path, DAEMON), str(tmp_path / "pid"), *how, timeout_s=1.5)
    assert outcome.timed_out is ("hang" in how)
    pid = pid_in(tmp_path / "pid")
    wait_until(lambda: not is_alive(pid), what="the end of the daemon")


def test_a_naked_daemon_lives_until_the_last_suspect_is_over(spawner: RunningSpawner, tmp_path: Path) -> None:
    """While another plugin runs that could have started it, it is not touched; then it is ended."""
    waiting = script(tmp_path, f"#!/bin/sh\nwhile ! test -e {tmp_path}/go; do sleep 0.05; done\necho OK\n")
    daemon = script(tmp_path, DAEMON)
    starter = script(tmp_path, f"#!/bin/sh\n{daemon} {tmp_path}/pid naked\nsleep 0.2\ntouch {tmp_path}/go\nsleep 0.2\n")
    outcomes = spawner.run_all(PluginRun(argv=[waiting], timeout_s=20), PluginRun(argv=[starter], timeout_s=20))
    assert [outcome.exit_status for outcome in outcomes] == [0, 0]
    pid = pid_in(tmp_path / "pid")
    wait_until(lambda: not is_alive(pid), what="the end of the daemon")


def test_a_flood_is_cut_and_ended(spawner: RunningSpawner, tmp_path: Path) -> None:
    outcome = spawner.run(script(tmp_path, "#!/bin/sh\nexec yes\n"), timeout_s=20, output_bytes_max=1000)
    assert outcome.flooded
    assert outcome.truncated
    assert len(outcome.stdout) == 1000
    assert outcome.exit_status is None


def test_much_output_is_cut_and_the_exit_code_kept(spawner: RunningSpawner, tmp_path: Path) -> None:
    plugin = script(tmp_path, "#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x\nexit 1\n")
    outcome = spawner.run(plugin, output_bytes_max=5000)
    assert (outcome.exit_status, outcome.truncated, len(outcome.stdout)) == (1, True, 5000)


def test_bytes_that_are_no_text_do_not_hurt(spawner: RunningSpawner, tmp_path: Path) -> None:
    outcome = spawner.run(script(tmp_path, "#!/bin/sh\nprintf 'OK \\377\\000 end'\n"))
    assert outcome.stdout == "OK \ufffd\x00 end"


def test_many_run_at_once(spawner: RunningSpawner, tmp_path: Path) -> None:
    """100 plugins of 0.3 s each through 64 places: two rounds, not a hundred."""
    plugin = script(tmp_path, "#!/bin/sh\nsleep 0.3\necho OK\n")
    started_s = time.monotonic()
    outcomes = spawner.run_all(*[PluginRun(argv=[plugin], timeout_s=60)] * 100)
    assert {outcome.stdout for outcome in outcomes} == {"OK\n"}
    assert time.monotonic() - started_s < 15
    assert max(outcome.waited_s for outcome in outcomes) > 0.1  # The last ones waited for a place, and say so.


def test_it_answers_for_itself_while_plugins_hang(spawner: RunningSpawner) -> None:
    with Client(spawner.run_dir, "spawner") as client:
        assert client.call("ping").body == "pong"
        assert client.call("process").body["service"] == "spawner"
        names = {sample["name"] for sample in client.call("metrics").body}
        assert "henge_plugin_runs_total" in names
        with pytest.raises(BusRefused, match="has no operation 'walk'"):
            client.call("walk")
        with pytest.raises(BusRefused, match="argv"):
            client.call("run", {"argv": "text"})


def test_nothing_heavy_is_loaded(spawner: RunningSpawner) -> None:
    """A fork copies what is there: without numpy and aiohttp the process stays small."""
    maps = Path(f"/proc/{spawner.process.pid}/maps").read_text()
    assert "numpy" not in maps
    assert "aiohttp" not in maps


def test_sigterm_ends_what_runs_and_the_spawner(tmp_path: Path) -> None:
    with running_spawner(tmp_path / "data") as running:
        pid = _start_daemon_and_hang(running, tmp_path)
        started_s = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started_s < busy(3)
        wait_until(lambda: not is_alive(pid), what="the end of the daemon")


def test_after_a_kill_the_next_spawner_ends_the_leftovers(tmp_path: Path) -> None:
    with running_spawner(tmp_path / "data") as running:
        daemon_pid = _start_daemon_and_hang(running, tmp_path)
        plugin_pid = pid_in(tmp_path / "plugin")
        running.kill()
        wait_until(lambda: not is_alive(plugin_pid), what="the plugin's end, by the kernel")
        running.start()
        wait_until(lambda: not is_alive(daemon_pid), what="the end of the leftover")
        assert running.run("/bin/true", timeout_s=20).exit_status == 0


def _start_daemon_and_hang(running: RunningSpawner, tmp_path: Path) -> int:
    """Leave a plugin hanging that has started a daemon; the daemon's pid."""
    running.run("/bin/true", timeout_s=20)
    daemon = script(tmp_path, DAEMON)
    plugin = script(tmp_path, f"#!/bin/sh\n{daemon} {tmp_path}/pid\necho $$ > {tmp_path}/plugin\nexec sleep 1000\n")
    threading.Thread(target=_ask_in_vain, args=(running, plugin), daemon=True).start()
    pid_in(tmp_path / "plugin")
    return pid_in(tmp_path / "pid")


def _ask_in_vain(running: RunningSpawner, plugin: str) -> None:
    with contextlib.suppress(BusError):
        running.run(plugin, timeout_s=30)
