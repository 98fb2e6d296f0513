"""`python -m installer.build`: the executable in a folder of its own, with the licences and the list of its parts.

PyInstaller gathers what henge.spec names; here it gets what a person needs to trust and to pass it on: which commit it
is (henge --version), every licence (licences/), every part with its version (sbom.cdx.json, CycloneDX), the oldest C
library it runs on. The folder runs from anywhere; the archive holds it as it is, the .run file unpacks it when it is
clicked, and the .deb makes a service of it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from installer.deb import build_deb
from installer.glibc import oldest_glibc
from installer.licences import write_licences
from installer.origin import Origin, origin
from installer.parts_list import bundled_distributions, write_parts_list
from installer.run_file import build_run_file

ROOT = Path(__file__).resolve().parents[1]
SPEC = ROOT / "installer" / "henge.spec"
BUILD_FILE = "_internal/appliance/build.json"  # Where appliance/version.py looks for it.
# Symbols for debuggers that no error of ours shows: a quarter of the largest part. The others are left as they were
# published: some link their sections in ways that strip does not keep.
STRIPPED = ("_internal/_polars_runtime_*/*.so",)
INSTALLED_BYTES_MAX = 350 * 10**6
COMPRESSED_BYTES_MAX = 120 * 10**6


@dataclass(frozen=True, slots=True)
class Built:
    """What came out. glibc: the oldest version that all parts run on, such as "2.34"."""

    packages: tuple[Path, ...]
    installed_bytes: int
    compressed_bytes: int
    glibc: str


def build(out: Path) -> Built:
    """Build into `out`, replacing what an earlier build left there.

    Raises: SystemExit, if a step fails or the result is larger than promised.
    """
    where = origin(ROOT)
    folder = _gathered(out)
    build_file = folder / BUILD_FILE
    build_file.parent.mkdir(exist_ok=True)
    build_file.write_text(json.dumps(asdict(where)) + "\n", encoding="ascii")
    for pattern in STRIPPED:
        for path in folder.glob(pattern):
            subprocess.run(["strip", "--strip-unneeded", str(path)], check=True)
    distributions = bundled_distributions(out / "work" / "henge")
    write_licences(folder / "licences", distributions)
    write_parts_list(folder / "sbom.cdx.json", distributions, folder, where)
    archive = out / f"henge-{where.version}-{where.platform}.tar.gz"
    _archive(folder, archive, where)
    packages = (archive, build_run_file(archive, out, where), build_deb(folder, out, where, root=ROOT))
    largest_bytes = max(package.stat().st_size for package in packages)
    built = Built(packages, _size_bytes(folder), largest_bytes, oldest_glibc(folder))
    _within("the folder", built.installed_bytes, INSTALLED_BYTES_MAX)
    _within("the largest package", built.compressed_bytes, COMPRESSED_BYTES_MAX)
    return built


def _gathered(out: Path) -> Path:
    subprocess.run(
        [
            *(sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR"),
            *("--distpath", str(out), "--workpath", str(out / "work"), str(SPEC)),
        ],
        cwd=ROOT,
        check=True,
    )
    return out / "henge"


def _archive(folder: Path, archive: Path, where: Origin) -> None:
    """A .tar.gz that is the same for the same folder: sorted, owned by root, as old as the commit."""

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = where.committed_s
        return entry

    with (
        archive.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=where.committed_s) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.add(folder, arcname=f"henge-{where.version}", filter=anonymous)


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _within(what: str, size_bytes: int, bytes_max: int) -> None:
    if size_bytes > bytes_max:
        raise SystemExit(f"{what} has {size_bytes:,} bytes, {bytes_max:,} are the most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder for what is built")
    built = build(parser.parse_args().out.resolve())
    for package in built.packages:
        click.echo(f"{os.path.relpath(package)}: {package.stat().st_size / 1e6:.0f} MB")
    click.echo(f"{built.installed_bytes / 1e6:.0f} MB installed, for glibc {built.glibc} and later")


if __name__ == "__main__":
    main()
