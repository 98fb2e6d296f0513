"""The pages in a real browser: no error, no policy report, no barrier, no sideways scroll; and what script adds."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.look import SIZES, pages_of
from tests.browser.world import World
from tests.profile import IS_FULL

AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
WATCH_POLICY = """
  window.policyReports = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    window.policyReports.push(`${event.violatedDirective}: ${event.blockedURI}`));
"""


@contextlib.contextmanager
def page_of(
    browser: Browser, state: StorageState | None, *, size: str = "wide", theme: Any = "light", script: bool = True
) -> Iterator[Page]:
    """A page that fails the test on any error in its console and any report of its policy."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,
        storage_state=state,
        java_script_enabled=script,
        bypass_csp=False,
    )
    context.add_init_script(WATCH_POLICY)
    page = context.new_page()
    page.set_default_timeout(10_000)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
        assert not errors
        if script:
            assert page.evaluate("window.policyReports") == []
    finally:
        context.close()


def barriers(page: Page, rules: Any) -> list[str]:
    """What axe-core finds. It is evaluated, not added: the policy admits no such script."""
    page.evaluate(AXE)
    found = page.evaluate("(rules) => axe.run(document, rules)", rules)
    assert found["passes"], "axe-core has looked at the page"
    return [
        f"{entry['id']}: {node['html'][:160]} {node['failureSummary']}"
        for entry in found["violations"]
        for node in entry["nodes"]
    ]


LOOKS = [("wide", "light"), ("phone", "dark")]
if IS_FULL:  # Each size and each theme is seen in every run.
    LOOKS += [("wide", "dark"), ("phone", "light")]


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_every_page_is_sound(
    browser: Browser, world: World, administrator: StorageState, checks: dict[str, Any], size: str, theme: str
) -> None:
    ids = {name: check["id"] for name, check in checks.items()}
    with page_of(browser, administrator, size=size, theme=theme) as page:
        for name, path in pages_of(world, ids).items():
            page.goto(world.appliance.url + path)
            if "chart" in name or name.startswith("check_"):
                page.wait_for_selector("[data-chart] canvas, [data-chart] .message")
            too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert too_wide <= 0, f"{name} is {too_wide} px too wide"
            assert barriers(page, RULES) == [], name
            assert page.evaluate("window.policyReports") == [], name


@pytest.mark.parametrize(("theme", "background"), [("light", "rgb(246, 246, 243)"), ("dark", "rgb(18, 20, 23)")])
def test_the_theme_follows_the_system_until_one_is_chosen(
    browser: Browser, world: World, administrator: StorageState, theme: str, background: str
) -> None:
    with page_of(browser, administrator, theme=theme) as page:
        page.goto(world.appliance.url + "/incidents")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
        other = "Dark" if theme == "light" else "Light"
        page.click("summary[aria-label=Theme]")
        page.click(f"button:has-text('{other}')")
        page.wait_for_selector(f"html[data-theme={other.lower()}]")
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background


def test_a_change_appears_without_a_reload(
    browser: Browser, world: World, administrator: StorageState, checks: dict[str, Any]
) -> None:
    with page_of(browser, administrator) as page:
        page.goto(f"{world.appliance.url}/?q=Shop+front")
        row = page.locator("tr", has_text="Shop front page")
        expect(row.locator(".state.ok")).to_be_visible()
        world.shop.status = 500
        try:
            expect(row.locator(".state.critical")).to_be_visible(timeout=20_000)
        finally:
            world.shop.status = 200
        expect(row.locator(".state.ok")).to_be_visible(timeout=20_000)
        colour = row.locator(".state.ok").evaluate("element => getComputedStyle(element).color")
        assert colour == "rgb(23, 112, 63)"


def test_a_long_word_of_trouble_is_broken_where_the_screen_ends(
    browser: Browser, world: World, administrator: StorageState
) -> None:
    with page_of(browser, administrator, size="phone") as page:
        page.goto(world.appliance.url + "/system")
        page.locator("#store-title").evaluate(
            """title => title.closest("section").querySelector("dd").innerHTML =
            '<span class="state warning">12 windows of raw samples before their time, 3 windows of rollups</span>'"""
        )
        expect(page.locator("dd .state.warning")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"][0]


def test_a_check_is_tried_and_then_saved(browser: Browser, world: World, administrator: StorageState) -> None:
    with page_of(browser, administrator, size="phone") as page:
        page.goto(world.appliance.url + "/checks/new")
        page.click("text=Asks a web address")
        page.fill("#field-url", "nonsense")
        page.click("button:has-text('Run now')")
        expect(page.locator("#trial")).to_contain_text("must begin with http://")
        page.fill("#field-url", world.shop.url + "/tried")
        page.click("button:has-text('Run now')")
        expect(page.locator("#trial .state.ok")).to_be_visible()
        expect(page.locator("#trial")).to_contain_text("HTTP 200")
        assert page.url.endswith("/checks/new/http"), "nothing is saved yet"
        page.click("button:has-text('Save')")
        page.wait_for_url(re.compile(r"/checks/[0-9a-f]{16}$"))
        expect(page.locator("h1")).to_have_text(world.shop.url.removeprefix("http://") + "/tried")
        page.click("button:has-text('Run now')")
        expect(page.locator("#live .output")).to_contain_text("HTTP 200")


def test_explore_completes_by_the_keyboard_draws_and_leads_to_an_alert(
    browser: Browser, world: World, administrator: StorageState
) -> None:
    with page_of(browser, administrator) as page:
        page.goto(world.appliance.url + "/explore")
        page.keyboard.press("/")
        field, options = page.locator("#expression"), page.locator("#completions [role=option]")
        expect(field).to_be_focused()
        page.keyboard.type("max_over")
        expect(options.first).to_contain_text("The largest sample of each series")
        page.keyboard.press("ArrowDown")
        assert field.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
        page.keyboard.press("Enter")
        expect(field).to_have_value("max_over_time(")
        page.keyboard.type("shop.north")
        expect(options).to_have_count(1)
        assert barriers(page, RULES) == [], "with its suggestions open"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        expect(field).to_have_value('max_over_time({__name__="shop.north.waiting"}')
        page.keyboard.press("Enter")
        expect(page.locator("#problem-A")).to_contain_text("Line 1, column 46: unclosed left parenthesis")
        expect(field).to_be_focused()
        assert barriers(page, RULES) == [], "with a mistake marked"
        page.keyboard.type("[1m])")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-chart] canvas")
        drawn = page.evaluate(
            """() => { const canvas = document.querySelector("[data-chart] canvas");
               const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
               return pixels.some((value, index) => index % 4 === 3 && value > 0); }"""
        )
        assert drawn
        page.click("text=Alert on this")
        expect(page.locator("#field-expression")).to_have_value('max_over_time({__name__="shop.north.waiting"}[1m])')


def test_explore_tells_lines_apart_and_is_shared(browser: Browser, world: World, administrator: StorageState) -> None:
    with page_of(browser, administrator) as page:
        page.goto(world.appliance.url + "/explore?expression=%7B__name__%3D~%22shop.*waiting%22%7D")
        page.wait_for_selector("[data-chart] canvas")
        page.click("button.name:has-text('shop.south.waiting')")
        expect(page.locator("tr.off")).to_contain_text("shop.north.waiting")
        shown = "document.querySelector('[data-chart]').chart.series.slice(1).map((series) => series.show)"
        assert page.evaluate(shown) == [False, True]
        page.keyboard.press("Enter")
        assert page.evaluate(shown) == [True, True]
        page.click(".inspector summary")
        expect(page.locator(".inspector")).to_contain_text("Selecting samples")
        page.click("summary:has-text('Share')")
        assert barriers(page, RULES) == [], "with the inspector and the link open"
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.click("text=Copy the link")
        expect(page.locator("button:has-text('Copied')")).to_be_visible()
        link = page.evaluate("navigator.clipboard.readText()")
        assert link.startswith(world.appliance.url + "/explore?expression=")
        page.goto(link)
        page.wait_for_selector("[data-chart] canvas")
        assert page.evaluate("document.querySelector('[data-chart]').answer.series.length") == 2
        expect(page.locator("#until")).not_to_have_value("")


def test_explore_compares_expressions_in_rows_of_their_own(
    browser: Browser, world: World, administrator: StorageState
) -> None:
    with page_of(browser, administrator, size="phone", theme="dark") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/api/v1/chart" in request.url else None)
        page.goto(world.appliance.url + "/explore?expression=%7B__name__%3D~%22shop.*waiting%22%7D")
        page.click("text=Add an expression")
        second = page.locator("#expression-2")
        expect(second).to_be_focused()
        page.keyboard.type("shop.cache")
        options = page.locator("#completions-2 [role=option]")
        expect(options).to_have_count(1)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(second).to_have_value('{__name__="shop.cache.hit_ratio"}')
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-chart] canvas")
        assert barriers(page, RULES) == [], "with two rows"
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES["phone"][0]
        lines = (
            "document.querySelector('[data-chart]').chart.series.slice(1).map((series) => [series.label, series.show])"
        )
        assert page.evaluate(lines) == [
            ["A shop.north.waiting", True],
            ["A shop.south.waiting", True],
            ["B shop.cache.hit_ratio", True],
        ]
        colours = (
            "[...new Set(document.querySelector('[data-chart]').chart.series.slice(1).map((one) => one.stroke()))]"
        )
        assert len(page.evaluate(colours)) == 3
        page.click("button.name:has-text('shop.cache.hit_ratio')")
        assert [show for _, show in page.evaluate(lines)] == [False, False, True]
        assert asked == [], "the page brought along what the chart draws"

        page.click("button:has-text('Switch off A')")
        page.wait_for_url(re.compile(r"[?&]off=1"))
        page.wait_for_selector("[data-chart] canvas")
        assert page.evaluate(lines) == [["B shop.cache.hit_ratio", True]]
        page.click("summary:has-text('From – until')")
        page.fill("#step", "20s")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"[?&]step=20s"))
        assert "off=1" in page.url, "Enter in a field shows, and presses no button of a row"
        page.click("button:has-text('Remove A')")
        expect(page.locator("#expression")).to_have_value('{__name__="shop.cache.hit_ratio"}')
        expect(second).to_have_count(0)


def test_a_test_message_is_sent_and_its_arrival_told(
    browser: Browser, world: World, administrator: StorageState, checks: dict[str, Any]
) -> None:
    with page_of(browser, administrator) as page:
        page.goto(world.appliance.url + "/channels")
        count = len(world.phone.received)
        page.click("button:has-text('Send a test')")
        expect(page.locator("tr", has_text="on-call phone").locator("[role=status]")).to_contain_text("delivered")
        assert len(world.phone.received) == count + 1


def test_the_pages_work_without_script(
    browser: Browser, world: World, administrator: StorageState, checks: dict[str, Any]
) -> None:
    with page_of(browser, administrator, script=False) as page:
        page.goto(world.appliance.url + "/")
        page.fill("input[name=q]", "Payment")
        page.click("button:has-text('Filter')")
        expect(page.locator("table.checks tbody tr")).to_have_count(1)
        page.click("table.checks a:has-text('Payment gateway')")
        expect(page.locator(".output")).to_contain_text("503")
        page.click("button:has-text('Run now')")
        expect(page.locator("h1")).to_have_text("Payment gateway")
        page.click("button:has-text('Pause')")
        expect(page.locator("#live .state.paused")).to_be_visible()
        page.click("button:has-text('Resume')")
        expect(page.locator("button:has-text('Pause')")).to_be_visible()
        page.goto(world.appliance.url + "/explore?expression=henge_check_up&range=1h")
        expect(page.locator("table.cards")).to_contain_text("Shop front page")


def test_the_focus_is_visible_and_the_search_is_one_key_away(
    browser: Browser, world: World, administrator: StorageState, checks: dict[str, Any]
) -> None:
    with page_of(browser, administrator) as page:
        page.goto(world.appliance.url + "/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "q"
