"""A real appliance for tests: `henge up` on free ports, in a folder of the test's own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.waiting import wait_until

# The checkout, or the built executable whose path stands in HENGE_EXECUTABLE.
HENGE = (
    (os.environ["HENGE_EXECUTABLE"],) if "HENGE_EXECUTABLE" in os.environ else (sys.executable, "-m", "appliance.cli")
)
CHECKOUT = Path(__file__).resolve().parents[1]


class Appliance:
    """One `henge up`; use it as a context manager.

    settings: further `--set` values. Every port is free unless a setting names it.
    prefix: words before `henge up` that end in starting it in their own place, such as `unshare --mount …`.
    executable: the words that are `henge`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        executable: Sequence[str] = HENGE,
    ) -> None:
        self.data_dir = folder / "data"
        self.ready_file = folder / "ready.json"
        self.log_file = folder / "henge.out"
        self.settings = (
            "web.listen=127.0.0.1:0",
            "graphite.listen=127.0.0.1:0",
            "graphite.pickle_listen=127.0.0.1:0",
            "statsd.listen=",
            *settings,
        )
        self.environ = dict(environ or {})
        self.prefix = tuple(prefix)
        self.executable = tuple(executable)
        self.process: subprocess.Popen[bytes] | None = None
        self._token: str | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, timeout_s: float = 60) -> None:
        """timeout_s: enough for a child that hung in its start, was ended for it after 20 s and started again."""
        self.ready_file.unlink(missing_ok=True)
        argv = [
            *self.prefix,
            *self.executable,
            "up",
            "--data",
            str(self.data_dir),
            "--ready-file",
            str(self.ready_file),
            "--no-browser",
        ]
        for setting in self.settings:
            argv += ["--set", setting]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, cwd=CHECKOUT, env={**os.environ, **self.environ}
            )
        wait_until(lambda: self.ready_file.exists() or self._ended(), timeout_s=timeout_s, what="the ready file")

    def _ended(self) -> bool:
        assert self.process is not None
        if self.process.poll() is None:
            return False
        raise AssertionError(f"henge up ended with {self.process.returncode}:\n{self.log_file.read_text()[-4000:]}")

    def stop(self, *, by: signal.Signals = signal.SIGTERM) -> int | None:
        """End the appliance; give its exit status."""
        if self.process is None:
            return None
        self.process.send_signal(by)
        try:
            status = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return status

    @property
    def ready(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.ready_file.read_text())
        return content

    @property
    def url(self) -> str:
        return str(self.ready["web"])

    @property
    def token(self) -> str:
        if self._token is None:
            self._token = self.henge("token", "create", "--name", "test", "--role", "admin").split()[-1]
        return self._token

    def henge(self, *arguments: str, timeout_s: float = 60) -> str:
        """The output of a `henge` command on this appliance's folder. Raises: AssertionError when it fails."""
        done = subprocess.run(
            [*self.executable, *arguments, "--data", str(self.data_dir)],
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
            timeout=timeout_s,
        )
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def call(
        self, method: str, path: str, body: object = None, *, timeout_s: float = 20, token: str | None = None
    ) -> tuple[int, Any]:
        """One request to the appliance's HTTP interface → (status, decoded JSON or text)."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                status, raw = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, raw = error.code, error.read()
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw.decode(errors="replace")

    def query(self, expression: str, *, time_s: float | None = None) -> list[dict[str, Any]]:
        """An instant query's result list."""
        arguments = {"query": expression} | ({} if time_s is None else {"time": str(time_s)})
        status, answer = self.call("GET", "/prometheus/api/v1/query?" + urllib.parse.urlencode(arguments))
        assert status == 200, answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def send_graphite(self, text: str | bytes) -> None:
        host, port = self.ready["graphite"].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(text.encode() if isinstance(text, str) else text)

    def kill(self, name: str) -> int:
        """kill -9 one child; give the pid that it had."""
        pid = int(self.ready["processes"][name])
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, name: str, old_pid: int, *, timeout_s: float = 10) -> int:
        def new_pid() -> int:
            pid = int(self.ready["processes"].get(name) or 0)
            return pid if pid and pid != old_pid else 0

        return wait_until(new_pid, timeout_s=timeout_s, what=f"{name} to be back")
