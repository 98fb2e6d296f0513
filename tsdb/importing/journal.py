"""Which files of a tree are in the appliance: a line a file, so that an import may be broken off and go on.

Layout: a JSON array a line, [path, size in bytes, mtime in ns, from in ms, points]. A line that is torn, as the last
one after a kill, is passed over: its file is read again, and the same samples again are no more samples.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec

from tsdb.importing.tree import Found

Line = tuple[str, int, int, int, int]


def journal_path(data_dir: Path, root: Path, prefix: str) -> Path:
    """One for each tree and prefix, in the data folder: what is done there says nothing of another appliance."""
    key = hashlib.blake2b(f"{root.resolve()}\0{prefix}".encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return data_dir / "imports" / f"whisper-{key}.jsonl"


class Journal:
    """Holds a number of 8 B for each file that is done: 100 MB for a million.

    A file is done as it was, and for the times from then on: one that changed since, or of which older points are
    wanted, is not.
    """

    def __init__(self, path: Path, *, is_fresh: bool = False) -> None:
        """is_fresh: forget what is done."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_fresh:
            path.unlink(missing_ok=True)
        self.path = path
        self._from_ms_by_key: dict[int, int] = {}
        self._file = path.open("ab+")
        self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._from_ms_by_key)

    def has(self, found: Found, from_ms: int) -> bool:
        done_from_ms = self._from_ms_by_key.get(_key(found.path, found.size_bytes, found.modified_ns))
        return done_from_ms is not None and done_from_ms <= from_ms

    def note(self, done: Iterable[tuple[Found, int]], from_ms: int) -> None:
        """(file, points), all of which are acknowledged. Durable when it returns."""
        lines = []
        for found, points in done:
            line: Line = (found.path, found.size_bytes, found.modified_ns, from_ms, points)
            lines.append(msgspec.json.encode(line) + b"\n")
            self._from_ms_by_key[_key(*line[:3])] = from_ms
        if lines:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def _load(self) -> None:
        self._file.seek(0)
        ends_whole = True
        for line in self._file:
            ends_whole = line.endswith(b"\n")
            try:
                path, size_bytes, modified_ns, from_ms, _ = msgspec.json.decode(line, type=Line)
            except msgspec.DecodeError:
                continue
            self._from_ms_by_key[_key(path, size_bytes, modified_ns)] = from_ms
        if not ends_whole:
            self._file.write(b"\n")


def _key(path: str, size_bytes: int, modified_ns: int) -> int:
    text = f"{path}\0{size_bytes}\0{modified_ns}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
