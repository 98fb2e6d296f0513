"""Checks that cannot work: bad addresses, and programs that hang, fork, flood or are not there; through the API."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.endtoend.looking import metric, page, pids
from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import busy, wait_until

MARK = "henge-test-plugin"  # In the command line of everything that a plugin of these tests starts.


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("bad-checks")) as running:
        before = pids(running)
        yield running
        after = pids(running) | {"spawner": before["spawner"]}  # One test ends the spawner.
        assert after == before, "a process was restarted"


@pytest.fixture(scope="module")
def healthy(appliance: Appliance) -> Iterator[str]:
    """A check that is well, beside all that are not; gives its id, and sees at the end that it has stayed well."""
    with Receiver() as server:
        body = {"kind": "http", "name": "healthy", "options": {"url": server.url}, "interval_s": 1}
        status, created = appliance.call("POST", "/api/v1/checks", body)
        assert status == 201, created
        yield created["id"]
        asked = len(server.received)
        wait_until(lambda: len(server.received) > asked, what="the healthy check to be run")
        _, events = appliance.call("GET", f"/api/v1/events?kind=flip&subject={created['id']}")
        assert all(event["body"].get("to", "ok") == "ok" for event in events["items"]), events
        assert appliance.call("GET", f"/api/v1/checks/{created['id']}")[1]["state"] == "ok"


BAD_OPTIONS: dict[str, tuple[str, dict[str, Any], str, str]] = {  # name: (kind, options, field, a part of the message)
    "no scheme": ("http", {"url": "example.org"}, "options.url", "must begin with http:// or https://"),
    "a file": ("http", {"url": "file:///etc/passwd"}, "options.url", "must begin with http:// or https://"),
    "no host": ("http", {"url": "http://"}, "options.url", "host"),
    "a port out of range": ("http", {"url": "http://localhost:99999"}, "options.url", "ort"),
    "a blank in the host": ("http", {"url": "http://exa mple.org"}, "options.url", "a host is a name"),
    "a line feed": ("http", {"url": "http://localhost/\r\nX: y"}, "options.url", "line feed"),
    "no url at all": ("http", {}, "options.url", ""),
    "a program by a relative path": ("nagios", {"command": "./check_it"}, "options.command", "must be a full path"),
    "quotes that do not close": ("nagios", {"command": "/bin/sh -c 'x"}, "options.command", "cannot be split"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
@pytest.mark.parametrize("path", ["/api/v1/checks", "/api/v1/checks/try"])
def test_an_option_that_cannot_work_is_refused_by_its_name(appliance: Appliance, name: str, path: str) -> None:
    kind, options, field, message = BAD_OPTIONS[name]
    status, answer = appliance.call("POST", path, {"kind": kind, "name": name, "options": options})
    assert status == 422, answer
    assert answer["error"]["field"] == field, answer
    assert message in answer["error"]["message"], answer


BAD_TARGETS: dict[str, tuple[str, dict[str, Any], str, str]] = {  # name: (kind, options, state, a part of the output)
    "nobody listens": ("http", {"url": "http://127.0.0.1:9/"}, "critical", "refused"),
    "a name that cannot exist": ("http", {"url": "http://no-such-host.invalid/"}, "", "no-such-host.invalid"),
    "no route": ("tcp", {"host": "255.255.255.255", "port": 80}, "", ""),
    "an expression that is none": ("query", {"expression": "up{", "critical": "> 1"}, "unknown", "parse error"),
    "no TLS there": ("tls", {"host": "127.0.0.1", "port": 9}, "critical", "refused"),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_a_target_that_cannot_be_reached_is_a_result_with_a_reason(appliance: Appliance, name: str) -> None:
    kind, options, state, text = BAD_TARGETS[name]
    body = {"kind": kind, "name": name, "options": options, "timeout_s": 2}
    status, result = appliance.call("POST", "/api/v1/checks/try", body)
    assert status == 200, result
    assert result["state"] in ((state,) if state else ("critical", "unknown")), result
    assert text in result["output"], result
    assert result["output"].strip(), result


def plugin(folder: Path, name: str, source: str) -> str:
    """A program of the test's own; its command line carries MARK."""
    file = folder / f"{MARK}-{name}"
    file.write_text(f"#!{sys.executable}\n{source}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


BUSY = "import os, sys, time, signal\n"
PLUGINS: dict[str, tuple[str, str, str]] = {  # name: (source, state, a part of the output)
    "hangs": (BUSY + "print('so far', flush=True); time.sleep(600)", "critical", "did not end within"),
    "ignores-sigterm": (
        BUSY + "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
        "critical",
        "did not end within",
    ),
    "forks-and-exits": (BUSY + "os.fork() or time.sleep(600); print('OK - fine')", "ok", "fine"),
    "double-forks-away": (
        BUSY
        + """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        os.environ.clear()
        time.sleep(600)
    os._exit(0)
print("OK - fine")
""",
        "ok",
        "fine",
    ),
    "forks-and-hangs": (
        BUSY + "[os.fork() or (os.setsid(), time.sleep(600)) for _ in range(5)]; time.sleep(600)",
        "critical",
        "did not end within",
    ),
    "floods": (BUSY + "os.set_blocking(1, True)\nwhile True: os.write(1, b'x' * 65536)", "unknown", "without end"),
    "floods-stderr": (BUSY + "while True: os.write(2, b'x' * 65536)", "unknown", "without end"),
    "dies-by-a-signal": (BUSY + "os.kill(os.getpid(), signal.SIGSEGV)", "unknown", "SIGSEGV"),
    "exits-42": (BUSY + "print('what'); sys.exit(42)", "unknown", "42"),
    "says-nothing": (BUSY, "ok", "no output"),
    "binary-output": (BUSY + "os.write(1, bytes(range(256)) * 4); sys.exit(1)", "warning", ""),
}


def running_marked() -> list[psutil.Process]:
    """Everything that plugins of these tests have started and that is still there."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and MARK in " ".join(process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_that_misbehaves_is_a_result_and_nothing_of_it_stays(
    appliance: Appliance, healthy: str, tmp_path: Path, name: str
) -> None:
    source, state, text = PLUGINS[name]
    program = plugin(tmp_path, name, source)
    body = {"kind": "nagios", "name": name, "options": {"argv": [program]}, "timeout_s": 1.5}
    started_s = time.monotonic()
    status, result = appliance.call("POST", "/api/v1/checks/try", body)
    assert status == 200, result
    assert time.monotonic() - started_s < busy(4)
    assert (result["state"], text in result["output"]) == (state, True), result
    assert len(result["output"]) < 10_000
    wait_until(lambda: not running_marked(), timeout_s=5, what=f"the end of all that {name} had started")


MISSING: dict[str, tuple[str, str]] = {  # name: (argv[0], a part of the output)
    "not there": ("/usr/lib/nagios/plugins/check_nothing", "check_nothing"),
    "not there by its name": ("check_nothing_at_all", "is in none of the folders"),
    "not executable": ("/etc/hostname", "/etc/hostname"),
    "a folder": ("/usr", "/usr"),
    "a script whose interpreter is not there": ("INTERPRETER", ""),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_program_that_cannot_be_started_is_unknown_and_named(appliance: Appliance, tmp_path: Path, name: str) -> None:
    program, text = MISSING[name]
    if program == "INTERPRETER":
        program = str(tmp_path / "script")
        (tmp_path / "script").write_text("#!/no/such/interpreter\n")
        (tmp_path / "script").chmod(0o755)
    body = {"kind": "nagios", "name": name, "options": {"argv": [program]}, "timeout_s": 2}
    status, result = appliance.call("POST", "/api/v1/checks/try", body)
    assert status == 200, result
    assert result["state"] == "unknown", result
    assert text in result["output"], result


def test_plugins_that_hang_are_counted_and_shown_on_their_page(
    appliance: Appliance, healthy: str, tmp_path: Path
) -> None:
    """As saved checks, on the schedule: the state, the reason on the page, the counters; deleted, nothing stays."""
    program = plugin(tmp_path, "scheduled", PLUGINS["hangs"][0])
    body = {"kind": "nagios", "name": "hanging", "options": {"argv": [program]}, "interval_s": 1, "timeout_s": 1.2}
    status, created = appliance.call("POST", "/api/v1/checks", body)
    assert status == 201, created
    path = f"/api/v1/checks/{created['id']}"
    wait_until(lambda: appliance.call("GET", path)[1]["state"] == "critical", what="the check to be critical")
    assert "did not end within" in page(appliance, f"/checks/{created['id']}")
    assert metric(appliance, "henge_plugin_runs_total", outcome="timeout") >= 1
    wait_until(lambda: metric(appliance, "henge_check_late_total") >= 1, what="a run that was counted as late")
    assert metric(appliance, "henge_check_runs_total", kind="nagios", state="critical") >= 1
    assert appliance.call("DELETE", path)[0] == 200
    wait_until(lambda: not running_marked(), timeout_s=5, what="the end of the plugin")


def test_a_fork_bomb_is_put_out(appliance: Appliance, healthy: str, tmp_path: Path) -> None:
    """Each process makes two more, up to a number of its own: all of them end with the run."""
    source = (
        BUSY + "\nfor _ in range(6): os.fork()\nos.setsid() if os.getpgid(0) != os.getpid() else 0\ntime.sleep(600)"
    )
    program = plugin(tmp_path, "bomb", source)
    body = {"kind": "nagios", "name": "bomb", "options": {"argv": [program]}, "timeout_s": 1.5}
    status, result = appliance.call("POST", "/api/v1/checks/try", body)
    assert status == 200, result
    assert result["state"] in ("critical", "unknown")
    wait_until(lambda: not running_marked(), timeout_s=5, what="the end of 64 processes")


def test_no_plugin_outlives_the_spawner(appliance: Appliance, tmp_path: Path) -> None:
    """kill -9 of the spawner while a plugin and its daemon run: the next spawner ends them."""
    program = plugin(tmp_path, "orphan", PLUGINS["double-forks-away"][0] + "\ntime.sleep(600)")
    body = {"kind": "nagios", "name": "orphan", "options": {"argv": [program]}, "interval_s": 60, "timeout_s": 30}
    status, created = appliance.call("POST", "/api/v1/checks", body)
    assert status == 201, created
    wait_until(lambda: len(running_marked()) >= 2, what="the plugin and its daemon")
    assert appliance.call("PATCH", f"/api/v1/checks/{created['id']}", {"paused": True})[0] == 200
    spawner = psutil.Process(appliance.ready["processes"]["spawner"])
    os.kill(spawner.pid, 19)  # SIGSTOP first, so that it cannot end them in its last moment.
    os.kill(spawner.pid, 9)
    wait_until(lambda: not running_marked(), timeout_s=8, what="the end of the plugin and its daemon")
    appliance.wait_restarted("spawner", spawner.pid)
