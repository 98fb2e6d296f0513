"""A run folder, and services that end with their test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.bus import Client, Server
from appliance.metrics import Metrics


class Service:
    """A Server in a thread of this process, and what its end was."""

    def __init__(self, run_dir: Path, prepare: Callable[[Server], None], **options: Any) -> None:
        self.metrics = Metrics()
        self.stopping = threading.Event()
        self.crashes: list[BaseException] = []
        self.server = Server(run_dir, "echo", metrics=self.metrics, is_direct=True, **options)
        prepare(self.server)
        self.thread = self.server.start_thread(self.stopping, on_crash=self.crashes.append)

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def refused(self) -> dict[str, float]:
        """How often each code was refused."""
        return {
            sample.labels["code"]: sample.value
            for sample in self.metrics.snapshot()
            if sample.name == "henge_bus_refused_total"
        }


Serve = Callable[..., Service]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def serve(run_dir: Path) -> Iterator[Serve]:
    """Start a service "echo" with the handlers that the given function adds."""
    started: list[Service] = []

    def start(prepare: Callable[[Server], None] = lambda server: None, **options: Any) -> Service:
        started.append(Service(run_dir, prepare, **options))
        return started[-1]

    yield start
    for service in started:
        service.stop()


@pytest.fixture(params=[False, True], ids=["zeromq", "direct"])
def client(run_dir: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """One that asks over ZeroMQ, and one with connections of its own: whatever holds for one holds for the other."""
    run_dir.mkdir(mode=0o700, exist_ok=True)
    with Client(run_dir, "echo", is_direct=request.param) as client:
        yield client
