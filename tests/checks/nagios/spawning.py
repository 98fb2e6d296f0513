"""A real spawner in a process of its own: it ends every child that it does not know, so never inside pytest."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.config import load
from checks.nagios.client import PluginClient
from checks.nagios.plugin import PluginOutcome, PluginRun

SCRIPT = """
import sys
from pathlib import Path
from appliance.child import run_alone
from appliance.config import load
from appliance.processes import Process
process = Process(name="spawner", entry="checks.nagios.spawner:run_spawner")
sys.exit(run_alone(process, load(data_dir=Path(sys.argv[1])), {}))
"""


class RunningSpawner:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.run_dir = load(data_dir=data_dir).run_dir
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # A client waits only where an appliance has been.
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(self.data_dir)])

    def run(self, *argv: str, timeout_s: float = 10, **more: Any) -> PluginOutcome:
        """Run one program; waits for the spawner when it is just starting."""
        return self.run_all(PluginRun(argv=list(argv), timeout_s=timeout_s, **more))[0]

    def run_all(self, *runs: PluginRun) -> list[PluginOutcome]:
        async def ask() -> list[PluginOutcome]:
            client = PluginClient(self.run_dir)
            try:
                return await asyncio.gather(*(client.run(run) for run in runs))
            finally:
                client.close()

        return asyncio.run(ask())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=5)


@contextlib.contextmanager
def running_spawner(data_dir: Path) -> Iterator[RunningSpawner]:
    spawner = RunningSpawner(data_dir)
    try:
        yield spawner
    finally:
        if spawner.process.poll() is None:
            spawner.stop()


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def script(folder: Path, text: str, *, mode: int = 0o755) -> str:
    """A small plugin; its path."""
    number = len(list(folder.glob("check_*")))
    path = folder / f"check_{number}"
    # Written under another name first: a program that is open for writing somewhere (a fork of another test) is "busy".
    draft = folder / "draft"
    draft.write_text(text)
    draft.chmod(mode)
    draft.rename(path)
    return str(path)
