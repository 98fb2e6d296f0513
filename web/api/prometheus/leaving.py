"""A query whose client leaves is cancelled: one thread of the process watches the connections of all queries."""

from __future__ import annotations

import itertools
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Flask, current_app, request

from tsdb.client import TsdbClient
from tsdb.errors import TsdbError

Found = TypeVar("Found")

LOOK_S = 0.1  # How soon a closed connection is noticed.
IDLE_LOOKS_MAX = 20  # Two seconds after the last query the thread goes to sleep, and must be woken by the next one.

_EXTENSION = "henge_leaving"

log = logging.getLogger(__name__)


class Watch:
    """The queries that run, each with a way to ask whether its client is still there."""

    def __init__(self, tsdb: TsdbClient) -> None:
        self._tsdb = tsdb
        self._name, self._numbers = secrets.token_hex(8), itertools.count()
        self._has_left_by_id: dict[str, Callable[[], bool]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_asleep = False
        self._added_count = 0

    def while_asked(self, ask: Callable[[str], Found], environ: Mapping[str, Any]) -> Found:
        """What ask(query_id) gives; the query is cancelled as soon as its client has closed the connection."""
        channel = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
        if channel is None:
            return ask("")
        query_id = f"{self._name}-{next(self._numbers)}"
        self.add(query_id, lambda: is_closed(channel.socket))
        try:
            return ask(query_id)
        finally:
            self.remove(query_id)

    def add(self, query_id: str, has_left: Callable[[], bool]) -> None:
        with self._changed:
            self._has_left_by_id[query_id] = has_left
            self._added_count += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="leaving", daemon=True)
                self._thread.start()
            if self._is_asleep:  # Else it looks soon enough by itself: to wake a thread costs as much as a small query.
                self._is_asleep = False
                self._changed.notify()

    def remove(self, query_id: str) -> None:
        with self._changed:
            self._has_left_by_id.pop(query_id, None)

    def _look(self) -> None:
        idle_looks = 0
        while True:
            added_count = self._added_count
            time.sleep(LOOK_S)
            with self._changed:
                is_idle = not self._has_left_by_id and added_count == self._added_count
                idle_looks = idle_looks + 1 if is_idle else 0
                if idle_looks >= IDLE_LOOKS_MAX:
                    self._is_asleep = True
                    self._changed.wait_for(lambda: not self._is_asleep)
                    idle_looks = 0
                left = [query_id for query_id, has_left in self._has_left_by_id.items() if has_left()]
                for query_id in left:
                    del self._has_left_by_id[query_id]
            for query_id in left:
                try:
                    self._tsdb.cancel_query(query_id)
                except TsdbError as error:
                    log.warning("a query that nobody waits for could not be cancelled: %s", error)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it. waitress itself does not look while a request is being answered."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def install(app: Flask, watch: Watch) -> None:
    """Let the views of an application share one watch."""
    app.extensions[_EXTENSION] = watch


def while_here(ask: Callable[[str], Found]) -> Found:
    """What ask(query_id) gives to the request that is being answered; cancelled when its client leaves."""
    watch = current_app.extensions[_EXTENSION]
    assert isinstance(watch, Watch)
    return watch.while_asked(ask, request.environ)
