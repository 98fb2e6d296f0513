"""The page of rule files in a real browser: a file is tried, its mistakes are gone to, it is saved and deleted."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Browser, Dialog, StorageState, expect

from tests.browser.test_pages import RULES, barriers, page_of
from tests.browser.world import World

TEXT = """groups:
  - name: tried
    rules:
      - record: shop:hits:ratio
        expr: '{__name__="shop.cache.hit_ratio"}'
      - alert: HallIsFull
        expr: '{__name__="shop.north.waiting"} > 1'
        for: 5m
        annotations: {summary: "{{ $value | humanize }} wait"}
"""


def test_a_rule_file_is_tried_saved_and_deleted(
    browser: Browser, world: World, administrator: StorageState, checks: dict[str, Any]
) -> None:
    with page_of(browser, administrator, size="phone", theme="dark") as page:
        page.goto(world.appliance.url + "/rules")
        page.click("text=Add a rule file")
        page.fill("#name", "halls")
        page.fill("#text", TEXT.replace("> 1'", "> '"))
        page.click("button:has-text('Try')")
        link = page.locator("#trial [data-line]")
        expect(link).to_have_text("Line 6")
        expect(page.locator("#trial")).to_contain_text('could not parse expression of rule "HallIsFull"')
        assert barriers(page, RULES) == [], "with a mistake marked"
        link.click()
        chosen = "(field) => field.value.slice(field.selectionStart, field.selectionEnd)"
        assert page.locator("#text").evaluate(chosen) == "      - alert: HallIsFull"
        expect(page.locator("#text")).to_be_focused()

        page.fill("#text", TEXT)
        page.click("button:has-text('Try')")
        expect(page.locator("#trial")).to_contain_text("1 alert pending")
        expect(page.locator("#trial")).to_contain_text("would fire after 5 min")
        expect(page.locator("#trial")).to_contain_text("1 series")
        assert barriers(page, RULES) == [], "with a trial"
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.url.endswith("/rules/new"), "nothing is saved yet"

        page.click("button:has-text('Save')")
        page.wait_for_url(re.compile(r"/rules/[0-9a-f]{16}$"))
        expect(page.locator("h1")).to_have_text("halls")
        page.click("a:has-text('HallIsFull')")
        expect(page.locator(".notice", has_text="belongs to the rule file")).to_be_visible()
        page.click(".notice a:has-text('halls')")
        questions: list[str] = []

        def refuse(dialog: Dialog) -> None:
            questions.append(dialog.message)
            dialog.dismiss()

        page.once("dialog", refuse)
        page.click("button:has-text('Delete')")
        assert "1 check of its alerts goes with it, and open incidents end." in questions[0]
        page.once("dialog", Dialog.accept)
        page.click("button:has-text('Delete')")
        page.wait_for_url(world.appliance.url + "/rules")
        expect(page.locator("table")).not_to_contain_text("halls")
