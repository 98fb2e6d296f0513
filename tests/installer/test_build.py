"""What a build tells of itself: the C library it needs, its source, its parts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from installer.glibc import oldest_glibc
from installer.origin import origin
from installer.parts_list import bundled_distributions

ELF = b"\x7fELF\0"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "2.0"),
        ({"a.so": ELF + b"\0GLIBC_2.2.5\0GLIBC_2.17\0"}, "2.17"),
        ({"a.so": ELF + b"\0GLIBC_2.17\0", "deep/b.so": ELF + b"\0GLIBC_2.34\0GLIBC_2.4\0"}, "2.34"),
        ({"a.txt": b"\0GLIBC_2.99\0"}, "2.0"),
        ({"a.so": ELF + b"needs GLIBC_2.99 they say"}, "2.0"),
    ],
)
def test_oldest_glibc(tmp_path: Path, files: dict[str, bytes], expected: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert oldest_glibc(tmp_path) == expected


def test_the_origin_says_whether_files_were_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        options = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(
            ["git", *options, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "7.8.9"\n')
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "--short=12", "HEAD")
    assert (origin(tmp_path).version, origin(tmp_path).commit) == ("7.8.9", commit)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "8.0.0"\n')
    assert origin(tmp_path).commit == commit + "+"


def test_the_parts_are_those_whose_files_were_taken(tmp_path: Path) -> None:
    """Read off PyInstaller's tables: wherever the packages are installed, and not those that are only installed."""
    taken = [("flask.app", "/anywhere/site-packages/flask/app.py", "PYMODULE"), ("os", "/usr/lib/os.py", "PYMODULE")]
    (tmp_path / "PYZ-00.toc").write_text(repr(("name", taken)))
    (tmp_path / "COLLECT-00.toc").write_text(repr([[("x", "/other/site-packages/numpy/__init__.py", "DATA")]]))
    assert [found.metadata["Name"] for found in bundled_distributions(tmp_path)] == ["Flask", "numpy"]
