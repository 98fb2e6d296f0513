from __future__ import annotations

from pathlib import Path

import pytest

from handbook.build import build


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built once."""
    folder = tmp_path_factory.mktemp("handbook")
    build(folder / "site", folder / "work")
    return folder / "site"
