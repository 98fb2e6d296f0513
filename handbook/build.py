"""`python -m handbook.build`: the docs as a site in web/manual/, where the appliance and its packages take it from.

Three steps: the pages of docs/ and those made from the code are gathered in build/manual/pages; zensical makes pages of
them that need nothing from outside; what it writes into a page as script moves into files, because the appliance's
Content-Security-Policy runs no script that stands in a page.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import yaml

from handbook.navigation import FOLDERS, HOME, PARTS
from handbook.reference import reference_pages

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SITE = ROOT / "web" / "manual"
STYLE = "handbook.css"
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\b(?:src|type)=)[^>]*>(.*?)</script>", re.DOTALL)
_UPWARDS = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+)[^)]*\)")
_FOLDER_LINK = re.compile(r"\]\(((?:\.\./)*(?:\w[\w-]*/)*(\w[\w-]*)/)(#[^)]*)?\)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HEADING = re.compile(r"^# (.+)$", re.MULTILINE)


def build(site: Path = SITE, work: Path = ROOT / "build" / "manual") -> int:
    """Replace `site` by a new one → its bytes. Raises: SystemExit, for a broken link or a page that cannot be made."""
    shutil.rmtree(work, ignore_errors=True)
    pages = work / "pages"
    gather(pages)
    config = work / "mkdocs.yml"
    config.write_text(yaml.safe_dump(configuration(pages), sort_keys=False, allow_unicode=True), encoding="utf-8")
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [str(program), "build", "--strict", "--config-file", str(config)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the site cannot be built:\n{_plain(done.stdout + done.stderr)}")
    made = work / "site"
    for page in made.rglob("*.html"):
        _move_scripts(page, made)
    for leftover in (
        "sitemap.xml",
        "sitemap.xml.gz",
        "objects.inv",
        "assets/stylesheets/modern",
    ):  # Nothing reads them.
        path = made / leftover
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(made, site)
    return sum(path.stat().st_size for path in site.rglob("*") if path.is_file())


def _plain(text: str) -> str:
    """What zensical found, without its colours and without the trace of its own calls."""
    return _COLOUR.sub("", text).partition("Traceback")[0]


def gather(pages: Path) -> None:
    """Write all pages of the site into the folder: those of docs/, the changelog, and those that code is asked for."""
    shutil.copytree(DOCS, pages, ignore=shutil.ignore_patterns("*.jsonl"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (pages / "changelog.md").write_text(changelog.replace("](docs/", "]("), encoding="utf-8")
    shutil.copy(ROOT / "handbook" / STYLE, pages / STYLE)
    shutil.copy(ROOT / "web" / "static" / "icon.svg", pages / "icon.svg")
    (pages / "reference").mkdir()
    for name, text in reference_pages().items():
        (pages / "reference" / name).write_text(text, encoding="utf-8")
    for folder, title in FOLDERS.items():
        (pages / folder / HOME).write_text(_contents(pages / folder, title), encoding="utf-8")
    for page in pages.rglob("*.md"):
        text = for_the_site(page.read_text(encoding="utf-8"), depth=len(page.relative_to(pages).parts) - 1)
        page.write_text(text, encoding="utf-8")


def for_the_site(text: str, *, depth: int) -> str:
    """A page with links that a site can follow: a folder is its list of pages; a source file is only named.

    depth: how many folders lie between the pages' own and this page.
    """

    def within(link: re.Match[str]) -> str:
        return link[1] if link[2].count("../") > depth else link[0]

    def page_of(link: re.Match[str]) -> str:
        name = "README.md" if link[2] == "benchmarks" else HOME
        return f"]({link[1]}{name}{link[3] or ''})"

    return _FOLDER_LINK.sub(page_of, _UPWARDS.sub(within, text))


def _contents(folder: Path, title: str) -> str:
    rows = [f"- [{title_of(page)}]({page.name})" for page in sorted(folder.glob("*.md")) if page.name != HOME]
    return f"# {title}\n\n" + "\n".join(rows) + "\n"


def title_of(page: Path) -> str:
    """Its first heading. A page without one is a fault of ours."""
    found = _HEADING.search(page.read_text(encoding="utf-8"))
    assert found is not None, f"{page} has no heading"
    return found[1].replace("`", "")


def configuration(pages: Path) -> Mapping[str, object]:
    """What zensical is told; it reads the file that mkdocs reads."""
    toggle = {"icon": "material/theme-light-dark"}
    schemes = (("light", "default", "dark"), ("dark", "slate", "light"))
    return {
        "site_name": "Henge",
        "docs_dir": "pages",
        "site_dir": "site",
        "theme": {
            "name": "material",
            "variant": "classic",
            "font": False,  # The system's: nothing is fetched from elsewhere.
            "favicon": "icon.svg",
            "features": [
                "navigation.tabs",
                "navigation.indexes",
                "content.code.copy",
                "search.highlight",
                "navigation.top",
            ],
            "palette": [
                {
                    "media": f"(prefers-color-scheme: {media})",
                    "scheme": scheme,
                    "primary": "custom",
                    "accent": "custom",
                    "toggle": {**toggle, "name": f"Change to {other}"},
                }
                for media, scheme, other in schemes
            ],
        },
        "extra": {"generator": False},
        "extra_css": [STYLE],
        "markdown_extensions": [
            "admonition",
            "attr_list",
            "tables",
            {"toc": {"permalink": True}},
            "pymdownx.superfences",
            "pymdownx.highlight",
        ],
        "nav": list(_navigation(pages)),
    }


def _navigation(pages: Path) -> Iterator[Mapping[str, object]]:
    for part, names in PARTS.items():
        yield {part: [{title_of(pages / name): name} for name in names if (pages / name).exists()]}
    for folder, part in FOLDERS.items():
        rows: list[object] = [f"{folder}/{HOME}"]
        rows += [
            {title_of(page): f"{folder}/{page.name}"}
            for page in sorted((pages / folder).glob("*.md"))
            if page.name != HOME
        ]
        yield {part: rows}


def _move_scripts(page: Path, site: Path) -> None:
    """Give every script that stands in the page a file of its own, named for its content, run at the same place."""
    to_site = "../" * (len(page.relative_to(site).parts) - 1)

    def moved(script: re.Match[str]) -> str:
        name = f"assets/javascripts/inline.{hashlib.sha256(script[1].encode()).hexdigest()[:12]}.js"
        (site / name).write_text(script[1] + "\n", encoding="utf-8")
        return f'<script src="{to_site}{name}"></script>'

    page.write_text(_INLINE_SCRIPT.sub(moved, page.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=SITE, help="the folder for the site")
    out = parser.parse_args().out.resolve()
    size_bytes = build(out)
    click.echo(f"{out}: {sum(1 for _ in out.rglob('*.html'))} pages, {size_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
