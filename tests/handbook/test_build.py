"""The site: whole, with nothing from outside, and within the policy that the appliance has for all its pages."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from handbook.build import DOCS, ROOT, for_the_site
from handbook.navigation import FOLDERS, listed

MADE = {"changelog.md"}


def test_every_page_of_the_docs_is_in_the_navigation_and_none_that_is_not_there() -> None:
    there = {
        page.relative_to(DOCS).as_posix()
        for page in DOCS.rglob("*.md")
        if page.relative_to(DOCS).parts[0] not in FOLDERS
    }
    assert there - listed() == set(), "name it in handbook/navigation.py"
    assert listed() - there - MADE <= {"network.md"}  # Its page comes with the listener that it describes.


def test_every_page_is_built(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix("").as_posix()
        folder = re.sub(r"(^|/)(index|README)$", "", name)
        assert (site / folder / "index.html").is_file(), name


def test_nothing_of_the_site_is_fetched_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|link|iframe|source|video|audio|object|embed)\b[^>]*?\b(?:src|href|srcset|data)=\"?([^\"\s>]+)"
    )
    for page in site.rglob("*.html"):
        for address in loads.findall(page.read_text()):
            assert not urlsplit(address).netloc, f"{page.relative_to(site)} loads {address}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", sheet.read_text()), sheet


def test_no_page_of_the_site_holds_a_script_or_a_style(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        scripts = [tag for tag in re.findall(r"<script[^>]*>", text) if "application/json" not in tag]
        assert scripts, page
        assert all("src=" in tag for tag in scripts), page
        outside_code = re.sub(r"<(code|pre)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert not re.search(r"<style|<[a-z]+[^>]*\son\w+=|href=\"javascript:", outside_code), page


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    """Of all pages, the made ones too, as a browser follows them, with their anchors."""
    ids = {page: set(re.findall(r"\bid=\"([^\"]+)\"", page.read_text())) for page in site.rglob("*.html")}
    for page in ids:
        if page.name == "404.html":  # Its addresses start from the root of wherever it is shown.
            continue
        for link in re.findall(r"<a\b[^>]*?\bhref=\"([^\"]*)\"", page.read_text()):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{page.relative_to(site)}: {link}"
            if parts.fragment and target in ids:
                assert unquote(parts.fragment) in ids[target], f"{page.relative_to(site)}: {link}"


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_links_of_pages_beside_the_docs_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text()):
        parts = urlsplit(link)
        if parts.scheme or not parts.path:
            continue
        assert (ROOT / parts.path).exists(), f"{name}: {link}"


def test_links_that_only_a_repository_can_follow_become_words_or_pages() -> None:
    assert for_the_site("[tests/a](../../tests/a.py)", depth=1) == "tests/a"
    assert (
        for_the_site("[d](decisions/), [b](benchmarks/)", depth=0)
        == "[d](decisions/index.md), [b](benchmarks/README.md)"
    )
    assert for_the_site("[s](../settings.md#x)", depth=1) == "[s](../settings.md#x)"
    assert for_the_site("[the change](../CHANGELOG.md)", depth=0) == "the change"
