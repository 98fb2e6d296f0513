"""One file for a double click: a script of the shell with the archive behind it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from installer.origin import Origin

HEADER = Path(__file__).with_name("run_header.sh")
CHUNK_BYTES = 2**20


def build_run_file(archive: Path, out: Path, where: Origin) -> Path:
    """Put the header before the .tar.gz. Returns: the file, which may be executed."""
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    values = {"VERSION": where.version, "COMMIT": where.commit, "SHA256": digest}
    header = HEADER.read_text(encoding="ascii")
    for name, value in values.items():
        header = header.replace(f"@{name}@", value)
    header = header.replace("@LINES@", str(header.count("\n") + 1))
    target = out / f"henge-{where.version}-{where.platform}.run"
    with target.open("wb") as stream:
        stream.write(header.encode("ascii"))
        with archive.open("rb") as packed:
            shutil.copyfileobj(packed, stream, CHUNK_BYTES)
    target.chmod(0o755)
    return target
