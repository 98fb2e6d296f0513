"""The real graphite-web beside the appliance: it reads whisper files, or asks the appliance as a member of its cluster.

`make test-tools` makes a virtual environment for it outside the checkout, from tests/graphite_web.lock.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.waiting import wait_until

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "henge" / "graphite-web"
MISSING = f"graphite-web is not in {CACHE}: run make test-tools where PyPI can be reached"
START_S_MAX = 60
# What stands in graphite-web's own settings, in the words of its documentation.
SETTINGS = """
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["*"]
TIME_ZONE = "UTC"
STORAGE_DIR = WHISPER_DIR = {folder!r}
LOG_DIR = {logs!r}
STANDARD_DIRS = [{folder!r}]
STORAGE_FINDERS = ({finders})
CLUSTER_SERVERS = {servers!r}
REMOTE_STORE_FORWARD_HEADERS = ["Authorization"]
REMOTE_STORE_USE_POST = {posts!r}
REMOTE_RETRY_DELAY = 0
MAX_FETCH_RETRIES = 1
FIND_CACHE_DURATION = 0
DEFAULT_CACHE_DURATION = 0
FIND_TIMEOUT = FETCH_TIMEOUT = 600.0
STORE_FAIL_ON_ERROR = True
CARBONLINK_HOSTS = []
TAGDB = None
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {database!r}}}}}
CACHES = {{"default": {{"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}}}
"""
_FINDERS = {
    "whisper": '"graphite.finders.standard.StandardFinder", ',
    "cluster": '"graphite.finders.remote.RemoteFinder", ',
}


def python() -> Path | None:
    """The interpreter that has graphite-web; None where it was not installed."""
    found = CACHE / "bin" / "python"
    return found if (CACHE / ".locked").exists() and found.exists() else None


class GraphiteWeb:
    """One graphite-web behind waitress; use it as a context manager. Its cache is off: every answer is made anew.

    servers: members of its cluster; without any it reads the whisper files of a folder.
    """

    def __init__(
        self, folder: Path, *, whisper: Path | None = None, servers: Sequence[str] = (), posts: bool = False
    ) -> None:
        self._folder = folder
        self._log_file = folder / "graphite-web.out"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "henge_settings.py").write_text(
            SETTINGS.format(
                folder=str(whisper or folder / "none"),
                logs=str(folder),
                database=str(folder / "graphite.db"),
                finders=_FINDERS["cluster" if servers else "whisper"],
                servers=list(servers),
                posts=posts,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        found = python()
        assert found is not None, MISSING
        with socket.socket() as listening:  # Handed down as it is, so that nobody else takes the port meanwhile.
            listening.bind(("127.0.0.1", 0))
            listening.listen(64)
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            serve = (
                "import socket, waitress; from graphite.wsgi import application; "
                "from django.core.management import call_command; "
                "call_command('migrate', run_syncdb=True, verbosity=0); "
                f"waitress.serve(application, sockets=[socket.socket(fileno={listening.fileno()})], threads=4)"
            )
            with self._log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    [str(found), "-c", serve],
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    pass_fds=[listening.fileno()],
                    env={
                        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                        "PYTHONPATH": str(self._folder),
                        "DJANGO_SETTINGS_MODULE": "graphite.settings",
                        "GRAPHITE_SETTINGS_MODULE": "henge_settings",
                    },
                )
        try:
            wait_until(self._is_up, timeout_s=START_S_MAX, what="graphite-web")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"graphite-web ended:\n{self._log_file.read_text()[-4000:]}")
        return self.get("/version/")[0] == 200

    def get(self, path: str, headers: Mapping[str, str] | None = None, *, timeout_s: float = 120) -> tuple[int, bytes]:
        return fetched(self.url, path, headers=headers, timeout_s=timeout_s)

    def json(self, path: str, headers: Mapping[str, str] | None = None) -> object:
        status, body = self.get(path, headers)
        assert status == 200, (status, body[-2000:])
        return json.loads(body)


def fetched(url: str, path: str, *, headers: Mapping[str, str] | None = None, timeout_s: float) -> tuple[int, bytes]:
    """GET → (status, body as it came)."""
    request = urllib.request.Request(url + path, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
