"""The sockets of the management interface: a few connections of people and scripts, a thread each.

What comes in one piece is one command, as for statsd; a piece without a line feed at its end waits a moment for its
rest.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

CONNECTIONS_COUNT_MAX = 16
COMMAND_BYTES_MAX = 64 * 1024
IDLE_S_MAX = 600.0
REST_S_MAX = 0.5  # So long a command without a line feed waits for one.
SEND_S_MAX = 5.0  # Who does not read an answer for so long is let go.
_TURN_S = 0.2  # So long may a stop go unnoticed.
_TOO_MANY = b"ERROR too many connections\n"


class Console:
    """Serves one listening socket; answer gives None where the connection is to be closed."""

    def __init__(self, listener: socket.socket, answer: Callable[[str], str | None], log: logging.Logger) -> None:
        self._listener = listener
        self._answer = answer
        self._log = log
        self._places = threading.Semaphore(CONNECTIONS_COUNT_MAX)

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Accept until is_stopped(); the threads of connections end then, too."""
        self._listener.settimeout(_TURN_S)
        threads: list[threading.Thread] = []
        while not is_stopped():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # The sender has gone already, or there are no descriptors left.
                self._log.debug("accepting a connection: %s", error)
                continue
            threads = [thread for thread in threads if thread.is_alive()]
            if not self._places.acquire(blocking=False):
                with sock:
                    sock.settimeout(_TURN_S)
                    _send(sock, _TOO_MANY)
                continue
            thread = threading.Thread(target=self._serve, args=(sock, is_stopped), name="statsd-management")
            threads.append(thread)
            thread.start()
        for thread in threads:
            thread.join()

    def _serve(self, sock: socket.socket, is_stopped: Callable[[], bool]) -> None:
        try:
            with sock:
                sock.settimeout(_TURN_S)
                while (command := _command(sock, is_stopped)) is not None:
                    answer = self._answer(command.decode("ascii", errors="replace"))
                    if answer is None or not _send(sock, answer.encode(errors="replace")):
                        return
        except Exception as error:  # noqa: BLE001 - A fault of our own costs this connection, and not the door.
            self._log.error("a connection of StatsD's management ends by a fault of our own", exc_info=error)
        finally:
            self._places.release()


def _command(sock: socket.socket, is_stopped: Callable[[], bool]) -> bytes | None:
    """The next command; None, where none comes any more or it is too long."""
    found = bytearray()
    silent_s = 0.0
    while not is_stopped() and silent_s < IDLE_S_MAX:
        try:
            piece = sock.recv(COMMAND_BYTES_MAX)
        except TimeoutError:
            silent_s += _TURN_S
            if found and silent_s >= REST_S_MAX:
                return bytes(found)
            continue
        except OSError:
            return None
        if not piece:
            return bytes(found) if found else None
        silent_s = 0.0
        found += piece
        if len(found) > COMMAND_BYTES_MAX:
            _send(sock, b"ERROR the command is longer than %d bytes\n" % COMMAND_BYTES_MAX)
            return None
        if found.endswith(b"\n"):
            return bytes(found)
    return None


def _send(sock: socket.socket, answer: bytes) -> bool:
    sock.settimeout(SEND_S_MAX)
    try:
        sock.sendall(answer)
    except OSError:
        return False
    finally:
        sock.settimeout(_TURN_S)
    return True
