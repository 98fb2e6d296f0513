"""Pictures of every page for people to look at: `python -m tests.browser.look FOLDER [PAGE…]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser.chromium import chromium
from tests.browser.world import World
from tests.running import Appliance

SIZES = {"wide": (1440, 900), "phone": (390, 844)}
PASSWORD = "a stone on two stones"


def sign_in(page: Page, appliance: Appliance) -> None:
    """Create the administrator by the one-time link, or log in when there is one."""
    page.goto(str(appliance.ready["login_url"]))
    page.fill("#name", "admin")
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    page.click("main button")
    page.wait_for_url(appliance.url + "/start/watch")


def pages_of(world: World, ids: dict[str, str]) -> dict[str, str]:
    return {
        "overview": "/",
        "overview_filtered": "/?q=shop&state=ok",
        "check_ok": f"/checks/{ids['Shop front page']}?range=1h",
        "check_bad": f"/checks/{ids['Payment gateway']}?range=1h",
        "check_query": f"/checks/{ids['Orders waiting']}?range=1h",
        "check_push": f"/checks/{ids['Nightly backup']}",
        "kinds": "/checks/new",
        "form": "/checks/new/http",
        "edit": f"/checks/{ids['Payment gateway']}/edit",
        "explore": "/explore",
        "explore_chart": "/explore?expression=%7B__name__%3D~%22shop.*waiting%22%7D&range=1h",
        "explore_table": "/explore?expression=henge_check_up&view=table",
        "explore_functions": "/explore/functions",
        "incidents": "/incidents",
        "rules": "/rules",
        "rules_file": f"/rules/{world.rules_id}",
        "rules_form": "/rules/new?example=1",
        "channels": "/channels",
        "channel_form": "/channels/new/email",
        "system": "/system",
        "start_watch": "/start/watch",
        "start_channel": "/start/channel",
        "start_email": "/start/channel/email",
        "start_test": "/start/test",
        "start_done": "/start/done",
        "account": "/account",
        "second_factor": "/account/second-factor",
    }


def shoot(browser: Browser, world: World, pages: dict[str, str], folder: Path, storage: str) -> None:
    for size, (width, height) in SIZES.items():
        for theme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=theme, storage_state=storage
            )
            page = context.new_page()
            problems: list[str] = []
            page.on("console", lambda message, found=problems: found.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error, found=problems: found.append(str(error)))
            for name, path in pages.items():
                page.goto(world.appliance.url + path)
                page.wait_for_timeout(900)
                page.screenshot(path=folder / f"{name}-{size}-{theme}.png", full_page=True)
                over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if over > 0:
                    print(f"{name} {size}: {over} px too wide")
                for problem in problems:
                    print(f"{name} {size} {theme}: {problem}")
                problems.clear()
            context.close()


def main(folder: Path, wanted: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, World(Path(scratch)) as world, chromium() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(str(world.appliance.ready["login_url"]))
        page.screenshot(path=folder / "setup-wide-light.png")
        sign_in(page, world.appliance)
        page.screenshot(path=folder / "first-wide-light.png")
        checks = world.populate()
        world.wait_results(checks, beat_count=35, timeout_s=120)
        storage = str(Path(scratch) / "storage.json")
        context.storage_state(path=storage)
        pages = pages_of(world, {name: check["id"] for name, check in checks.items()})
        shoot(
            browser,
            world,
            {name: path for name, path in pages.items() if not wanted or name in wanted},
            folder,
            storage,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
