"""A double click: `henge open` starts the appliance or finds it, and shows its page; `henge link` prints it."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.lock import running_pid
from tests.running import CHECKOUT, HENGE
from tests.waiting import wait_until

OFF = ("graphite.listen=", "graphite.pickle_listen=", "statsd.listen=")


@pytest.fixture
def desktop(tmp_path: Path) -> dict[str, str]:
    """The environment of a person before a screen, whose browser writes down what it is to show."""
    programs = tmp_path / "bin"
    programs.mkdir()
    opener = programs / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1 $LD_LIBRARY_PATH" >> "{tmp_path}/shown"\n')
    opener.chmod(0o755)
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "DISPLAY": ":9"}


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    if (pid := running_pid(folder)) is not None:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: running_pid(folder) is None, what="the appliance's end", timeout_s=30)


def start(words: tuple[str, ...], environ: dict[str, str], data: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HENGE, *words, "--data", str(data)],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )


def finish(started: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = started.communicate(timeout=90)
    return started.returncode, out.strip(), err.strip()


def opening(*settings: str) -> tuple[str, ...]:
    return ("open", *(word for setting in settings for word in ("--set", setting)))


def test_two_clicks_at_once_start_one_appliance_and_show_its_page_twice(
    desktop: dict[str, str], data: Path, tmp_path: Path
) -> None:
    clicks = [start(opening("web.listen=127.0.0.1:0", *OFF), desktop, data) for _ in range(2)]
    pages = []
    for click in clicks:
        status, page, err = finish(click)
        assert (status, err) == (0, "")
        pages.append(page)
    assert pages[0].partition("/setup/")[0] == pages[1].partition("/setup/")[0]
    with urllib.request.urlopen(pages[0], timeout=10) as answer:
        assert "administrator" in answer.read().decode()

    status, link, _ = finish(start(("link",), desktop, data))
    assert (status, link.partition("/setup/")[0]) == (0, pages[0].partition("/setup/")[0])
    shown = wait_until(
        lambda: (lines := (tmp_path / "shown").read_text().splitlines()) and len(lines) == 2 and lines,
        what="two pages shown",
    )
    assert {line.split()[0] for line in shown} == set(pages)


def test_without_a_screen_the_address_is_for_the_person(data: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    status, page, err = finish(start(opening("web.listen=127.0.0.1:0", *OFF), environ, data))
    assert (status, "/setup/" in page, "no browser" in err) == (0, True, True)


def test_a_start_that_is_refused_says_why(desktop: dict[str, str], data: Path, tmp_path: Path) -> None:
    status, page, err = finish(start(opening("web.listen=256.1.1.1:1", *OFF), desktop, data))
    assert (status, page) == (1, "")
    assert "256.1.1.1" in err
    assert not (tmp_path / "shown").exists()
    assert finish(start(("link",), desktop, data))[0] == 1
