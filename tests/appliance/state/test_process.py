"""The state process as it is run: over the bus, with hints, killed in the middle."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.bus import RESYNC, BusGone, BusRefused, BusTimeout, Client, Hint, Subscriber
from appliance.child import ChildContext
from appliance.clock import SystemClock
from appliance.config import load
from appliance.metrics import Metrics, render
from appliance.state import (
    AppendEvent,
    AsyncStateClient,
    Change,
    DeleteDocument,
    PutDocument,
    StateClient,
    state_path,
)
from appliance.state.process import run_state
from tests.appliance.house import ENVIRONMENT, henge
from tests.waiting import busy, wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ChildContext]:
    """run_state in a thread of this process."""
    context = ChildContext(
        name="state",
        config=load(data_dir=tmp_path, environ={}),
        clock=SystemClock(),
        metrics=Metrics(),
        log=logging.getLogger("test"),
    )
    thread = threading.Thread(target=run_state, args=(context,))
    thread.start()
    wait_until((tmp_path / "run" / "state.sock").exists)
    yield context
    started_s = time.monotonic()
    context.stop()
    thread.join()
    assert time.monotonic() - started_s < busy(2)


@pytest.fixture
def client(served: ChildContext) -> Iterator[StateClient]:
    client = StateClient(served.config.run_dir, state_path(served.config.data_dir))
    yield client
    client.close()


def test_changes_go_over_the_bus_and_are_read_from_the_file(client: StateClient) -> None:
    assert client.apply([PutDocument("check", "a", {"name": "web"}), AppendEvent("flip", "a", 1, {})], actor="ann") == 1
    found = client.read.get("check", "a")
    assert found is not None
    assert (found.version, found.body, found.updated_by) == (1, {"name": "web"}, "ann")


def test_refusals_come_with_their_code_and_text(client: StateClient) -> None:
    with pytest.raises(BusRefused, match="there is no check 'x'; it may have been deleted meanwhile") as refusal:
        client.apply([DeleteDocument("check", "x")], actor="ann")
    assert refusal.value.code == "not_found"
    client.apply([PutDocument("check", "a", {})], actor="ann")
    with pytest.raises(BusRefused) as refusal:
        client.apply([PutDocument("check", "a", {}, expected_version=0)], actor="ann")
    assert refusal.value.code == "conflict"
    with pytest.raises(BusRefused, match=r"state/apply: Expected `int` <= ") as refusal:
        client.apply([AppendEvent("flip", "a", 2**63, {})], actor="ann")
    assert refusal.value.code == "bad_request"


def test_a_change_is_hinted_at_and_a_large_one_in_parts(served: ChildContext, client: StateClient) -> None:
    subscriber = Subscriber(served.config.run_dir, "state")
    try:
        assert wait_until(lambda: subscriber.poll(0.1)) is RESYNC
        client.apply([PutDocument("check", "a", {})], actor="ann")
        assert wait_until(lambda: subscriber.poll(0.1)) == [
            Hint("changed", {"revision": 1, "documents": [["check", "a"]], "messages": False, "events": False})
        ]
        client.apply([PutDocument("result", str(index), {}) for index in range(2_500)], actor="s")
        hints: list[Change] = []
        while len(hints) < 3:
            answer = wait_until(lambda: subscriber.poll(0.1))
            assert answer is not RESYNC
            hints += [msgspec.convert(hint.body, Change) for hint in answer]
        assert [(hint.revision, len(hint.documents)) for hint in hints] == [(2, 1000), (2, 1000), (2, 500)]
    finally:
        subscriber.close()


def test_the_other_operations(served: ChildContext, client: StateClient) -> None:
    client.apply([PutDocument("check", "a", {})], actor="ann")
    with Client(served.config.run_dir, "state") as bus:
        stats = bus.call("stats").body
        assert stats["revision"] == 1
        assert bus.call("compact").body is None
    wal = Path(f"{state_path(served.config.data_dir)}-wal")
    assert wal.stat().st_size == 0
    assert "henge_state_mutations_total 1\n" in render(served.metrics.snapshot())


def test_an_event_loop_changes_the_state_too(served: ChildContext) -> None:
    async def story() -> None:
        client = AsyncStateClient(served.config.run_dir, state_path(served.config.data_dir))
        try:
            revisions = await asyncio.gather(
                *(client.apply([PutDocument("check", str(index), {})], actor="s") for index in range(100))
            )
            assert max(revisions) == 100
            assert client.read.count("check") == 100
        finally:
            client.close()

    asyncio.run(story())


def state_process(data_dir: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(henge("run", "state", "--data", str(data_dir)), env=ENVIRONMENT, stderr=subprocess.DEVNULL)


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """Goal: apply() returning means durable, and a list is there whole or not at all.

    Method: eight threads apply lists of ten documents while the process is killed and started again, four times;
    they write down what was acknowledged. Then everything acknowledged must be there, and no part of a list alone.
    """
    acknowledged: set[str] = set()
    stop = threading.Event()
    client = StateClient(tmp_path / "run", state_path(tmp_path))
    (tmp_path / "run").mkdir(mode=0o700)

    def work(thread: int) -> None:
        step = 0
        while not stop.is_set():
            name = f"{thread}-{step}"
            step += 1
            try:
                client.apply([PutDocument(name, str(part), {"part": part}) for part in range(10)], actor="s")
                acknowledged.add(name)
            except BusTimeout:
                continue  # All of it was done or nothing: counted below.

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    process = state_process(tmp_path)
    try:
        for thread in threads:
            thread.start()
        for _ in range(4):
            count = len(acknowledged)
            wait_until(lambda: len(acknowledged) > count + 100, timeout_s=30, what="lists are acknowledged")  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = state_process(tmp_path)
        count = len(acknowledged)
        wait_until(lambda: len(acknowledged) > count, timeout_s=30, what="the last start answers")
        stop.set()
        for thread in threads:
            thread.join()
        kinds = client.read._rows("SELECT kind, count(*) FROM documents GROUP BY kind", ())
        assert {count for _, count in kinds} == {10}, "part of a list was applied"
        assert acknowledged - {kind for kind, _ in kinds} == set(), "acknowledged, and lost"
        assert client.read.revision() == len(kinds)
    finally:
        stop.set()
        process.kill()
        process.wait()
        client.close()


def test_reads_go_on_after_a_kill_and_calls_wait_for_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    client = StateClient(tmp_path / "run", state_path(tmp_path))
    process = state_process(tmp_path)
    try:
        assert client.apply([PutDocument("check", "a", {})], actor="s", timeout_s=30) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert client.read.count("check") == 1
        process = state_process(tmp_path)
        put = [PutDocument("check", "b", {})]
        try:
            done = client.apply(put, actor="s", timeout_s=30)
        except BusGone:  # Word of the first one's end may come only after the call went out to it.
            done = client.apply(put, actor="s", timeout_s=30)
        assert done == 2
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert client.read.count("check") == 2
    finally:
        process.kill()
        process.wait()
        client.close()


def test_damage_met_while_serving_ends_the_process_and_the_next_start_repairs(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    client = StateClient(tmp_path / "run", state_path(tmp_path))
    process = state_process(tmp_path)
    try:
        client.apply([PutDocument("check", f"{index:04}", {"text": "x" * 300}) for index in range(2_000)], actor="s")
        with Client(tmp_path / "run", "state") as bus:
            bus.call("compact")
        content = state_path(tmp_path).read_bytes()
        state_path(tmp_path).write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
        everything = [PutDocument("check", f"{index:04}", {"n": index}) for index in range(2_000)]
        with pytest.raises((BusRefused, BusTimeout)) as ended:
            client.apply(everything, actor="s")
        assert ended.value.code in ("crashed", "gone", "not_ready")
        assert process.wait(timeout=10) != 0
        process = state_process(tmp_path)
        assert client.apply([PutDocument("check", "new", {})], actor="s", timeout_s=30) == 1
        assert len(list(tmp_path.glob("state.db.damaged-*Z"))) == 1
    finally:
        process.kill()
        process.wait()
        client.close()
