"""The Debian package of a built folder: /usr/lib/henge, a service with as few rights as possible, an entry in the menu.

Debian's own tool packs it; the tree is made here because there is nothing to compile, and dpkg-deb alone is on every
Debian machine, without debhelper.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from installer.glibc import oldest_glibc
from installer.origin import Origin

DEBIAN = Path(__file__).parent / "debian"
SCRIPTS = ("postinst", "prerm", "postrm")
MAINTAINER = "Henge <henge@localhost>"
ARCHITECTURES = {"linux-x86_64": "amd64", "linux-aarch64": "arm64"}
DESCRIPTION = """monitoring appliance for small teams
 Checks hosts and services, stores every measurement, shows it on a local page,
 and tells the right person when something breaks. Takes in what Nagios,
 Graphite, StatsD and Prometheus speak. Everything that it needs is inside."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One file of the package that is not of the built folder: where it is taken, where it goes, its mode."""

    source: Path
    target: str
    mode: int = 0o644


def build_deb(folder: Path, out: Path, where: Origin, *, root: Path) -> Path:
    """Pack `folder`, made by installer.build, into `out`. root: the checkout. Returns: the package.

    Raises: CalledProcessError, if dpkg-deb fails; KeyError, on a machine that Debian does not build for.
    """
    architecture = ARCHITECTURES[where.platform]
    package = out / f"henge_{where.version}_{architecture}.deb"
    with tempfile.TemporaryDirectory(dir=out) as name:
        tree = Path(name) / "tree"
        shutil.copytree(folder, tree / "usr/lib/henge", symlinks=True, copy_function=os.link)
        shutil.copytree(root / "docs", tree / "usr/lib/henge/docs", ignore=shutil.ignore_patterns("benchmarks"))
        for placed in _files(root):
            target = tree / placed.target
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(placed.source, target)
            target.chmod(placed.mode)
        (tree / "usr/bin").mkdir()
        (tree / "usr/bin/henge").symlink_to("../lib/henge/henge")
        (tree / "DEBIAN/control").write_text(_control(tree, architecture, where), encoding="utf-8")
        (tree / "DEBIAN/conffiles").write_text("/etc/henge/henge.toml\n", encoding="utf-8")
        for path in (tree, *tree.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z12", "--build", str(tree), str(package)],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"SOURCE_DATE_EPOCH": str(where.committed_s)},
        )
    return package


def _files(root: Path) -> tuple[Placed, ...]:
    return (
        *(Placed(DEBIAN / name, f"DEBIAN/{name}", 0o755) for name in SCRIPTS),
        Placed(DEBIAN / "templates", "DEBIAN/templates"),
        Placed(DEBIAN / "henge.service", "usr/lib/systemd/system/henge.service"),
        Placed(DEBIAN / "henge.desktop", "usr/share/applications/henge.desktop"),
        Placed(DEBIAN / "sysctl.conf", "usr/lib/sysctl.d/60-henge.conf"),
        Placed(DEBIAN / "henge.toml", "etc/henge/henge.toml"),
        Placed(root / "web/static/icon.svg", "usr/share/icons/hicolor/scalable/apps/henge.svg"),
        Placed(root / "README.md", "usr/lib/henge/README.md"),
        Placed(root / "LICENSE", "usr/share/doc/henge/copyright"),
    )


def _control(tree: Path, architecture: str, where: Origin) -> str:
    size_kib = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    fields = {
        "Package": "henge",
        "Version": where.version,
        "Architecture": architecture,
        "Maintainer": MAINTAINER,
        "Installed-Size": str(size_kib),
        "Depends": f"libc6 (>= {oldest_glibc(tree / 'usr/lib/henge')}), passwd",
        "Recommends": "debconf, procps",
        "Suggests": "monitoring-plugins, pkexec, xdg-utils",
        "Section": "net",
        "Priority": "optional",
        "Description": DESCRIPTION,
    }
    return "".join(f"{name}: {text}\n" for name, text in fields.items())
