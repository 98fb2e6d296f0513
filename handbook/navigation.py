"""What the site's menu shows, in its order. A page of docs/ that stands nowhere here fails a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HOME = "index.md"
# title of the part: its pages below docs/. Titles of pages are their first headings.
PARTS: Mapping[str, Sequence[str]] = {
    "Start": (HOME, "getting-started.md", "install.md"),
    "Send numbers": ("protocols.md", "graphite.md", "statsd.md"),
    "Watch and tell": ("checks.md", "alerts.md", "rules.md"),
    "Operate": ("operations.md", "backup.md", "network.md", "security.md", "old-samples.md"),
    "Interfaces": ("commands.md", "settings.md", "api.md"),
    "How it works": ("architecture.md", "glossary.md", "benchmarks/README.md", "changelog.md"),
}
# Folders whose pages all belong into one part, in the order of their names, behind a list of them that is made.
FOLDERS: Mapping[str, str] = {
    "reference": "Reference",
    "format": "Formats on disk",
    "decisions": "Decisions",
}


def listed() -> set[str]:
    return {page for pages in PARTS.values() for page in pages}
