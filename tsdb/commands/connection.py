"""The way from a command to the time-series room of a running appliance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.config import Config, load
from appliance.errors import CannotStart
from appliance.lock import running_pid

if TYPE_CHECKING:
    from tsdb.client import TsdbClient


@contextmanager
def connected(data: Path | None) -> Iterator[tuple[Config, TsdbClient]]:
    """Raises: CannotStart, when no appliance runs on the folder."""
    from tsdb.client import TsdbClient

    config = load(data_dir=data)
    if running_pid(config.data_dir) is None:
        raise CannotStart(f"no appliance runs on {config.data_dir}; start it with `henge up`, or give --data DIR")
    client = TsdbClient(config.run_dir)
    try:
        yield config, client
    finally:
        client.close()
