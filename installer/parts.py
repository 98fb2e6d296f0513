"""What goes into the built folder: modules and files of the rooms, found where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOMS = ("appliance", "tsdb", "checks", "scheduler", "web")
DATA_SUFFIXES = (".css", ".html", ".js", ".json", ".png", ".svg", ".ttf", ".txt", ".woff2")
# Drawn in by libraries that could use them, and used by nothing here.
NOT_NEEDED = (
    "IPython",
    "_distutils_hack",
    "_pytest",
    "hypothesis",
    "matplotlib",
    "mypy",
    "pandas",
    "pip",
    "playwright",
    "py",
    "pyarrow",
    "pytest",
    "setuptools",
    "tkinter",
)


def first_party_modules(root: Path) -> list[str]:
    """The dotted names of all modules of the rooms below `root`."""
    return [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for room in ROOMS
        for path in sorted((root / room).rglob("*.py"))
    ]


def data_files(root: Path) -> Iterator[tuple[str, str]]:
    """(file, its folder in the built tree) of all templates, styles, scripts, pictures, docs, and licences."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in DATA_SUFFIXES or path.name.startswith("LICENSE"):
                yield str(path), str(path.parent.relative_to(root))
