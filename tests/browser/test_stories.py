"""Two faults from beginning to end, read on the page by a real browser: a server that breaks, a metric that rises."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.look import SIZES, sign_in
from tests.browser.test_pages import page_of
from tests.profile import IS_FULL
from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import wait_until

COLOURS = {  # theme: the colour of the words, as web/static/tokens.css sets it
    "light": {"critical": "rgb(172, 35, 27)", "ok": "rgb(23, 112, 63)"},
    "dark": {"critical": "rgb(255, 147, 137)", "ok": "rgb(91, 201, 146)"},
}
BROKEN_VIEWS = [("wide", "light"), ("phone", "dark")]
MENDED_VIEWS = [("wide", "dark"), ("phone", "light")]
if IS_FULL:  # Each size and each theme is seen in every run, broken and mended.
    BROKEN_VIEWS = MENDED_VIEWS = list(itertools.product(SIZES, COLOURS))
CHECKS = {  # name: (kind, what the page says of its fault)
    "Web shop": ("http", "503"),
    "Orders waiting": ("query", "95"),
}


@dataclass
class Stories:
    """The appliance, what it watches, whom it tells, and the administrator's cookies."""

    appliance: Appliance
    shop: Receiver
    phone: Receiver
    ids: dict[str, str] = field(default_factory=dict)
    level: int = 10
    cookies: StorageState | None = None

    def told(self, event: str) -> set[str]:
        """The names of the checks about which such a message has arrived."""
        messages = [json.loads(received.body) for received in list(self.phone.received)]
        return {message["check"]["name"] for message in messages if message["event"] == event}

    def add(self, path: str, body: dict[str, Any]) -> str:
        status, answer = self.appliance.call("POST", f"/api/v1/{path}", body)
        assert status == 201, answer
        return str(answer["id"])


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Stories]:
    """Both checks well, with a channel that they tell."""
    folder: Path = tmp_path_factory.mktemp("stories")
    with Receiver() as shop, Receiver() as phone, Appliance(folder) as appliance:
        world = Stories(appliance, shop, phone)
        stop = threading.Event()

        def send() -> None:
            while not stop.wait(0.3):
                appliance.send_graphite(f"shop.orders.waiting {world.level} {int(time.time())}\n")

        sender = threading.Thread(target=send)
        sender.start()
        try:
            world.add("channels", {"kind": "webhook", "name": "hook", "options": {"url": phone.url}})
            timing = {"interval_s": 1, "timeout_s": 2, "retry_interval_s": 1, "max_check_attempts": 2}
            for name, options in (
                ("Web shop", {"url": shop.url}),
                ("Orders waiting", {"expression": '{__name__="shop.orders.waiting"}', "critical": "> 90"}),
            ):
                body = {"kind": CHECKS[name][0], "name": name, "options": options, "channels": ["hook"], **timing}
                world.ids[name] = world.add("checks", body)
            context = browser.new_context()
            sign_in(context.new_page(), appliance)
            world.cookies = context.storage_state()
            context.close()
            yield world
        finally:
            stop.set()
            sender.join()


def read_overview(page: Page, stories: Stories, state: str, theme: str) -> None:
    page.goto(stories.appliance.url + "/")
    for name, (_, words) in CHECKS.items():
        row = page.locator("#live tr", has_text=name).first
        pill = row.locator(f".state.{state}")
        expect(pill).to_be_visible()
        expect(pill).to_have_text(state)
        expect(pill).to_have_css("color", COLOURS[theme][state])
        if state == "critical":
            problem = page.locator(".problems li", has_text=name)
            expect(problem).to_contain_text(words)


def read_check(page: Page, stories: Stories, name: str, state: str, theme: str) -> None:
    page.goto(f"{stories.appliance.url}/checks/{stories.ids[name]}")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    pill = page.locator(f"#live .state.{state}").first
    expect(pill).to_be_visible()
    expect(pill).to_have_css("color", COLOURS[theme][state])
    changes = page.locator("section", has=page.get_by_role("heading", name="Changes of state"))
    expect(changes.locator(".state.critical").first).to_be_visible()
    expect(changes).to_contain_text(CHECKS[name][1])


def test_both_faults_are_told_and_read_and_their_ends_too(browser: Browser, stories: Stories) -> None:
    wait_until(
        lambda: all(
            stories.appliance.call("GET", f"/api/v1/checks/{id_}")[1]["state"] == "ok" for id_ in stories.ids.values()
        ),
        what="both checks to be OK",
    )
    stories.shop.status, stories.level = 503, 95
    wait_until(lambda: stories.told("alert") == set(CHECKS), timeout_s=15, what="both alerts")
    for size, theme in BROKEN_VIEWS:
        with page_of(browser, stories.cookies, size=size, theme=theme) as page:
            read_overview(page, stories, "critical", theme)
            for name in CHECKS:
                read_check(page, stories, name, "critical", theme)
            page.goto(stories.appliance.url + "/incidents")
            for name, (_, words) in CHECKS.items():
                expect(page.locator(".problems li", has_text=name)).to_contain_text(words)

    stories.shop.status, stories.level = 200, 12
    wait_until(lambda: stories.told("resolved") == set(CHECKS), timeout_s=15, what="both ends")
    for size, theme in MENDED_VIEWS:
        with page_of(browser, stories.cookies, size=size, theme=theme) as page:
            read_overview(page, stories, "ok", theme)
            for name in CHECKS:
                read_check(page, stories, name, "ok", theme)
            page.goto(stories.appliance.url + "/incidents")
            expect(page.get_by_text("No incident is open.")).to_be_visible()
            for name in CHECKS:
                row = page.locator("section", has_text="Resolved").locator("tr", has_text=name)
                expect(row.locator(".state.critical")).to_have_css("color", COLOURS[theme]["critical"])
