"""A Debian machine of the test's own: a fresh system in a folder, without Python, where packages are installed.

It has no systemd; the service's command line is started by hand, as the service's user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.running import Appliance

MIRROR = "http://deb.debian.org/debian"
# A system that was unpacked once is copied for each test; it changes with Debian alone.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "henge-tests"
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
AS_SERVICE = ("setpriv", "--reuid", "henge", "--regid", "henge", "--init-groups", "--inh-caps=-all")
# The mounts are gone with the last process; nothing has to be undone.
ENTER = 'mount -t proc proc "$1/proc" && exec chroot "$@"'


def base(suite: str) -> Path:
    """The folder of a fresh system, made when it is not there. Skips the test where that cannot be done."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("a fresh Debian needs root and debootstrap: apt-get install debootstrap")
    folder = CACHE / suite
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        beside = CACHE / f"{suite}.{os.getpid()}"
        subprocess.run(
            ["debootstrap", "--variant=minbase", suite, str(beside), MIRROR], check=True, stdout=subprocess.DEVNULL
        )
        beside.rename(folder)
    return folder


class Machine:
    """One copy of a system; `root` is its folder."""

    def __init__(self, suite: str, folder: Path) -> None:
        self.root = folder / suite
        subprocess.run(["cp", "-a", "--reflink=auto", str(base(suite)), str(self.root)], check=True)
        # The same absolute path means the same file inside and outside.
        inside = self.root / str(self.root).lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.symlink_to("/")

    def enter(self, *words: str) -> tuple[str, ...]:
        """What starts `words` inside, by a process that becomes it."""
        return ("unshare", "--mount", "sh", "-c", ENTER, "enter", str(self.root), *words)

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """As root, to its end."""
        return subprocess.run(
            self.enter("env", "-i", PATH, "DEBIAN_FRONTEND=noninteractive", *words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def put(self, file: Path) -> str:
        """A file of ours, for the machine. Returns: its path there."""
        target = self.root / "root" / file.name
        shutil.copyfile(file, target)
        return f"/root/{file.name}"

    def path(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")

    def service(self, *, settings: Sequence[str] = ()) -> Appliance:
        """The appliance as its service starts it: the same user, folder and settings file, on free ports."""
        data_dir = self.path("/var/lib/henge")
        for folder in (data_dir, self.path("/run/henge")):
            folder.mkdir(exist_ok=True)
            assert self.run("chown", "henge:henge", f"/{folder.relative_to(self.root)}").returncode == 0
        executable = self.enter(*AS_SERVICE, "env", "-i", PATH, "/usr/bin/henge")
        appliance = Appliance(self.root.parent, executable=executable, settings=settings)
        appliance.data_dir = data_dir
        appliance.ready_file = self.path("/run/henge/ready.json")
        return appliance
