"""`/docs`: the built site from its own folder, and from nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.house import House
from web.pages.manual import views


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site of two pages, with a secret beside it."""
    folder = tmp_path / "site"
    (folder / "install").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>Docs</h1>")
    (folder / "install" / "index.html").write_text("<h1>Installing</h1>")
    (folder / "search.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("the secret")
    (tmp_path / "index.html").write_text("the secret")
    (folder / "way-out").symlink_to(tmp_path)
    monkeypatch.setattr(views, "SITE", folder)
    return folder


def test_a_stranger_reads_the_docs(house: House, site: Path) -> None:
    client = house.client()
    for path, words in (("/docs/", "Docs"), ("/docs/install/", "Installing"), ("/docs/search.json", "{}")):
        with client.get(path) as answer:
            assert (answer.status_code, words in answer.text) == (200, True), path
            assert answer.headers["Content-Security-Policy"] == views.POLICY
            assert answer.headers["Cache-Control"] == "no-cache"
    with client.get("/docs/", headers={"If-None-Match": answer.headers["ETag"]}) as again:
        assert again.status_code == 200  # Another file's mark.
    with client.get("/docs/search.json", headers={"If-None-Match": answer.headers["ETag"]}) as again:
        assert again.status_code == 304


def test_an_address_without_its_last_slash_leads_to_the_page(house: House, site: Path) -> None:
    client = house.client()
    for path, target in (("/docs", "/docs/"), ("/docs/install", "/docs/install/")):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (308, target)


@pytest.mark.parametrize(
    "path",
    [
        "/docs/../secret.txt",
        "/docs/%2e%2e/secret.txt",
        "/docs/..%2fsecret.txt",
        "/docs/install/../../secret.txt",
        "/docs/%2e%2e%2fsecret.txt",
        "/docs/..%5csecret.txt",
        "/docs//etc/passwd",
        "/docs/%2fetc%2fpasswd",
        "/docs/way-out/secret.txt",
        "/docs/way-out/",
        "/docs/way-out",
        "/docs/..",
        "/docs/../",
        "/docs/no-such-page/",
        "/docs/no-such-page",
        "/docs/index.html%00.txt",
    ],
)
def test_nothing_beside_the_site_can_be_read(house: House, site: Path, path: str) -> None:
    with house.client("admin").get(path) as answer:
        assert "the secret" not in answer.text
        assert "root:" not in answer.text
        assert answer.status_code in (308, 404), answer.status_code
        assert not answer.headers.get("Location", "/").startswith("//")


def test_a_checkout_without_a_site_says_how_to_build_it(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "SITE", tmp_path / "nothing")
    answer = house.client().get("/docs/")
    assert answer.status_code == 200
    assert "make docs" in answer.text


def test_every_page_leads_to_the_docs(house: House) -> None:
    assert 'href="/docs/"' in house.client().get("/login").text
    assert 'href="/docs/"' in house.client("viewer").get("/").text
