"""The ready file: whole or not there."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from appliance.config import Address
from appliance.readyfile import ReadyFile, remove, web_url


def ready_file(pid: int) -> ReadyFile:
    return ReadyFile(
        web="http://127.0.0.1:8420",
        graphite="[::1]:2003",
        graphite_pickle=None,
        statsd=None,
        login_url=None,
        pid=pid,
        processes={"state": pid + 1},
    )


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    ready_file(0).write(path)
    seen: set[int] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(json.loads(path.read_text())["pid"])

    reader = threading.Thread(target=read)
    reader.start()
    for pid in range(500):
        ready_file(pid).write(path)
    done.set()
    reader.join()
    assert json.loads(path.read_text())["processes"] == {"state": 500}
    assert seen <= set(range(500))
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600, "the log-in link makes its reader the administrator"
    remove(path)
    remove(path)  # Twice is no error.


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        ready_file(1).write(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8420"),
        ("::1", "http://[::1]:8420"),
        ("0.0.0.0", "http://127.0.0.1:8420"),
        ("::", "http://[::1]:8420"),
        ("henge.example", "http://henge.example:8420"),
    ],
)
def test_page_address_is_one_that_a_browser_here_can_open(host: str, url: str) -> None:
    assert web_url(Address(host, 8420)) == url
