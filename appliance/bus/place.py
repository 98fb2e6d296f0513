"""Where the sockets are: files in the run folder, which only its owner may enter."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import zmq

IPC_PATH_BYTES_MAX = zmq.IPC_PATH_MAX_LEN  # 107 on Linux: sun_path of sockaddr_un, less its final zero.


class Place:
    """The run folder, and the addresses of the sockets in it.

    When a path is too long for a socket, the folder is kept open and named by its descriptor; so a Place must live as
    long as the sockets that use its addresses.
    """

    def __init__(self, run_dir: Path, *, make: bool = False) -> None:
        """make: make the folder, and close it to others. Who only asks does not: a typing error is no appliance."""
        self.run_dir = run_dir
        self._folder_fd: int | None = None
        self._lock = threading.Lock()
        if make:
            run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stat.S_IMODE(run_dir.stat().st_mode) != 0o700:
                run_dir.chmod(0o700)

    def exists(self) -> bool:
        return self.run_dir.is_dir()

    def bind(self, socket: zmq.Socket[bytes], name: str) -> int:
        """Let a socket listen under a name, in place of whoever did before. Returns what withdraw() needs.

        It is bound under a name of its own and then renamed: so the name is never without a listener, and ZeroMQ,
        which removes what it has bound some time after the close, cannot remove the next listener's.
        """
        return self._bound(name, lambda own_name: socket.bind(self.address(own_name)))

    def listen(self, socket: socket.socket, name: str, count_max: int) -> int:
        """The same for a plain socket, which listens afterwards."""

        def bind(own_name: str) -> None:
            socket.bind(self.path(own_name))
            socket.listen(count_max)

        return self._bound(name, bind)

    def _bound(self, name: str, bind: Callable[[str], object]) -> int:
        own_name = f"{name}.{secrets.token_hex(4)}"
        bind(own_name)
        path = self._path(own_name).rename(self._path(name))
        return path.stat().st_ino

    def withdraw(self, name: str, inode: int) -> None:
        """Take the name away, if it is still ours: who asks from now on waits for the next listener."""
        with contextlib.suppress(FileNotFoundError):
            if self._path(name).stat().st_ino == inode:
                self._path(name).unlink()

    def address(self, name: str) -> str:
        """The ZeroMQ address of a socket. name: a service, or a service and `.hints`. Raises: as path()."""
        return f"ipc://{self.path(name)}"

    def path(self, name: str) -> str:
        """Where a socket binds or connects. Raises: OSError, if the path is long and its folder is absent."""
        assert name.replace("_", "").replace("-", "").replace(".", "").isalnum(), name
        path = self._path(name)
        if len(os.fsencode(path)) <= IPC_PATH_BYTES_MAX:
            return str(path)
        with self._lock:
            if self._folder_fd is None:
                self._folder_fd = os.open(self.run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            return f"/proc/self/fd/{self._folder_fd}/{name}.sock"

    def _path(self, name: str) -> Path:
        return self.run_dir / f"{name}.sock"

    def close(self) -> None:
        with self._lock:
            if self._folder_fd is not None:
                os.close(self._folder_fd)
                self._folder_fd = None
