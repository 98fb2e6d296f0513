"""A query whose client leaves is cancelled: one thread of the process watches the connections of all queries."""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from collections.abc import Callable
from typing import TypeVar

from flask import current_app, request

from tsdb.client import TsdbClient
from tsdb.errors import TsdbError
from web.services import services

Found = TypeVar("Found")

LOOK_S = 0.1  # How soon a closed connection is noticed.
EXTENSION = "henge_leaving"

log = logging.getLogger(__name__)


class Watch:
    """The queries that run, each with a way to ask whether its client is still there."""

    def __init__(self, tsdb: TsdbClient) -> None:
        self._tsdb = tsdb
        self._has_left_by_id: dict[str, Callable[[], bool]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, query_id: str, has_left: Callable[[], bool]) -> None:
        with self._changed:
            self._has_left_by_id[query_id] = has_left
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="leaving", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, query_id: str) -> None:
        with self._changed:
            self._has_left_by_id.pop(query_id, None)

    def _look(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._has_left_by_id))
                self._changed.wait(LOOK_S)
                left = [query_id for query_id, has_left in self._has_left_by_id.items() if has_left()]
                for query_id in left:
                    del self._has_left_by_id[query_id]
            for query_id in left:
                try:
                    self._tsdb.cancel_query(query_id)
                except TsdbError as error:
                    log.warning("a query that nobody waits for could not be cancelled: %s", error)


def while_asked(ask: Callable[[str], Found]) -> Found:
    """What ask(query_id) gives; the query is cancelled as soon as its client has closed the connection."""
    channel = getattr(request.environ.get("waitress.client_disconnected"), "__self__", None)
    if channel is None:
        return ask("")
    watch = current_app.extensions.setdefault(EXTENSION, Watch(services().tsdb))
    query_id = uuid.uuid4().hex
    watch.add(query_id, lambda: is_closed(channel.socket))
    try:
        return ask(query_id)
    finally:
        watch.remove(query_id)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it. waitress itself does not look while a request is being answered."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
