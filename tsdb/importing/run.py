"""One import of a whisper tree: every file read, sent, noted as done; then counted by query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tsdb.errors import RefusedSample
from tsdb.importing import tree, whisper
from tsdb.importing.journal import Journal
from tsdb.importing.transfer import Transfer
from tsdb.importing.tree import Found, Wanted
from tsdb.importing.whisper import BadFile, History
from tsdb.ingest.graphite.names import canonical_of
from tsdb.sample import Int64s, Labels, Matcher, MatchOp, Selection, labels_of

BUCKET_MS_MAX = 86_400_000  # Beyond the longest rollup that anybody keeps beside an hour.
BAD_FILES_LISTED_COUNT = 1_000  # The rest is counted.
Step = Callable[[int], None]
"""Told the bytes of each file when it is through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The files of a tree and which of their points are meant.

    rolled_before_ms: older points that were sent before may be in rollups by now; sent again they would count twice.
    """

    root: Path
    wanted: Wanted
    from_ms: int
    now_ms: int
    rolled_before_ms: int = 0


@dataclass(slots=True)
class Tally:
    """What was found. bad: (path, why), the first of them."""

    files_count: int = 0
    done_before_count: int = 0
    points_count: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str]] = field(default_factory=list)
    bad_count: int = 0

    def note(self, history: History) -> None:
        self.files_count += 1
        self.points_count += history.value.size
        self.left_out.update(history.left_out)
        if history.value.size:
            first_ms, last_ms = int(history.timestamp_ms[0]), int(history.timestamp_ms[-1])
            self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
            self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)

    def set_aside(self, path: str, why: str) -> None:
        self.bad_count += 1
        if len(self.bad) < BAD_FILES_LISTED_COUNT:
            self.bad.append((path, why))


@dataclass(slots=True)
class Counted:
    """What queries found of the points of some files. missing: (name, points that are not there), the first of them."""

    files_count: int = 0
    points_count: int = 0
    missing_count: int = 0
    missing: list[tuple[str, int]] = field(default_factory=list)


class Series(Protocol):
    """What tsdb.client.TsdbClient is for counting."""

    def select(self, matchers: list[Matcher], start_ms: int, end_ms: int) -> Selection: ...


def named(source: Source, tally: Tally) -> Iterator[tuple[Found, str]]:
    """The files that are wanted, with the names of their series."""
    for one in tree.files(source.root):
        if not isinstance(one, Found):
            tally.set_aside(*one)
            continue
        try:
            name = source.wanted.name(one.path)
            if name is None:
                continue
            canonical_of.exact(name)  # What cannot be stored is told here, with its file.
        except (BadFile, RefusedSample) as error:
            tally.set_aside(one.path, str(error))
            continue
        yield one, name


def histories(
    source: Source, tally: Tally, step: Step, journal: Journal | None
) -> Iterator[tuple[Found, str, History]]:
    """The points of every wanted file that is not done. tally: grows with each."""
    for found, name in named(source, tally):
        if journal is not None and journal.has(found, source.from_ms):
            tally.done_before_count += 1
        else:
            try:
                history = whisper.read(tree.content(source.root, found), from_ms=source.from_ms, now_ms=source.now_ms)
            except BadFile as error:
                tally.set_aside(found.path, str(error))
            else:
                sent_ms = None if journal is None else journal.sent_ms(found)
                history = history if sent_ms is None else _without_sent(history, sent_ms, source.rolled_before_ms)
                tally.note(history)
                yield found, name, history
        step(found.size_bytes)


def _without_sent(history: History, sent_ms: tuple[int, int], rolled_before_ms: int) -> History:
    time_ms = history.timestamp_ms
    is_sent = (time_ms >= sent_ms[0]) & (time_ms <= sent_ms[1]) & (time_ms < rolled_before_ms)
    sent_count = int(np.count_nonzero(is_sent))
    return History(time_ms[~is_sent], history.value[~is_sent], history.left_out | {"sent_before": sent_count})


def send(source: Source, tally: Tally, step: Step, journal: Journal, transfer: Transfer) -> None:
    """Raises: TsdbError, when the appliance takes no more; what it took is noted."""
    for found, name, history in histories(source, tally, step, journal):
        transfer.put(found, name, history)
    transfer.finish()


def count(source: Source, client: Series, step: Step, journal: Journal, every: int) -> Counted:
    """Read one of so many files of the tree again, of those that are done, and ask for the times of its points."""
    counted, files_count = Counted(), 0
    for found, name in named(source, Tally()):
        step(found.size_bytes)
        if not journal.has(found, source.from_ms):
            continue
        files_count += 1
        if (files_count - 1) % every:
            continue
        try:
            history = whisper.read(tree.content(source.root, found), from_ms=source.from_ms, now_ms=source.now_ms)
        except BadFile:
            continue  # Changed in this moment; it is not done then.
        _count(counted, name, history, client)
    return counted


def _count(counted: Counted, name: str, history: History, client: Series) -> None:
    counted.files_count += 1
    counted.points_count += history.value.size
    if not history.value.size:
        return
    labels = labels_of(canonical_of.exact(name))
    last_ms = int(history.timestamp_ms[-1]) + BUCKET_MS_MAX  # Where the bucket of the last point may end.
    found = client.select(_matchers(labels), int(history.timestamp_ms[0]), last_ms)
    at = next((at for at, one in enumerate(found.labels) if tuple(one) == tuple(labels)), None)
    there = np.empty(0, np.int64) if at is None else found.timestamp_ms[found.offsets[at] : found.offsets[at + 1]]
    missing_count = history.value.size - int(np.count_nonzero(_is_there(history.timestamp_ms, found, there)))
    if missing_count:
        counted.missing_count += missing_count
        if len(counted.missing) < BAD_FILES_LISTED_COUNT:
            counted.missing.append((name, missing_count))


def _is_there(timestamp_ms: Int64s, found: Selection, there: Int64s) -> npt.NDArray[np.bool_]:
    """Of each point, whether a sample of its time was found; where rollups may stand, a bucket that it lies in."""
    is_there = np.isin(timestamp_ms, there)
    if found.resolution_ms and there.size:
        following = there[np.minimum(np.searchsorted(there, timestamp_ms), there.size - 1)]
        is_in_bucket = (following >= timestamp_ms) & (following < timestamp_ms + found.resolution_ms)
        is_there |= is_in_bucket & (timestamp_ms < found.raw_from_ms)
    return is_there


def _matchers(labels: Labels) -> list[Matcher]:
    return [Matcher(name, MatchOp.EQUAL, value) for name, value in labels]
