"""PNGs come from a process of its own, which may die."""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
import threading
from collections.abc import Iterator

import pytest

from appliance.packaged import command
from tests.running import CHECKOUT
from tests.waiting import wait_until
from tests.web.draw.series import one, wanted
from web.draw.graph.picture import line_svg
from web.draw.painter import WAITING_COUNT_MAX, NotPainted, Painter

EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="20">{}</svg>'
TEXT = '<text y="15" font-family="DejaVu Sans" font-size="14">henge</text>'
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(scope="module")
def painter() -> Iterator[Painter]:
    made = Painter(command("painter"))
    yield made
    made.close()


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack_from(">II", png, 16)
    return width, height


def test_a_picture_has_the_size_that_was_asked_for(painter: Painter) -> None:
    svg = line_svg([one("servers.web01.cpu", [1, 5, 3])], wanted(width=330, height=250))
    assert size(painter.png(svg)) == (330, 250)


def test_text_is_drawn_with_our_own_font_alone(painter: Painter) -> None:
    """Fonts of the machine are not looked at: the font of the family that we name is the one that comes with us."""
    without = painter.png(EMPTY.format(""))
    assert painter.png(EMPTY.format(TEXT)) != without
    assert painter.png(EMPTY.format(TEXT.replace("DejaVu Sans", "Liberation Sans"))) == without


def test_what_is_no_picture_is_refused_and_the_next_one_is_painted(painter: Painter) -> None:
    with pytest.raises(NotPainted, match="cannot be painted"):
        painter.png("<svg")
    assert size(painter.png(EMPTY.format(""))) == (60, 20)


def test_a_process_with_very_many_open_files_paints() -> None:
    """As the web process has, when a thousand clients are connected: select(2) knows no descriptor beyond 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    painter = Painter(command("painter"))
    try:
        assert size(painter.png(EMPTY.format(""))) == (60, 20)
    finally:
        painter.close()
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_files_of_the_machine_are_not_read(painter: Painter) -> None:
    image = '<image href="{}" width="60" height="20"/>'
    here = CHECKOUT / "docs" / "pictures" / "check.png"
    with pytest.raises(NotPainted, match="pictures within pictures"):
        painter.png(EMPTY.format(image.format(here)))


def test_a_process_that_was_killed_is_started_again(painter: Painter) -> None:
    painter.png(EMPTY.format(""))
    process = painter._process[0]
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: process.poll() is not None, what="its end")
    assert size(painter.png(EMPTY.format(""))) == (60, 20)


def test_a_picture_that_takes_too_long_is_given_up() -> None:
    slow = Painter(SLEEPER, picture_s_max=0.05)
    with pytest.raises(NotPainted, match="was not finished after 0 s; ask for fewer series"):
        slow.png(EMPTY.format(""))
    assert not slow._process


def test_a_process_that_always_ends_is_not_started_for_ever() -> None:
    broken = Painter([sys.executable, "-c", ""])
    with pytest.raises(NotPainted, match="ended while it made this picture"):
        broken.png(EMPTY.format(""))


def test_those_who_wait_are_few() -> None:
    slow = Painter(SLEEPER)
    failed: list[NotPainted] = []

    def ask() -> None:
        try:
            slow.png(EMPTY.format(""))
        except NotPainted as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(WAITING_COUNT_MAX)]
    for thread in threads:
        thread.start()
    wait_until(lambda: slow._waiting._value == 0, what="all places to be taken")
    with pytest.raises(NotPainted, match="are waiting already") as refused:
        slow.png(EMPTY.format(""))
    assert refused.value.is_busy
    for _ in threads:
        wait_until(lambda: bool(slow._process) or not any(map(threading.Thread.is_alive, threads)), what="the next one")
        for process in slow._process[:]:
            process.kill()
        gone = len(failed)
        wait_until(lambda gone=gone: len(failed) > gone or len(failed) == len(threads), what="one to be told")
    for thread in threads:
        thread.join(timeout=20)
    assert len(failed) == len(threads)
