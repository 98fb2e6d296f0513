"""`henge trace` against a real appliance: each kind of thing is seen live, and nothing else is."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.receiver import Receiver
from tests.running import CHECKOUT, HENGE, Appliance
from tests.waiting import busy, wait_until


class Traced:
    """A `henge trace … --json` that runs."""

    def __init__(self, appliance: Appliance, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*HENGE, "trace", *arguments, "--json", "--for", "2m", "--data", str(appliance.data_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def seen(self, what: str, **fields: Any) -> dict[str, Any] | None:
        """The first event of a kind with these fields."""
        fits = (one for one in list(self.events) if one["what"] == what and fields.items() <= one.items())
        return next(fits, None)

    def wait(self, what: str, **fields: Any) -> dict[str, Any]:
        found = wait_until(
            lambda: self.seen(what, **fields), timeout_s=busy(15), what=f"{what} {fields} among {self.events}"
        )
        assert found is not None
        return found

    def end(self) -> tuple[int, str]:
        """Ctrl-C. Give the exit status and what it said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(busy(10))
        self._reader.join(5)
        assert self.process.stderr is not None
        words = self.process.stderr.read()
        self.process.stderr.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status, words


@contextlib.contextmanager
def tracing(appliance: Appliance, *arguments: str, nudge: Callable[[], object] = lambda: None) -> Iterator[Traced]:
    """A trace that has begun. nudge: makes something happen to its subject, again and again until it is seen."""
    traced = Traced(appliance, *arguments)

    def nudged() -> bool:
        nudge()
        return bool(traced.events) or traced.process.poll() is not None

    try:
        wait_until(nudged, timeout_s=busy(20), every_s=0.2, what=f"the first event of {arguments}")
        yield traced
    finally:
        assert traced.end() == (0, "")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("trace")) as running:
        yield running


def add_check(appliance: Appliance, name: str, url: str, channels: list[str]) -> str:
    body = {"kind": "http", "name": name, "options": {"url": url}, "interval_s": 1, "max_check_attempts": 1}
    status, check = appliance.call("POST", "/api/v1/checks", body | {"channels": channels})
    assert status == 201, check
    return str(check["id"])


def test_a_check_is_followed_from_its_time_to_the_message(appliance: Appliance) -> None:
    with Receiver() as target, Receiver(status=500, body=b"out of order") as hook:
        channel = {"kind": "webhook", "name": "hook", "options": {"url": hook.url}}
        status, channel = appliance.call("POST", "/api/v1/channels", channel)
        assert status == 201, channel
        check_id = add_check(appliance, "shop", target.url, ["hook"])
        add_check(appliance, "other", target.url, [])

        def fail() -> None:
            """Once it has been seen well."""
            if check.seen("found", state="ok"):
                target.status = 503

        with tracing(appliance, "check", "shop") as check, tracing(appliance, "channel", "hook", nudge=fail) as sent:
            found = check.wait("found", state="ok")
            assert any("200" in step for step in found["steps"]), found
            assert found["took_s"] > 0
            started = check.wait("started", kind="http")
            assert started["late_s"] is not None
            assert started["timeout_s"] > 0
            check.wait("found", state="critical")
            check.wait("state", before="ok hard", state="critical hard", attempt="1/1")
            check.wait("incident", event="alert", told=1)
            queued = check.wait("queued", channel=channel["id"], event="alert")
            failed = sent.wait("failed", message=queued["message"], check=check_id)
            assert "out of order" in failed["answer"]
            assert failed["next_try_ms"] > failed["at_ms"]
            sent.wait("attempt", message=queued["message"], attempt=1)
            hook.status = 200
            check.wait("delivered", message=queued["message"])
            assert {event["check"] for event in check.events} == {check_id}


def test_a_trace_of_nothing_is_refused_with_the_nearest_name(appliance: Appliance) -> None:
    add_check(appliance, "printer", "http://127.0.0.1:9/", [])
    traced = Traced(appliance, "check", "printre")
    status = traced.process.wait(busy(20))
    assert (status, traced.end()[1]) == (
        1,
        "henge: there is no check with the id or name 'printre'; did you mean 'printer'?\n",
    )
