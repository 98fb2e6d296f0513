"""The built executable, for tests that start it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def executable() -> Path:
    """What `make package` built. Skips the test where none is named: building takes a minute."""
    named = os.environ.get("HENGE_EXECUTABLE")
    if named is None:
        pytest.skip("make test-install builds the executable and runs this")
    return Path(named)
