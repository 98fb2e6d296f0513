"""Which Henge this is."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

BUILD_FILE = Path(__file__).parent / "build.json"  # Written by installer/build.py into the executable's folder.


def version() -> str:
    """The version of the installed package."""
    return importlib.metadata.version("henge-monitor")


def version_text() -> str:
    """The version and where it comes from: "0.1.0, commit 4f0c…, linux-x86_64", or "0.1.0, from a checkout"."""
    try:
        build = json.loads(BUILD_FILE.read_text(encoding="ascii"))
    except FileNotFoundError:
        return f"{version()}, from a checkout"
    return f"{version()}, commit {build['commit']}, {build['platform']}"
