"""Four hundred checks that hang beside fifty that are well: those stay on time, and none of them turns critical.

Two hundred hang on names whose server never answers, half of them asked by name, half through the machine's own
resolver; two hundred on a server that accepts and says nothing.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.endtoend.looking import metric
from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import busy, wait_until

HEALTHY_COUNT = 50
SILENT_COUNT = 100  # Of each kind; those whose server is silent are twice as many.
WATCHED_RUNS = 8  # Of each healthy check, one a second, while all others hang.
HANG_S = 3  # So long each of the others hangs: what has to wait for one of them is as late as this.
NAME_SERVER = "127.9.9.9"  # Loopback has many addresses; nobody else listens on this one.
MINE = ("unshare", "--mount", "--propagation", "private")


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Accepts everybody, and says nothing; gives its port."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening, selectors.DefaultSelector() as selector:
        listening.setblocking(False)
        selector.register(listening, selectors.EVENT_READ)

        def accept() -> None:
            held: list[socket.socket] = []
            while not stop.is_set():
                if selector.select(0.1):
                    with contextlib.suppress(OSError):
                        held.append(listening.accept()[0])
            for connection in held:
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def silent_name_server(address: str, port: int) -> Iterator[int]:
    """Takes questions and never answers; gives its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((address, port))
        yield listening.getsockname()[1]


def own_resolver(folder: Path) -> Sequence[str]:
    """Words that start a program with a resolv.conf of its own, which names the silent server; needs root."""
    if os.getuid() or shutil.which("unshare") is None or subprocess.run([*MINE, "true"], check=False).returncode:
        return ()
    file = folder / "resolv.conf"
    file.write_text(f"nameserver {NAME_SERVER}\n")
    return (*MINE, "sh", "-c", f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh")


def silent(name: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    pace = {"interval_s": 4, "timeout_s": HANG_S, "retry_interval_s": 2}
    return {"kind": kind, "name": name, "options": options, **pace}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    folder = tmp_path_factory.mktemp("silent")
    prefix = own_resolver(folder)
    with (
        silent_server() as deaf_port,
        silent_name_server("127.0.0.1", 0) as dns_port,
        silent_name_server(NAME_SERVER, 53) if prefix else contextlib.nullcontext(),
        Receiver() as well,
        Appliance(folder, prefix=prefix) as appliance,
    ):
        asked = {"server": "127.0.0.1", "port": dns_port}
        bodies = [
            {
                "kind": "http",
                "name": f"healthy {number}",
                "options": {"url": well.url},
                "interval_s": 1,
                "timeout_s": busy(2),
                "max_check_attempts": 1,
            }
            for number in range(HEALTHY_COUNT)
        ]
        for number in range(SILENT_COUNT):
            name = f"host{number}.silent.example"
            bodies.append(silent(f"asked {number}", "dns", {"name": name, **asked}))
            if prefix:
                bodies.append(silent(f"named {number}", "http", {"url": f"http://{name}/"}))
            else:
                bodies.append(silent(f"named {number}", "dns", {"name": f"www.{name}", **asked}))
        bodies += [
            silent(f"deaf {number}", "http", {"url": f"http://127.0.0.1:{deaf_port}/{number}"})
            for number in range(2 * SILENT_COUNT)
        ]
        appliance.token  # noqa: B018 - made before the threads ask for it.
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda body: appliance.call("POST", "/api/v1/checks", body), bodies))
        assert all(status == 201 for status, _ in answers), next(a for a in answers if a[0] != 201)
        yield appliance


def test_checks_that_hang_hold_up_nobody(crowd: Appliance) -> None:
    def ready() -> bool:
        return metric(crowd, "henge_check_runs_total") >= HEALTHY_COUNT + 4 * SILENT_COUNT

    wait_until(ready, timeout_s=60, every_s=0.5, what="one run of every check")
    watched_s = WATCHED_RUNS + 2
    state = 'henge_check_state{check=~"healthy .*"}'
    wait_until(
        lambda: len(crowd.query(f"count_over_time({state}[{watched_s}s]) >= {WATCHED_RUNS}")) == HEALTHY_COUNT,
        timeout_s=60,
        every_s=0.5,
        what=f"{WATCHED_RUNS} runs of each healthy check within {watched_s} s",
    )
    assert crowd.query(f"max_over_time({state}[5m]) > 0") == [], "a healthy check was not OK"
    _, system = crowd.call("GET", "/api/v1/system")
    assert system["scheduler"]["lateness_p99_s"] < HANG_S, system["scheduler"]
    assert metric(crowd, "henge_check_lateness_seconds", quantile="0.99") < HANG_S
    assert all(process["restarts"] == 0 for process in system["processes"])


def test_each_kind_of_silence_has_its_own_words(crowd: Appliance) -> None:
    words = {
        "asked 0": ("critical", "no answer from 127.0.0.1"),
        "named 0": ("unknown" if crowd.prefix else "critical", "no answer"),
        "deaf 0": ("critical", "no answer within"),
    }
    for name, (state, text) in words.items():
        _, found = crowd.call("GET", f"/api/v1/checks?name={name.replace(' ', '%20')}")
        result = found["items"][0]["last_result"]
        assert result["state"] == state, result
        assert text in result["output"], result
