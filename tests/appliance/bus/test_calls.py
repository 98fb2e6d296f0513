"""Requests and replies between threads and processes."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from appliance.bus import Answer, BusAbsent, BusGone, BusRefused, BusTimeout, Client, Request, Server
from appliance.bus.direct import DirectLink
from appliance.metrics import Sample
from tests.appliance.bus.conftest import Serve
from tests.waiting import busy, wait_until


class Greeting(msgspec.Struct):
    name: str


class Stubborn(Exception):
    code = "stubborn"


def echo(server: Server) -> None:
    server.handle("echo", lambda request: Answer(request.body, request.columns))


class Gate:
    """A handler that waits to be let through, and remembers what went in."""

    def __init__(self) -> None:
        self.entered: list[Any] = []
        self.open = threading.Event()

    def __call__(self, request: Request) -> Any:
        self.entered.append(request.body)
        assert self.open.wait(30), "nobody opened the gate"
        return request.body


def in_thread(function: Any, *arguments: Any, **options: Any) -> tuple[threading.Thread, list[Any]]:
    """Run a call beside the test; the list gets its result, or what it raised."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(function(*arguments, **options))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_a_body_and_columns_come_back(serve: Serve, client: Client) -> None:
    serve(echo)
    large = np.arange(1_000_000, dtype=np.int64)
    sent = (large, large[::2], np.array([], dtype=np.float64), np.array([True, False]), b"raw \x00 bytes")
    body, columns = client.call("echo", {"a": [1, 2.5, None, "ü"], "n": np.int64(7)}, sent)
    assert body == {"a": [1, 2.5, None, "ü"], "n": 7}
    for got, want in zip(columns, [*sent[:-1], np.frombuffer(sent[-1], dtype=np.uint8)], strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


def test_columns_are_read_only_views_on_what_was_received(serve: Serve, client: Client) -> None:
    serve(echo)
    read_only = np.arange(100_000, dtype=np.float64)
    read_only.flags.writeable = False
    (got,) = client.call("echo", None, [read_only]).columns
    assert not got.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 1.0


def test_bodies_are_decoded_to_the_types_of_both_sides(serve: Serve, client: Client) -> None:
    serve(lambda server: server.handle("greet", lambda request: Greeting(f"{request.body.name}!"), Greeting))
    assert client.call("greet", Greeting("Ann"), type=Greeting).body == Greeting("Ann!")
    with pytest.raises(BusRefused, match=r"echo/greet: Object missing required field `name`") as refusal:
        client.call("greet", {"nam": "Ann"})
    assert refusal.value.code == "bad_request"
    with pytest.raises(BusRefused, match="Expected `int`") as refusal:
        client.call("greet", Greeting("Ann"), type=int)
    assert refusal.value.code == "bad_reply"


def test_a_refusal_keeps_the_code_and_the_text_of_its_handler(serve: Serve, client: Client) -> None:
    def refuse(request: Request) -> None:
        raise Stubborn("not before noon")

    serve(lambda server: server.handle("ask", refuse))
    with pytest.raises(BusRefused, match=r"^not before noon$") as refusal:
        client.call("ask")
    assert refusal.value.code == "stubborn"


def test_a_handler_that_fails_is_logged_with_its_trace_and_ends_nothing(
    serve: Serve, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    service = serve(lambda server: server.handle("divide", lambda request: 1 / request.body))
    with pytest.raises(BusRefused, match="echo/divide failed: ZeroDivisionError") as refusal:
        client.call("divide", 0)
    assert refusal.value.code == "internal"
    assert "Traceback" in caplog.text
    assert client.call("divide", 2).body == 0.5
    assert service.refused() == {"internal": 1}


@pytest.mark.parametrize("answer", [object(), {"key": object()}, Answer(None, [np.zeros((2, 2))])])
def test_an_answer_that_cannot_travel_is_the_fault_of_its_handler(serve: Serve, client: Client, answer: Any) -> None:
    serve(lambda server: server.handle("answer", lambda request: answer))
    with pytest.raises(BusRefused, match="echo/answer failed: TypeError") as refusal:
        client.call("answer")
    assert refusal.value.code == "internal"


def test_an_unknown_operation_is_answered_with_the_nearest_one(serve: Serve, client: Client) -> None:
    serve(echo)
    with pytest.raises(BusRefused, match=r"echo has no operation 'ecko'; did you mean echo?") as refusal:
        client.call("ecko")
    assert refusal.value.code == "unknown_op"


def test_what_is_too_large_is_refused_before_it_is_sent(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.bus.wire.BODY_BYTES_MAX", 1000)
    serve(lambda server: server.handle("double", lambda request: request.body * 2))
    with pytest.raises(BusRefused, match="the request has 1,003 bytes, of at most 1,000") as refusal:
        client.call("double", "x" * 1000)
    assert refusal.value.code == "too_large"
    with pytest.raises(BusRefused, match="the answer has 1,203 bytes, of at most 1,000"):
        client.call("double", "x" * 600)


def test_beyond_its_bound_the_queue_refuses_and_the_service_still_tells_how_it_is(serve: Serve, client: Client) -> None:
    """Goal: overload is answered, not swallowed. Method: one in hand, two waiting, then a fourth."""
    gate = Gate()
    service = serve(lambda server: server.handle("wait", gate), queue_count_max=2)
    calls = [in_thread(client.call, "wait", 0, timeout_s=30)]
    wait_until(lambda: gate.entered)
    calls += [in_thread(client.call, "wait", index, timeout_s=30) for index in (1, 2)]
    wait_until(lambda: client.call("process").body["queue_count"] == 2, what="two requests wait")
    with pytest.raises(BusRefused, match=r"echo is busy: 2 requests .* try again in a moment") as refusal:
        client.call("wait", 3)
    assert refusal.value.code == "busy"
    assert client.call("ping").body == "pong"
    figures = client.call("process").body
    assert (figures["in_hand_count"], figures["threads"], figures["service"]) == (1, 1, "echo")
    gate.open.set()
    for thread, _ in calls:
        thread.join()
    assert sorted(results[0].body for _, results in calls) == [0, 1, 2]
    assert service.refused() == {"busy": 1}


def test_the_queue_is_bounded_in_bytes_too_but_one_request_is_never_too_large(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.bus.server.QUEUE_BYTES_MAX", 1000)
    gate = Gate()
    serve(lambda server: server.handle("wait", gate))
    calls = [in_thread(client.call, "wait", "first", timeout_s=30)]
    wait_until(lambda: gate.entered)
    calls.append(in_thread(client.call, "wait", "second", [np.zeros(10_000)], timeout_s=30))
    wait_until(lambda: client.call("process").body["queue_count"] == 1)
    with pytest.raises(BusRefused, match="busy"):
        client.call("wait", "third")
    gate.open.set()
    for thread, results in calls:
        thread.join()
        assert results[0].body in ("first", "second")


def test_a_late_answer_is_not_taken_for_the_next_one(serve: Serve, client: Client) -> None:
    gate = Gate()
    serve(lambda server: server.handle("wait", gate), threads=2)
    with pytest.raises(BusTimeout, match=r"echo did not answer 'wait' within 0.1 s"):
        client.call("wait", "late", timeout_s=0.1)
    gate.open.set()
    assert [client.call("wait", index).body for index in range(10)] == list(range(10))


def test_what_nobody_waits_for_any_more_is_not_done(serve: Serve, client: Client) -> None:
    gate = Gate()
    service = serve(lambda server: server.handle("wait", gate))
    thread, _ = in_thread(client.call, "wait", "first", timeout_s=30)
    wait_until(lambda: gate.entered)
    with pytest.raises(BusTimeout):
        client.call("wait", "given up", timeout_s=0.05)
    gate.open.set()
    thread.join()
    assert client.call("wait", "third").body == "third"
    assert gate.entered == ["first", "third"]
    assert service.refused() == {"expired": 1}


def test_a_call_waits_for_a_service_that_is_down(serve: Serve, client: Client) -> None:
    thread, results = in_thread(client.call, "echo", "patience", timeout_s=30)
    with pytest.raises(BusTimeout):
        client.call("echo", "impatience", timeout_s=0.05)
    serve(echo)
    thread.join()
    assert results[0].body == "patience"


def test_a_request_given_up_while_the_service_was_down_is_not_done_later(serve: Serve, client: Client) -> None:
    with pytest.raises(BusTimeout):
        client.call("wait", "old", timeout_s=0.05)
    gate = Gate()
    gate.open.set()
    service = serve(lambda server: server.handle("wait", gate))
    assert client.call("wait", "new").body == "new"
    assert gate.entered == ["new"]
    assert service.refused() == {}


def test_a_service_that_stops_hands_waiting_requests_to_the_next_one(serve: Serve, client: Client) -> None:
    """Goal: an ordered restart loses no call. Method: one call in hand, five waiting, stop, start another server."""
    first = Gate()
    service = serve(lambda server: server.handle("wait", first))
    held, _ = in_thread(client.call, "wait", "held", timeout_s=30)
    wait_until(lambda: first.entered)
    calls = [in_thread(client.call, "wait", index, timeout_s=30) for index in range(5)]
    wait_until(lambda: client.call("process").body["queue_count"] == 5)
    started_s = time.monotonic()
    service.stop()
    assert time.monotonic() - started_s < busy(0.5)  # 200 ms are promised.
    second = Gate()
    second.open.set()
    serve(lambda server: server.handle("wait", second))
    for thread, _ in calls:
        thread.join()
    assert sorted(results[0].body for _, results in calls) == list(range(5))
    first.open.set()
    held.join()
    assert first.entered == ["held"]


def test_after_a_refusal_at_the_stop_no_call_goes_out_on_an_old_link(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the next try never goes to the end of the server that refused the first, where nobody may read it."""
    gate = Gate()
    service = serve(lambda server: server.handle("wait", gate))
    waiting = [in_thread(client.call, "wait", index, timeout_s=30) for index in range(2)]
    # A server that is slow to take a connection is asked another way once, by a link that is not kept.
    wait_until(lambda: client.call("process").body["queue_count"] == 1 and len(client._idle) == 1)
    old, sent = client._idle[0], []
    monkeypatch.setattr(old, "send", lambda *message: sent.append(message))
    service.stop()
    gate.open.set()
    serve(lambda server: server.handle("wait", gate))
    for thread, _ in waiting:
        thread.join()
    assert sent == []


def test_a_lane_keeps_nobody_else_waiting(serve: Serve, client: Client) -> None:
    slow, fast = Gate(), Gate()

    def prepare(server: Server) -> None:
        server.handle("slow", slow, lane="reads")
        server.handle("fast", fast)

    serve(prepare, lanes={"reads": 2})
    calls = [in_thread(client.call, "slow", index, timeout_s=30) for index in range(3)]
    wait_until(lambda: len(slow.entered) == 2 and client.call("process").body["queue_count"] == 1)
    fast.open.set()
    assert client.call("fast", 1).body == 1
    calls.append(in_thread(client.call, "fast", 2, timeout_s=30))
    slow.open.set()
    for thread, _ in calls:
        thread.join()
    assert sorted(results[0].body for _, results in calls) == [0, 1, 2, 2]


def test_a_stop_ends_serving_in_200_ms(serve: Serve, client: Client) -> None:
    service = serve(echo)
    client.call("ping")
    started_s = time.monotonic()
    service.stop()
    assert time.monotonic() - started_s < busy(0.5)
    assert service.crashes == []


def test_a_failed_assertion_of_a_handler_ends_its_service(
    serve: Serve, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: Request) -> None:
        raise AssertionError("2 + 2 == 5")

    service = serve(lambda server: server.handle("broken", broken))
    with pytest.raises(
        BusRefused, match=r"echo stopped on a fault of its own: AssertionError\('2 \+ 2 == 5'\)"
    ) as refusal:
        client.call("broken")
    assert refusal.value.code == "crashed"
    service.thread.join()
    assert [str(crash) for crash in service.crashes] == ["2 + 2 == 5"]
    assert "Traceback" in caplog.text
    with pytest.raises(BusTimeout):
        client.call("ping", timeout_s=0.1)


def test_sixteen_threads_share_one_client(serve: Serve, client: Client) -> None:
    serve(echo, threads=4)

    def ask(index: int) -> list[Any]:
        return [client.call("echo", [index, step]).body for step in range(100)]

    calls = [in_thread(ask, index) for index in range(16)]
    for thread, _ in calls:
        thread.join()
    assert [results[0] for _, results in calls] == [[[index, step] for step in range(100)] for index in range(16)]


def test_every_service_shows_its_metrics(serve: Serve, client: Client) -> None:
    serve(echo)
    client.call("echo")
    samples = client.call("metrics", type=list[Sample]).body
    assert (
        Sample(
            "henge_bus_requests_total",
            "counter",
            "Requests that a service has handled.",
            {"op": "echo", "service": "echo"},
            1,
        )
        in samples
    )


def test_no_folder_means_no_appliance_and_asking_makes_none(tmp_path: Path) -> None:
    with (
        Client(tmp_path / "typo" / "run", "state") as client,
        pytest.raises(BusAbsent, match="start it with `henge up`"),
    ):
        client.call("ping")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_the_sockets_is_closed_to_others(run_dir: Path, serve: Serve) -> None:
    run_dir.mkdir(mode=0o755)
    serve(echo)
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700


def test_the_path_may_be_longer_than_a_socket_bears(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path
    while len(str(run_dir)) < 200:
        run_dir /= "a-folder-with-a-long-name-in-the-home-of-somebody"[: 200 - len(str(run_dir))] or "x"
    server, stopping = Server(run_dir, "echo", metrics=serve(echo).metrics), threading.Event()
    echo(server)
    thread = server.start_thread(stopping)
    with Client(run_dir, "echo") as client:
        assert client.call("echo", "far away").body == "far away"
    assert (run_dir / "echo.sock").is_socket()
    stopping.set()
    thread.join()


SERVICE_PROCESS = """
import sys, threading
from pathlib import Path
from appliance.bus import Server
from appliance.metrics import Metrics
server = Server(Path(sys.argv[1]), "echo", metrics=Metrics())
server.handle("echo", lambda request: request.body)
server.handle("hang", lambda request: (Path(sys.argv[1], "hanging").touch(), threading.Event().wait()))
server.serve(threading.Event())
"""


def service_process(run_dir: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SERVICE_PROCESS, str(run_dir)])


def test_a_killed_service_ends_its_calls_at_once_and_the_next_one_is_found(run_dir: Path, client: Client) -> None:
    process = service_process(run_dir)
    try:
        assert client.call("echo", 1, timeout_s=30).body == 1
        thread, results = in_thread(client.call, "hang", timeout_s=30)
        wait_until((run_dir / "hanging").exists)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    started_s = time.monotonic()
    thread.join()
    assert time.monotonic() - started_s < 5, "it waited for its time-out"
    assert isinstance(results[0], BusGone)
    assert results[0].code == "gone"
    process = service_process(run_dir)
    try:
        assert client.call("echo", 2, timeout_s=30).body == 2
    finally:
        process.kill()
        process.wait()


def test_calls_before_and_after_a_kill_do_not_disturb_each_other(run_dir: Path, client: Client) -> None:
    """Goal: an idle link that died meanwhile costs the next call nothing."""
    for round_ in range(2):
        process = service_process(run_dir)
        try:
            assert client.call("echo", round_, timeout_s=30).body == round_
        finally:
            process.kill()
            process.wait()
        for link in client._idle:
            if isinstance(link, DirectLink):  # Sending tells.
                continue
            wait_until(link._lost, what="the end of the link is known: a call at that very moment may be lost")


def test_numpy_stays_out_of_processes_without_columns() -> None:
    code = "import sys, appliance.bus, appliance.state; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_thread_that_serves_ends_the_process_on_a_fault(run_dir: Path, client: Client) -> None:
    code = """
import sys, threading
from pathlib import Path
from appliance.bus import Server
from appliance.metrics import Metrics
def broken(request):
    assert False, "impossible"
server = Server(Path(sys.argv[1]), "echo", metrics=Metrics())
server.handle("broken", broken)
server.start_thread(threading.Event()).join()
threading.Event().wait()
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(run_dir)], stderr=subprocess.PIPE)
    with pytest.raises(BusRefused, match="impossible"):
        client.call("broken", timeout_s=30)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 70
    assert b"impossible" in errors
