"""The docs in a real browser: under their policy, and with the search that finds."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from handbook.build import build
from tests.browser.test_pages import page_of
from tests.browser.world import World
from web.pages.manual.views import INDEX, SITE


@pytest.fixture(scope="module", autouse=True)
def site() -> None:
    """Where the appliance looks for it, as `make docs` leaves it there."""
    if not (SITE / INDEX).is_file():
        build(SITE)


def test_the_search_finds_a_page_and_has_its_style(world: World, browser: Browser) -> None:
    """The policy admits one style beside the files: that of the search. Another build of the theme has another one."""
    with page_of(browser, None) as page:
        page.goto(f"{world.appliance.url}/docs/")
        page.keyboard.press("/")
        page.get_by_role("combobox", name="Search").fill("delcounters")
        expect(page.get_by_role("status").get_by_text("1 result")).to_be_visible()
