"""One world and one browser for all browser tests; an administrator who is signed in.

They end with this package: while playwright's synchronous driver is up, an event loop runs in this thread, and no test
of another package could start its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, StorageState

from tests.browser.chromium import chromium
from tests.browser.look import sign_in
from tests.browser.world import World


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture(scope="package")
def administrator(world: World, browser: Browser) -> StorageState:
    """The cookies of who opened the one-time link."""
    context = browser.new_context()
    sign_in(context.new_page(), world.appliance)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(scope="package")
def checks(world: World, administrator: StorageState, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Checks in many states, each with a result."""
    made = world.populate()
    world.wait_results(made, beat_count=3)
    return made


VENDOR = Path(__file__).parent / "vendor"
