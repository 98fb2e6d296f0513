"""What the store says of itself while it is loaded: a line every so often, from a thread."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.bus import Client
from tests.bench.tree import MIB


class Watch:
    """Use it as a context manager; `lines` then holds [s, M samples taken, head MiB, log MiB, blocks, block MiB]."""

    def __init__(self, data_dir: Path, *, every_s: float = 2.0) -> None:
        self._client = Client(data_dir / "run", "store")
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.lines: list[list[float]] = []
        self.head_bytes_max = 0

    def __enter__(self) -> Self:
        self._started_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            stats: dict[str, Any] = self._client.call("stats", timeout_s=30).body
            self.head_bytes_max = max(self.head_bytes_max, stats["head_bytes"])
            self.lines.append(
                [
                    round(time.monotonic() - self._started_s, 1),
                    round((stats["head_samples"] + stats["block_samples"]) / 1e6, 1),
                    round(stats["head_bytes"] / MIB),
                    round(stats["wal_bytes"] / MIB),
                    stats["block_count"],
                    round(stats["block_bytes"] / MIB, 1),
                ]
            )
