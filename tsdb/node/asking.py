"""How intake and query reach the store, and where its files lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.bus import BusError, BusRefused, Client, Reply
from tsdb.errors import NotReady, error_of

# A query over years that have just been imported reads as many blocks at once, until upkeep has joined them.
OPEN_FILES_COUNT_MAX = 65_536


def samples_folder(data_dir: Path) -> Path:
    return data_dir / "samples"


def ask(store: Client, op: str, body: Any, columns: Sequence[Any], timeout_s: float) -> Reply:
    """Raises: what the store raised; NotReady, if it does not answer."""
    try:
        return store.call(op, body, columns, timeout_s=timeout_s)
    except BusRefused as error:
        raise error_of(error.code, error.message) from error
    except BusError as error:
        raise NotReady(str(error)) from error
