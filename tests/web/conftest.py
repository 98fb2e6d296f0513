"""One house for all tests of the web room, and a fresh one for those of the first run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.house import House, running_house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture
def fresh_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Nobody has an account here yet."""
    with running_house(tmp_path_factory.mktemp("first-run"), with_users=False) as running:
        yield running
