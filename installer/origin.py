"""Which source a build comes from."""

from __future__ import annotations

import platform
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Origin:
    """version: of pyproject.toml. commit: the first twelve digits, with a + where files were changed since."""

    version: str
    commit: str
    committed_s: int
    platform: str  # Such as linux-x86_64.


def origin(root: Path) -> Origin:
    """What is checked out at `root`. Raises: CalledProcessError, where that is no git checkout."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return Origin(
        version=version,
        commit=git("rev-parse", "--short=12", "HEAD") + changed,
        committed_s=int(git("log", "-1", "--format=%ct")),
        platform=f"{platform.system().lower()}-{platform.machine()}",
    )
