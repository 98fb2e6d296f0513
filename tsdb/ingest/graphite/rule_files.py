"""The folder of carbon's rule files: read when they change; of a bad file, the last good one goes on."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from appliance.metrics import Metrics
from tsdb.carbon.rewriting import Read
from tsdb.carbon.rulebook import READERS, Rulebook

FILE_BYTES_MAX = 4 * 2**20
_ERRORS_SHOWN = 3
_NOTHING = Read({}, {})


@dataclass(slots=True)
class _File:
    read: Read = _NOTHING  # What counts now.
    mark: tuple[int, int, int] | None = None  # Of the file as it was looked at; None: it was not there.
    error: str = ""


class RuleFiles:
    """Not thread-safe. kept: where copies of good files lie, for a start that finds a bad one."""

    def __init__(self, folder: Path, kept: Path, metrics: Metrics, log: logging.Logger) -> None:
        self._folder = folder
        self._kept = kept
        self._log = log
        self._files = {name: _File() for name in READERS}
        self._is_good = metrics.gauge(
            "henge_graphite_rule_file_good",
            "By rule file: 1 if it counts as it is, 0 if an earlier one or a part does.",
        )
        self._rules = metrics.gauge("henge_graphite_rules", "Rules that count, by rule file.")

    def refresh(self) -> Rulebook | None:
        """Look at the files; the rules that count, if anything has changed."""
        changed = [name for name, one in self._files.items() if _mark(self._folder / name) != one.mark]
        for name in changed:
            self._look_at(name, self._files[name])
        if not changed:
            return None
        rules = {key: found for one in self._files.values() for key, found in one.read.rules.items()}
        return Rulebook(**rules)

    def stats(self) -> dict[str, object]:
        return {
            "folder": str(self._folder),
            "files": {
                name: {"rules_count": one.read.rules_count, "error": one.error}
                for name, one in self._files.items()
                if one.mark is not None or one.error
            },
        }

    def _look_at(self, name: str, one: _File) -> None:
        one.mark = _mark(self._folder / name)
        if one.mark is None:
            self._log.info("%s is not there any more: its rules are gone", self._folder / name)
            one.read, one.error = _NOTHING, ""
            with contextlib.suppress(OSError):
                (self._kept / name).unlink()
            self._is_good.remove(file=name)
            self._rules.remove(file=name)
            return
        try:
            text = _text(self._folder / name)
            found = READERS[name](text)
        except (OSError, ValueError) as error:
            text, found = "", Read({}, {0: f"it cannot be read: {error}"})
        if found.errors:
            self._keep_last(name, one, found)
        else:
            one.read, one.error = found, ""
            self._remember(name, text)
            self._log.info("%s: %d rules", self._folder / name, found.rules_count)
        self._is_good.set(int(not one.error), file=name)
        self._rules.set(one.read.rules_count, file=name)

    def _keep_last(self, name: str, one: _File, found: Read) -> None:
        if one.read is _NOTHING:
            one.read = self._remembered(name) or found
        what = (
            "its right lines count" if one.read is found else f"the last good one goes on, {one.read.rules_count} rules"
        )
        wrong = found.complaints
        more = f" and {len(wrong) - _ERRORS_SHOWN} more" if len(wrong) > _ERRORS_SHOWN else ""
        one.error = f"{'; '.join(wrong[:_ERRORS_SHOWN])}{more}; {what}"
        self._log.error("%s: %s", self._folder / name, one.error)

    def _remember(self, name: str, text: str) -> None:
        try:
            self._kept.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self._kept / f"{name}.draft"
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._kept / name)
        except OSError as error:
            self._log.warning("no copy of %s could be kept for a later start: %s", name, error)

    def _remembered(self, name: str) -> Read | None:
        try:
            found = READERS[name](_text(self._kept / name))
        except (OSError, ValueError):
            return None
        return None if found.errors else found


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What differs when a file was written anew."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _text(path: Path) -> str:
    """Raises: OSError, ValueError."""
    with path.open("rb") as stream:
        content = stream.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"it has more than {FILE_BYTES_MAX:,} bytes")
    return content.decode("utf-8-sig")
