"""From the one-time link to a test alert that arrives: by keyboard with script, and without script on a phone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.look import PASSWORD
from tests.browser.test_pages import RULES, barriers, page_of
from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import wait_until


@dataclass
class Start:
    """An appliance that nobody has opened yet, something to watch, and who is told."""

    appliance: Appliance
    shop: Receiver
    phone: Receiver

    @property
    def shop_place(self) -> str:
        return self.shop.url.removeprefix("http://")

    def names(self, kind: str) -> set[str]:
        return {entry["name"] for entry in self.appliance.call("GET", f"/api/v1/{kind}")[1]["items"]}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    with Receiver() as shop, Receiver() as phone, Appliance(tmp_path_factory.mktemp("start")) as appliance:
        yield Start(appliance, shop, phone)


@pytest.fixture(scope="module")
def cookies(browser: Browser, start: Start) -> StorageState:
    """Of the administrator whom the first story makes, step by step and by keyboard alone."""
    with page_of(browser, None) as page:
        page.goto(str(start.appliance.ready["login_url"]))
        sound(page, "1", "Administrator")
        for field, text in (("#password", PASSWORD), ("#again", PASSWORD)):
            page.fill(field, text)
        page.press("#again", "Enter")
        watch(page, start)
        tell(page, start)
        page.wait_for_url("**/start/done")
        expect(page.get_by_role("heading", name="Henge is set up")).to_be_visible()
        page.goto(start.appliance.url + "/")
        expect(page.get_by_role("heading", name="All checks")).to_be_visible()
        expect(page.get_by_text("The set-up is not finished.")).to_have_count(0)
        return page.context.storage_state()


def sound(page: Page, number: str, heading: str) -> None:
    """The bar says where one is, nothing is in the way of anybody, nothing is too wide."""
    now = page.locator(".steps [aria-current=step]")
    expect(now).to_contain_text(heading)
    expect(now.locator(".ball")).to_have_text(number)
    page.evaluate("window.scrollTo(0, 0)")  # What the head of the page half covers would count as too small.
    assert barriers(page, RULES) == [], heading
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def press(page: Page, button: str) -> None:
    """By keyboard: what cannot get the focus cannot be pressed."""
    target = page.get_by_role("button", name=button)
    target.focus()
    expect(target).to_be_focused()
    page.keyboard.press("Enter")


def watch(page: Page, start: Start) -> None:
    """Step 2: this machine, an address, a first number."""
    page.wait_for_url("**/start/watch")
    press(page, "Watch this machine")
    expect(page.locator("#watched")).to_contain_text("This machine")
    start.appliance.send_graphite(f"hello.henge 1 {int(time.time())}\n")
    expect(page.locator("#received")).to_contain_text("Received: 1 point of 1 series so far")
    listening = start.appliance.ready["graphite"].replace(":", " ")
    expect(page.locator("#sender-line")).to_contain_text(f"nc -w 1 {listening}")

    page.fill("#address", "two words")
    page.press("#address", "Enter")
    expect(page.locator("#looked")).to_contain_text("has a blank in it")
    page.fill("#address", start.shop_place)
    page.press("#address", "Enter")
    web = page.locator("#looked li", has_text="HTTP 200 OK")
    expect(web.locator(".state.ok")).to_be_visible()
    expect(web.locator("input")).to_be_checked()
    sound(page, "2", "What to watch")
    press(page, "Watch what is ticked")
    expect(page.locator("#watched")).to_contain_text(start.shop.url)
    assert {"This machine", start.shop.url} <= start.names("checks")
    press(page, "Go on: how you are told")


def tell(page: Page, start: Start) -> None:
    """Steps 3 and 4: a webhook whose receiver first refuses and then takes the test."""
    page.wait_for_url("**/start/channel")
    sound(page, "3", "How you are told")
    kind = page.get_by_role("link", name="Webhook")
    kind.focus()
    page.keyboard.press("Enter")
    page.fill("#field-url", start.phone.url)
    sound(page, "3", "How you are told")
    page.press("#field-url", "Enter")
    page.wait_for_url("**/start/test")
    start.phone.status = 503
    press(page, "Send a test")
    expect(page.get_by_text("Not delivered.")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("has a fault of its own")).to_be_visible()
    page.get_by_role("link", name="Change the channel").press("Enter")
    page.wait_for_url("**/edit?next=/start/test")
    press(page, "Save")
    page.wait_for_url("**/start/test")
    start.phone.status = 200
    press(page, "Send a test")
    expect(page.get_by_text("Delivered.", exact=True)).to_be_visible()
    sound(page, "4", "A test alert")
    press(page, "It arrived: finish")


def told(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in list(receiver.received)]


def test_the_link_leads_to_a_test_alert_that_arrives(start: Start, cookies: StorageState) -> None:
    tests = [message for message in told(start.phone) if message["event"] == "test"]
    assert [message["incident"]["title"] for message in tests] == ["TEST: channel Webhook works"] * 2


def test_what_was_set_up_tells_of_a_fault(start: Start, cookies: StorageState) -> None:
    """The checks of step 2 tell the channel of step 3, without a further step."""
    checks = {entry["name"]: entry for entry in start.appliance.call("GET", "/api/v1/checks")[1]["items"]}
    assert {tuple(entry["channels"]) for entry in checks.values()} == {("Webhook",)}
    shop = checks[start.shop.url]
    quick = {"max_check_attempts": 1}
    assert start.appliance.call("PATCH", f"/api/v1/checks/{shop['id']}", quick)[0] == 200
    start.shop.status = 500
    assert start.appliance.call("POST", f"/api/v1/checks/{shop['id']}/run")[1]["state"] == "critical"
    wait_until(lambda: "alert" in [message["event"] for message in told(start.phone)], what="the alert")


def test_all_of_it_works_without_script_on_a_phone(browser: Browser, start: Start, cookies: StorageState) -> None:
    """Each form is a page of its own; nothing is created twice."""
    before = start.names("checks")
    with page_of(browser, cookies, size="phone", theme="dark", script=False) as page:
        page.goto(start.appliance.url + "/start/watch")
        page.fill("#address", start.shop_place)
        page.click("text=Look what is there")
        expect(page.locator("#looked li", has_text="watched already").first).to_be_visible()
        page.click("text=Go on: how you are told")
        page.click("text=Signed JSON")
        page.fill("#name", "second")
        page.fill("#field-url", start.phone.url)
        page.click("text=Save and go on")
        page.locator("section", has_text="second").get_by_role("button", name="Send a test").click()
        expect(page.get_by_text("Delivered.", exact=True)).to_be_visible()
        page.click("text=It arrived: finish")
        expect(page.get_by_role("heading", name="Henge is set up")).to_be_visible()
    assert start.names("checks") == before
    assert start.names("channels") == {"Webhook", "second"}
