"""A real `henge up` with a process tree of the test's own, and questions about it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.bus import Client
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CHILDREN = "tests.appliance.children"
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("HENGE_")} | {
    "PYTHONPATH": str(ROOT)
}


def henge(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "appliance.cli", *arguments]


def run_henge(*arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        henge(*arguments),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@dataclass
class House:
    """One appliance of a test."""

    data_dir: Path
    popen: subprocess.Popen[bytes]
    ready_path: Path
    stdout_path: Path
    stderr_path: Path

    def ready_file(self) -> dict[str, Any] | None:
        try:
            return json.loads(self.ready_path.read_text())  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None

    def wait_ready(self, timeout_s: float = 60.0) -> dict[str, Any]:
        def ready_or_gone() -> dict[str, Any] | None:
            assert self.popen.poll() is None, f"ended with {self.popen.returncode}: {self.stderr}"
            return self.ready_file()

        return wait_until(ready_or_gone, timeout_s=timeout_s, what="the ready file")

    def status(self) -> dict[str, dict[str, Any]]:
        """The rows of the supervisor's answer, by process."""
        body = self.ask("status")
        return {row["name"]: row for row in body["processes"]}

    def ask(self, op: str, body: Any = None) -> Any:
        client = Client(self.data_dir / "run", "supervisor")
        try:
            return client.call(op, body, timeout_s=30).body
        finally:
            client.close()

    def wait_end(self, timeout_s: float = 60.0) -> int:
        return self.popen.wait(timeout_s)

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.wait_end()

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text()

    @property
    def stdout(self) -> str:
        return self.stdout_path.read_text()

    def log(self) -> list[dict[str, Any]]:
        lines = (self.data_dir / "log" / "henge.log").read_text().splitlines()
        return [json.loads(line) for line in lines]


@contextlib.contextmanager
def running(
    tree: str, folder: Path, *arguments: str, data_dir: Path | None = None, through: Sequence[str] = ()
) -> Iterator[House]:
    """Start `henge up` on free ports. Whatever the test leaves running is killed, with its children.

    through: a command that executes it.
    """
    folder.mkdir(exist_ok=True)
    house_dir = data_dir or folder / "data"
    paths = [folder / name for name in ("ready.json", "stdout", "stderr")]
    with paths[1].open("wb") as stdout, paths[2].open("wb") as stderr:
        popen = subprocess.Popen(
            [
                *through,
                *henge(
                    *("up", "--data", str(house_dir), "--ready-file", str(paths[0]), "--no-browser"),
                    *("--set", "web.listen=127.0.0.1:0", "--set", "graphite.listen=127.0.0.1:0"),
                    *("--tree", f"{CHILDREN}:{tree}", *arguments),
                ),
            ],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        yield House(house_dir, popen, *paths)
    finally:
        if popen.poll() is None:
            popen.kill()  # The children end with it.
            popen.wait(10)


def alive(pid: int) -> bool:
    """Whether the process runs: one that waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
