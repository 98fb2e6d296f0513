"""npm's statsd on free ports, and the Graphite that it flushes to: a socket that adds up what it says of itself."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.bench import peer
from tests.waiting import wait_until

CACHE = Path(tempfile.gettempdir()) / "henge-bench" / "npm"  # Outside the repository, and kept for the next run.
FLUSH_INTERVAL_MS = 1_000
_INSTALL_TIMEOUT_S = 120


class Statsd:
    """One running statsd: where it listens, what it got, what it cost."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.address = ("127.0.0.1", port)
        self.received_count = 0.0  # As it told Graphite.
        self._process = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


def program() -> Path | None:
    """statsd's stats.js, installed into the cache when it is not there; None where there is no Node."""
    found = CACHE / "node_modules" / "statsd" / "stats.js"
    if shutil.which("node") is None or shutil.which("npm") is None:
        peer.told("there is no node or no npm; statsd is left out (apt-get install npm)")
        return None
    if not found.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--no-audit", "--no-fund", "--omit=optional", "--prefix", str(CACHE), "statsd"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
        if done.returncode:
            peer.told(f"statsd cannot be installed and is left out: {done.stderr.strip()[-300:]}")
            return None
    return found


@contextmanager
def running(stats_js: Path, folder: Path) -> Iterator[Statsd]:
    with socket.create_server(("127.0.0.1", 0)) as graphite:
        port, management_port = _free_port(), _free_port()
        config = folder / "config.js"
        config.write_text(
            json.dumps(
                {
                    "address": "127.0.0.1",
                    "port": port,
                    "mgmt_address": "127.0.0.1",
                    "mgmt_port": management_port,
                    "graphiteHost": "127.0.0.1",
                    "graphitePort": graphite.getsockname()[1],
                    "backends": ["./backends/graphite"],
                    "flushInterval": FLUSH_INTERVAL_MS,
                }
            )
        )
        with (folder / "statsd.out").open("wb") as log:
            process = subprocess.Popen(["node", str(stats_js), str(config)], stdout=log, stderr=log)
        try:
            made = Statsd(process, port)
            threading.Thread(target=_add_up, args=(graphite, made), daemon=True).start()
            wait_until(lambda: _answers(management_port), what="statsd")
            yield made
        finally:
            process.terminate()
            process.wait(10)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _add_up(graphite: socket.socket, made: Statsd) -> None:
    """Each flush is a connection of its own, or a further stretch of the one before."""
    while True:
        try:
            connection, _ = graphite.accept()
        except OSError:
            return  # The end of the bench.
        with connection, connection.makefile("r") as lines:
            for line in lines:
                if line.startswith("stats_counts.statsd.metrics_received "):
                    made.received_count += float(line.split()[1])
