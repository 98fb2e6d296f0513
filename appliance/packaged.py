"""How this executable was packaged: the only place that knows."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

LIBRARIES = "LD_LIBRARY_PATH"
SAVED_LIBRARIES = "LD_LIBRARY_PATH_ORIG"  # Where PyInstaller's start keeps what was there before it put its own.


def command(*arguments: str) -> list[str]:
    """How this executable starts one of its own processes."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    # -P: a folder called `web` or a file numpy.py where the user happens to stand is not ours.
    return [sys.executable, "-P", "-m", "appliance.cli", *arguments]


def environment_for_others(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For a foreign program: without the folder of our own libraries, which may be newer or older than its own."""
    others = {name: value for name, value in environ.items() if not name.startswith("_PYI_")}
    if getattr(sys, "frozen", False):
        others.pop(LIBRARIES, None)
        if (before := others.pop(SAVED_LIBRARIES, None)) is not None:
            others[LIBRARIES] = before
    return others
