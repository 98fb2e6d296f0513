"""The client's side of a trace: an iterator over what happens, until it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.bus import BusError, Client
from appliance.tracing.service import Begin, Begun, Named, Taken

TAKE_EVERY_S = 0.25
TIMEOUT_S = 2.0


class Following:
    """One trace in one process."""

    def __init__(self, run_dir: Path, service: str, kind: str, subject: str, for_s: float) -> None:
        """Begin it. Raises: BusError; BusRefused with the process' own reason."""
        self._client = Client(run_dir, service)
        try:
            self._id = self._client.call("trace_begin", Begin(kind, subject, for_s), type=Begun).body.id
        except BaseException:
            self._client.close()
            raise

    def __iter__(self) -> Iterator[Taken]:
        """Raises: BusError, when the process ends meanwhile: a trace does not survive it."""
        return self.looks(time.sleep)

    def looks(self, sleep: Callable[[float], None]) -> Iterator[Taken]:
        while True:
            taken: Taken = self._client.call("trace_take", Named(self._id), timeout_s=TIMEOUT_S, type=Taken).body
            yield taken
            if taken.is_over:
                return
            sleep(TAKE_EVERY_S)

    def close(self) -> None:
        """Have it end now; a process that does not answer ends it by itself."""
        with contextlib.suppress(BusError):
            self._client.call("trace_end", Named(self._id), timeout_s=TIMEOUT_S)
        self._client.close()
