"""The oldest C library that a built folder runs on."""

from __future__ import annotations

import re
from pathlib import Path

ELF_MAGIC = b"\x7fELF"
# Names of symbol versions stand as text in the table of strings of each file that needs them.
NEEDED = re.compile(rb"\0GLIBC_2\.(\d{1,3})(?:\.\d+)?(?=\0)")


def oldest_glibc(folder: Path) -> str:
    """The newest version of glibc's symbols that a file below `folder` was linked against, such as "2.34"."""
    minor = 0
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if content.startswith(ELF_MAGIC):
                minor = max(minor, *map(int, NEEDED.findall(content)), 0)
    return f"2.{minor}"
