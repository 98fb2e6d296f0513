"""Shows a page of the appliance in the browser of whoever sits before this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping

from appliance.packaged import environment_for_others

# The first that is installed decides which browser the person likes; macOS has `open`.
OPENERS = ("xdg-open", "gio open", "sensible-browser", "x-www-browser", "open")


def has_screen(environ: Mapping[str, str] = os.environ) -> bool:
    return sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_page(url: str) -> bool:
    """Ask the desktop to show it. Returns: whether there is a screen and a program that does it."""
    if not has_screen():
        return False
    for opener in OPENERS:
        program, *words = opener.split()
        if found := shutil.which(program):
            try:
                opening = subprocess.Popen(
                    [found, *words, url],
                    env=environment_for_others(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError:
                continue
            threading.Thread(target=opening.wait, name="browser", daemon=True).start()  # So that no zombie is left.
            return True
    return False
