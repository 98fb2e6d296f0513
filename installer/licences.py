"""The licences of everything in a built folder, in a folder of their own."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Sequence
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

WORDS = ("licen", "copying", "notice", "authors")


def write_licences(folder: Path, distributions: Sequence[Distribution]) -> None:
    """folder/NAME/…: the licence files that each distribution came with; folder/python/: Python's own.

    Raises: SystemExit, if one came with none and its metadata names none either.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for distribution in distributions:
        own = folder / distribution.metadata["Name"]
        own.mkdir(parents=True)
        for path in distribution.files or ():
            if any(word in path.name.lower() for word in WORDS) and path.suffix not in (".py", ".pyc"):
                found = Path(str(distribution.locate_file(path)))
                shutil.copyfile(found, own / _flat(path))
        if not any(own.iterdir()):
            declared = declared_licence(distribution)
            if not declared:
                raise SystemExit(f"{own.name} comes without a licence, so it cannot be passed on")
            (own / "LICENSE.txt").write_text(declared + "\n", encoding="utf-8")
    python = folder / "python"
    python.mkdir()
    shutil.copyfile(_python_licence(), python / "LICENSE.txt")


def declared_licence(distribution: Distribution) -> str:
    """What its metadata say, or nothing."""

    def texts(field: str) -> list[str]:
        return distribution.metadata.get_all(field) or []

    classifiers = [text for text in texts("Classifier") if text.startswith("License ::")]
    return "; ".join(texts("License-Expression") or texts("License") or classifiers)


def _flat(path: PurePosixPath) -> str:
    """One name for a file in a folder: two parts of a distribution may each have a LICENSE."""
    inside = path.parts[1:] if path.parts[0].endswith(".dist-info") else path.parts
    return "-".join(inside)


def _python_licence() -> Path:
    places = (
        Path(sysconfig.get_path("stdlib")) / "LICENSE.txt",
        Path(f"/usr/share/doc/python{sys.version_info.major}.{sys.version_info.minor}/copyright"),
    )
    for place in places:
        if place.exists():
            return place
    raise SystemExit(f"the licence of Python lies at none of {', '.join(map(str, places))}")
