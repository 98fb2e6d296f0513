"""Where the oracles and the load generator stand: a folder `shared` beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("HENGE_SHARED") or Path(__file__).resolve().parents[2] / "shared")


def shared(name: str) -> Path:
    """The path of one shared file. Fails the test, saying what is missing, when it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.fail(f"{path} is absent: place the folder `shared` beside the checkout, or name it in HENGE_SHARED")
    return path
