"""The same promises to callers in an event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.bus import Answer, AsyncClient, BusAbsent, BusGone, BusRefused, BusTimeout, Client
from tests.appliance.bus.conftest import Serve
from tests.appliance.bus.test_calls import Gate, echo, service_process
from tests.waiting import wait_until

Story = Callable[[AsyncClient], Awaitable[None]]


def run(run_dir: Path, story: Story) -> None:
    async def whole() -> None:
        client = AsyncClient(run_dir, "echo")
        try:
            await story(client)
        finally:
            client.close()

    asyncio.run(whole())


def test_many_calls_at_once_get_their_own_answers(run_dir: Path, serve: Serve) -> None:
    serve(echo, threads=4)

    async def story(client: AsyncClient) -> None:
        replies = await asyncio.gather(*(client.call("echo", index, timeout_s=30) for index in range(900)))
        assert [reply.body for reply in replies] == list(range(900))

    run(run_dir, story)


def test_columns_come_back(run_dir: Path, serve: Serve) -> None:
    serve(echo)
    sent = np.arange(100_000, dtype=np.int64)

    async def story(client: AsyncClient) -> None:
        (got,) = (await client.call("echo", None, [sent])).columns
        np.testing.assert_array_equal(got, sent)

    run(run_dir, story)


def test_refusals_and_time_outs_are_told_apart(run_dir: Path, serve: Serve) -> None:
    gate = Gate()
    serve(lambda server: server.handle("wait", gate))

    async def story(client: AsyncClient) -> None:
        with pytest.raises(BusRefused, match="no operation 'nothing'"):
            await client.call("nothing")
        with pytest.raises(BusTimeout, match=r"echo did not answer 'wait' within 0.05 s"):
            await client.call("wait", "late", timeout_s=0.05)
        gate.open.set()
        assert (await client.call("wait", "next")).body == "next"

    run(run_dir, story)


def test_a_cancelled_call_leaves_the_others_alone(run_dir: Path, serve: Serve) -> None:
    gate = Gate()
    serve(lambda server: server.handle("wait", gate), threads=2)

    async def story(client: AsyncClient) -> None:
        first, second = (asyncio.create_task(client.call("wait", index)) for index in range(2))
        while len(gate.entered) < 2:
            await asyncio.sleep(0.001)
        first.cancel()
        gate.open.set()
        assert (await second).body == 1
        with pytest.raises(asyncio.CancelledError):
            await first

    run(run_dir, story)


def test_a_call_waits_for_a_service_that_is_down(run_dir: Path, serve: Serve) -> None:
    run_dir.mkdir(mode=0o700)

    async def story(client: AsyncClient) -> None:
        waiting = asyncio.create_task(client.call("echo", "patience", timeout_s=30))
        await asyncio.sleep(0)
        await asyncio.to_thread(serve, echo)
        assert (await waiting).body == "patience"

    run(run_dir, story)


def test_a_service_that_stops_hands_its_requests_to_the_next_one(run_dir: Path, serve: Serve) -> None:
    first, second = Gate(), Gate()
    second.open.set()
    service = serve(lambda server: server.handle("wait", first))

    async def story(client: AsyncClient) -> None:
        calls = [asyncio.create_task(client.call("wait", index, timeout_s=30)) for index in range(6)]
        with Client(run_dir, "echo") as other:
            await asyncio.to_thread(wait_until, lambda: other.call("process").body["queue_count"] == 5)
        await asyncio.to_thread(service.stop)
        serve(lambda server: server.handle("wait", second))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [result for result in results if isinstance(result, BaseException)] == [results[0]]
        assert isinstance(results[0], BusGone)
        assert sorted(second.entered) == [1, 2, 3, 4, 5]

    run(run_dir, story)
    first.open.set()


def test_a_killed_service_ends_all_its_calls_at_once_and_the_next_one_is_found(run_dir: Path) -> None:
    run_dir.mkdir(mode=0o700)

    async def story(client: AsyncClient) -> None:
        process = service_process(run_dir)
        try:
            assert (await client.call("echo", 1, timeout_s=30)).body == 1
            calls = [asyncio.create_task(client.call("hang", timeout_s=30)) for _ in range(10)]
            await asyncio.to_thread(wait_until, (run_dir / "hanging").exists)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        started_s = time.monotonic()
        results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {BusGone}
        assert time.monotonic() - started_s < 5, "they waited for their time-out"
        process = service_process(run_dir)
        try:
            assert (await client.call("echo", 2, timeout_s=30)).body == 2
        finally:
            process.kill()
            process.wait()

    run(run_dir, story)


def test_closing_ends_what_still_waits(run_dir: Path, serve: Serve) -> None:
    gate = Gate()
    serve(lambda server: server.handle("wait", gate))

    async def story(client: AsyncClient) -> None:
        waiting = asyncio.create_task(client.call("wait"))
        while not gate.entered:
            await asyncio.sleep(0.001)
        client.close()
        with pytest.raises(BusGone):
            await waiting
        gate.open.set()

    run(run_dir, story)


def test_the_answer_to_a_request_sent_while_others_arrive_is_not_overlooked(run_dir: Path, serve: Serve) -> None:
    """Goal: ZeroMQ reports edges, and none is missed. Method: many short ping-pongs at once, over one socket."""
    serve(lambda server: server.handle("echo", lambda request: Answer(request.body)), threads=4)

    async def story(client: AsyncClient) -> None:
        async def play(player: int) -> None:
            for step in range(50):
                assert (await client.call("echo", [player, step], timeout_s=20)).body == [player, step]

        await asyncio.gather(*(play(player) for player in range(20)))

    run(run_dir, story)


def test_a_client_that_outlives_its_event_loop_works_in_the_next(run_dir: Path, serve: Serve) -> None:
    serve(echo)
    client = AsyncClient(run_dir, "echo")
    for index in range(2):
        assert asyncio.run(client.call("echo", index)).body == index
    client.close()


def test_no_folder_means_no_appliance(tmp_path: Path) -> None:
    async def story(client: AsyncClient) -> None:
        with pytest.raises(BusAbsent, match="start it with `henge up`"):
            await client.call("ping")

    run(tmp_path / "run", story)


def test_ordered_restarts_under_load_lose_no_call(run_dir: Path, serve: Serve) -> None:
    """Goal: `henge reload` is not noticed by callers. Method: threads and tasks call on, while servers come and go."""
    service = serve(echo, threads=4)
    stop = threading.Event()
    counts = [0] * 4

    def ask(client: Client, thread: int) -> None:
        while not stop.is_set():
            assert client.call("echo", thread, timeout_s=30).body == thread
            counts[thread] += 1

    async def story(client: AsyncClient) -> None:
        async def play(player: int) -> int:
            count = 0
            while not stop.is_set():
                assert (await client.call("echo", player, timeout_s=30)).body == player
                count += 1
            return count

        players = [asyncio.create_task(play(player)) for player in range(10)]
        with Client(run_dir, "echo") as threads_client:
            threads = [asyncio.create_task(asyncio.to_thread(ask, threads_client, index)) for index in range(4)]
            current = service
            try:
                for _ in range(5):
                    done = sum(counts)
                    await asyncio.to_thread(
                        wait_until,
                        lambda: sum(counts) > done + 40 or any(map(asyncio.Task.done, threads)),  # noqa: B023
                    )
                    await asyncio.to_thread(current.stop)
                    current = serve(echo, threads=4)
            finally:
                stop.set()
            await asyncio.gather(*threads)
            assert min(await asyncio.gather(*players)) > 0

    run(run_dir, story)
    assert min(counts) > 0
