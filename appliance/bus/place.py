"""Where the sockets are: files in the run folder, which only its owner may enter."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import zmq

IPC_PATH_BYTES_MAX = zmq.IPC_PATH_MAX_LEN  # 107 on Linux: sun_path of sockaddr_un, less its final zero.


class Place:
    """The run folder, made and kept at 0700, and the addresses of the sockets in it.

    When a path is too long for a socket, the folder is kept open and named by its descriptor; so a Place must live as
    long as the sockets that use its addresses.
    """

    def __init__(self, run_dir: Path) -> None:
        self._folder_fd: int | None = None
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(run_dir.stat().st_mode) != 0o700:
            run_dir.chmod(0o700)
        self._run_dir = run_dir

    def address(self, name: str) -> str:
        """The ZeroMQ address of a socket. name: a service, or a service and `.hints`."""
        assert name.replace("_", "").replace("-", "").replace(".", "").isalnum(), name
        path = self._run_dir / f"{name}.sock"
        if len(os.fsencode(path)) <= IPC_PATH_BYTES_MAX:
            return f"ipc://{path}"
        if self._folder_fd is None:
            self._folder_fd = os.open(self._run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"ipc:///proc/self/fd/{self._folder_fd}/{name}.sock"

    def close(self) -> None:
        if self._folder_fd is not None:
            os.close(self._folder_fd)
            self._folder_fd = None
