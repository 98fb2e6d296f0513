"""Which files of a tree are in the appliance: a line a file, so that an import may be broken off and go on.

Layout: a JSON array a line, [path, size in bytes, mtime in ns, from in ms, points, newest point in ms]. A line that is
torn, as the last one after a kill, is passed over: its file is read again, and the same samples again are no more
samples.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from tsdb.importing.tree import Found

Line = tuple[str, int, int, int, int, int]


class Done(NamedTuple):
    """A file of which every point is acknowledged. newest_ms: of its points, 0 if it has none."""

    found: Found
    points_count: int
    newest_ms: int


class _Sent(NamedTuple):
    """Of one path: the file that is done and from when on; and the times that were sent of it, now or before."""

    version: int
    from_ms: int
    sent_from_ms: int
    sent_until_ms: int


def journal_path(data_dir: Path, root: Path, prefix: str) -> Path:
    """One for each tree and prefix, in the data folder: what is done there says nothing of another appliance."""
    key = hashlib.blake2b(f"{root.resolve()}\0{prefix}".encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return data_dir / "imports" / f"whisper-{key}.jsonl"


class Journal:
    """Holds numbers of 8 B for each file that is done: 250 MB for a million.

    A file is done as it was, and for the times from then on: one that changed since, or of which older points are
    wanted, is not.
    """

    def __init__(self, path: Path, *, is_fresh: bool = False) -> None:
        """is_fresh: forget what is done."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_fresh:
            path.unlink(missing_ok=True)
        self.path = path
        self._sent_by_path: dict[int, _Sent] = {}
        self._file = path.open("ab+")
        self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._sent_by_path)

    def has(self, found: Found, from_ms: int) -> bool:
        sent = self._sent_by_path.get(_path_key(found.path))
        return sent is not None and sent.version == _version(found) and sent.from_ms <= from_ms

    def sent_ms(self, found: Found) -> tuple[int, int] | None:
        """From when to when the points of this path were sent, whatever the file was then; both inclusive."""
        sent = self._sent_by_path.get(_path_key(found.path))
        return None if sent is None else (sent.sent_from_ms, sent.sent_until_ms)

    def note(self, done: Iterable[Done], from_ms: int) -> None:
        """Durable when it returns."""
        lines = []
        for one in done:
            found = one.found
            line: Line = (found.path, found.size_bytes, found.modified_ns, from_ms, one.points_count, one.newest_ms)
            lines.append(msgspec.json.encode(line) + b"\n")
            self._keep(found, from_ms, one.newest_ms)
        if lines:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def _keep(self, found: Found, from_ms: int, newest_ms: int) -> None:
        key = _path_key(found.path)
        sent_from_ms, sent_until_ms = from_ms, newest_ms
        before = self._sent_by_path.get(key)
        if before is not None and from_ms <= before.sent_until_ms:  # Else there is a gap, and the newer part counts.
            sent_from_ms, sent_until_ms = min(from_ms, before.sent_from_ms), max(newest_ms, before.sent_until_ms)
        self._sent_by_path[key] = _Sent(_version(found), from_ms, sent_from_ms, sent_until_ms)

    def _load(self) -> None:
        self._file.seek(0)
        ends_whole = True
        for line in self._file:
            ends_whole = line.endswith(b"\n")
            try:
                path, size_bytes, modified_ns, from_ms, _, newest_ms = msgspec.json.decode(line, type=Line)
            except msgspec.DecodeError:
                continue
            self._keep(Found(path, size_bytes, modified_ns), from_ms, newest_ms)
        if not ends_whole:
            self._file.write(b"\n")


def _path_key(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "little")


def _version(found: Found) -> int:
    return hash((found.size_bytes, found.modified_ns))
