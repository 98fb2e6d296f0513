"""The scheduler as a process among the others: its commands, and what a kill -9 in the middle of sending does."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.receiver import Receiver
from tests.running import CHECKOUT, HENGE, Appliance
from tests.waiting import wait_until


@pytest.fixture(name="appliance", scope="module")
def appliance_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("scheduler")) as running:
        yield running


def henge(appliance: Appliance, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a command, also of one that fails."""
    done = subprocess.run(
        [*HENGE, *arguments, "--data", str(appliance.data_dir)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def state_of(appliance: Appliance, name: str) -> str:
    view = json.loads(appliance.henge("check", "show", name, "--json"))
    return f"{view['state']}/{view['state_type']}"


def events(receiver: Receiver) -> list[str]:
    return [json.loads(received.body)["event"] for received in receiver.received]


class HeldReceiver:
    """Takes messages and answers none of them until it is let go: a receiver whose answer never comes back."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.may_answer = threading.Event()
        holder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                holder.keys.append(self.headers["Idempotency-Key"])
                holder.may_answer.wait(20)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return  # The sender was killed.

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()


def test_the_commands_do_what_the_pages_do(appliance: Appliance) -> None:
    with Receiver() as phone, Receiver() as server:
        appliance.henge("channel", "add", "webhook", "hook", "-o", f"url={phone.url}", "-o", "secret=geheim")
        assert "delivered: HTTP 200 OK" in appliance.henge("channel", "test", "hook")
        assert events(phone) == ["test"]
        assert "geheim" not in appliance.henge("channel", "list", "--json")

        added = appliance.henge(
            "check", "add", "http", "web", "-o", f"url={server.url}", "--interval", "60", "--channel", "hook",
            "--attempts", "1", "--label", "env=live",
        )  # fmt: skip
        check_id = added.strip()
        assert re.fullmatch(r"[0-9a-f]{16}", check_id)
        status, output = henge(appliance, "check", "run", "web")
        assert (status, output[:3]) == (0, "OK:")
        assert state_of(appliance, check_id) == "ok/hard", "the result of a run can be read when it returns"
        assert "✔ OK" in appliance.henge("check", "list")

        assert henge(appliance, "channel", "remove", "hook")[0] == 1, "a check tells it"
        assert "now" in (
            appliance.henge("downtime", "add", "--label", "env=live", "--for", "1h")
            and appliance.henge("downtime", "list")
        )
        server.status = 500
        assert henge(appliance, "check", "run", "web")[0] == 2
        assert events(phone) == ["test"], "nobody is told inside a downtime"
        (downtime,) = json.loads(appliance.henge("downtime", "list", "--json"))
        appliance.henge("downtime", "remove", downtime["id"])
        assert henge(appliance, "check", "run", "web")[0] == 2
        wait_until(lambda: events(phone) == ["test", "alert"], what="the problem that outlived its downtime")

        assert "removed web" in appliance.henge("check", "remove", "web")
        wait_until(lambda: events(phone) == ["test", "alert", "resolved"], what="the end of the incident")
        appliance.henge("channel", "remove", "hook")
        assert "there is no check yet" in appliance.henge("check", "list")


REFUSALS = {
    "an unknown kind": (("check", "add", "htp", "x"), "the kinds are http"),
    "an unknown option": (("check", "add", "http", "x", "-o", "addr=1"), "its options are url"),
    "a bad value": (("check", "add", "tcp", "x", "-o", "host=h", "-o", "port=99999"), "65,535"),
    "a bad address": (("check", "add", "http", "x", "-o", "url=nonsense"), "url"),
    "a check that is not there": (("check", "show", "nowhere"), "henge check list"),
    "a channel that is not there": (("channel", "test", "nowhere"), "henge channel list"),
    "a downtime for nobody": (("downtime", "add", "--for", "1h"), "at least one label"),
    "a downtime without an end": (("downtime", "add", "--label", "a=b"), "--until"),
    "a downtime at no time": (("downtime", "add", "--label", "a=b", "--from", "soon", "--for", "1h"), "--from"),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals_are_one_line_with_the_way_out(appliance: Appliance, arguments: tuple[str, ...], words: str) -> None:
    status, output = henge(appliance, *arguments)
    assert status == 1
    assert words in output
    assert "Traceback" not in output


def test_an_alert_that_was_being_sent_when_the_scheduler_died_arrives_again_under_the_same_key(
    appliance: Appliance,
) -> None:
    phone = HeldReceiver()
    try:
        appliance.henge("channel", "add", "webhook", "held", "-o", f"url={phone.url}")
        appliance.henge(
            "check", "add", "tcp", "closed", "-o", "host=127.0.0.1", "-o", "port=1", "--interval", "5",
            "--attempts", "1", "--channel", "held",
        )  # fmt: skip
        wait_until(lambda: phone.keys, what="the first attempt")
        old_pid = appliance.kill("scheduler")
        appliance.wait_restarted("scheduler", old_pid)
        wait_until(lambda: len(phone.keys) >= 2, what="the second attempt", timeout_s=15)
        phone.may_answer.set()
        assert len(set(phone.keys)) == 1
        wait_until(lambda: state_of(appliance, "closed") == "critical/hard", what="the state to be read")
        old_pid = appliance.kill("scheduler")
        appliance.wait_restarted("scheduler", old_pid)
        status, _ = henge(appliance, "check", "run", "closed")
        assert status == 2
        assert len(phone.keys) == 2, "the incident is known: nobody is told again"
    finally:
        appliance.henge("check", "remove", "closed")
        phone.close()


def test_a_receiver_that_answers_500_gets_the_message_when_it_is_well(appliance: Appliance) -> None:
    with Receiver(status=500) as phone:
        appliance.henge("channel", "add", "webhook", "ill", "-o", f"url={phone.url}")
        appliance.henge(
            "check", "add", "tcp", "shut", "-o", "host=127.0.0.1", "-o", "port=1", "--interval", "5",
            "--attempts", "1", "--channel", "ill",
        )  # fmt: skip
        wait_until(lambda: phone.received, what="the first attempt")
        phone.status = 200
        wait_until(lambda: len(phone.received) == 2, what="the second attempt", timeout_s=15)
        first, second = phone.received
        assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
        appliance.henge("check", "remove", "shut")
