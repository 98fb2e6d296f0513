"""Browsers that show a page each: what htmx asks for every five seconds, over a connection that is kept."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tests.endtoend.calling import Caller, Http
from tests.running import Appliance

PAGES = ("/", "/incidents", "/system", "/rules", "/?q=query")
POLL_S = 5.0


@contextlib.contextmanager
def polling(appliance: Appliance, count: int) -> Iterator[list[Caller]]:
    """Poll until the block ends; each browser shows the next of PAGES."""
    stopping = threading.Event()
    callers, clients, threads = [], [], []
    for number in range(count):
        path = PAGES[number % len(PAGES)]
        callers.append(caller := Caller(f"browser {number}: {path}"))
        clients.append(client := Http(caller, appliance, keeps=True, headers={"HX-Request": "true"}))
        asked = (lambda _number, client=client, path=path: client("GET", path), stopping, POLL_S)
        threads.append(threading.Thread(target=caller.run, args=asked, name=caller.name))
    for thread in threads:
        thread.start()
    try:
        yield callers
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
