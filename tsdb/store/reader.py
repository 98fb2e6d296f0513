"""Reading sealed blocks, in any process: series known by key, tables and some decoded tiles kept for a while.

The engine's process says which blocks there are and what the head has (a snapshot); a BlockReader does the rest.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from tsdb.errors import CorruptData, NotReady
from tsdb.interface import Aggregate, Bounds, Condense, Grain
from tsdb.sample import RAW_ALONE_MS, Int32s, Int64s, Labels, Matcher, Selection
from tsdb.store.block.file import BlockFile
from tsdb.store.block.layout import BlockName
from tsdb.store.buckets import as_read
from tsdb.store.columns import Rows, merged
from tsdb.store.condensed import Asked, Condenser, spans_of
from tsdb.store.disk import Disk, OsDisk, ReadFile
from tsdb.store.even import joined_evenly
from tsdb.store.headpart import HeadPart, HeadSeries
from tsdb.store.index import SeriesIndex
from tsdb.store.labels import LabelColumn
from tsdb.store.open_block import Known, OpenBlock, Wanted, are_in
from tsdb.store.paths import Found, Glob
from tsdb.store.pieces import Part, joined
from tsdb.store.tiers import Answer, RolledBlock, aggregates_of, assemble, read_from_ms
from tsdb.store.tiles import BlockPart, DamagedTiles, TileCache, read_part
from tsdb.store.tombstones import Mask, Tombstone

log = logging.getLogger(__name__)

# Rows of all open blocks together: × 24 B of tables = 192 MiB. What is over it is opened again when it is needed.
_OPEN_ROWS_MAX = 8 << 20
# Series that are in no open block any more are kept, for their ids are in use; over so many, and over half of all, the
# reader begins anew.
_GONE_SERIES_MAX = 500_000
# A selection of more samples than this, of all its blocks, would push everything else out of the cache of tiles, and
# its own beginning with its end, so it goes by: 6 Mi × 8 B, where times are shared, are three quarters of it.
_CACHED_SAMPLES_PER_SELECTION_MAX = 6 << 20
# A block may hold billions of samples and a query want one hour of them: their times are decoded and clipped in pieces
# of 4 Mi × 8 B.
_PIECE_SAMPLES = 1 << 22
# The directory and the trailer of a block, and a bit of what is before them.
_END_BYTES = 512


class BlockGone(NotReady):
    """A block of the snapshot is no longer there, because a larger one took its place: take a new snapshot."""

    code = "block_gone"


class BlockReader:
    """Selections from named blocks of a folder, joined with the head's part. Safe for threads.

    folder: the data folder of the store (its blocks lie in `blocks/`).
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None, cache_bytes_max: int = 64 << 20) -> None:
        self._folder = folder / "blocks"
        self._disk = OsDisk() if disk is None else disk
        self._known = Known()  # Whoever selects takes it together with the blocks: another may take its place.
        self._open: OrderedDict[str, OpenBlock | None] = OrderedDict()
        self._met: AbstractSet[int] = frozenset()  # The tokens of the store's indexes in the last snapshot.
        self._cache = TileCache(cache_bytes_max)
        self._lock = threading.Lock()
        self._damage: Counter[str] = Counter()  # by block, since somebody asked last: what could not be read
        self._damage_lock = threading.Lock()

    def select(
        self,
        names: Iterable[str],
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        heads: Sequence[HeadPart] = (),
        grain: Grain | None = None,
        tombstones: Sequence[Tombstone] = (),
        *,
        bounds: Bounds | None = None,
    ) -> Selection:
        """The samples of the named blocks and of the heads' parts; see tsdb.interface.SeriesSource.select.

        tombstones: those that were live when the blocks were named.
        Raises: BlockGone; RefusedQuery, if a regex is wrong; what the bounds and the heads' canonical_of raise.
        """
        names = list(names)
        from_ms = read_from_ms(names, start_ms)
        known, blocks, head_ids = self._opened(names, from_ms, end_ms, [head.series for head in heads])
        wanted = Wanted(known, known.index.match(matchers), blocks, head_ids, from_ms, end_ms)
        mask = known.mask(tombstones)
        of_heads: list[Part] = []
        for head, ids in zip(heads, head_ids, strict=True):
            places = wanted.places_of(ids)
            of_heads += [replace(part, row=places[part.row]) for part in head.parts]
        head_count = sum(int(part.lengths.sum()) for part in of_heads)
        rollups = [block for block in blocks if not block.name.is_raw]
        raw = [block for block in blocks if block.name.is_raw] if rollups else blocks
        condenser = None
        if grain is not None and grain.condense is not None and from_ms == start_ms:
            condenser = self._condenser(grain.condense, (from_ms, end_ms), bounds)
        check = bounds.check if bounds is not None else _go_on
        while True:
            asked = _asked(raw, wanted, condenser, mask, [span for part in of_heads for span in spans_of(part)])
            parts = self._parts(raw, asked, wanted, (from_ms, end_ms), mask, head_count, bounds)
            try:
                is_condensed = any(one.stretches is not None for one in asked)
                if from_ms == start_ms and not is_condensed:
                    even = joined_evenly([*parts, *of_heads], check)
                    if even is not None:
                        return even.selection(known.index, wanted.ids)
                rows = joined([*parts, *of_heads], wanted.ids.size, check)
                if condenser is not None and is_condensed:
                    weight = condenser.weights(rows, asked)
                    if weight is None:  # Digits could be lost, so all samples are looked at.
                        condenser = None
                        continue
                    return replace(_selection(known.index, wanted.ids, rows), weight=weight)
                if from_ms < start_ms:
                    found = self._with_rollups(rollups, wanted, rows, (start_ms, end_ms), grain, mask, bounds)
                else:
                    found = Answer([rows], 0, RAW_ALONE_MS)
            except DamagedTiles:  # They are known now, and left out.
                continue
            selection = _selection(known.index, wanted.ids, merged(found.parts, wanted.ids.size))
            if found.raw_from_ms == RAW_ALONE_MS:
                return selection
            return replace(selection, resolution_ms=found.resolution_ms, raw_from_ms=found.raw_from_ms)

    def series(
        self,
        names: Iterable[str],
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        heads: Sequence[HeadSeries] = (),
        tombstones: Sequence[Tombstone] = (),
    ) -> Sequence[Labels]:
        """The label sets of blocks that overlap the range, and the heads', in order; no sample is read.

        A series may be among them of which a tombstone covers every sample, when it does not cover the whole block."""
        known, blocks, head_ids = self._opened(names, start_ms, end_ms, heads)
        ids = known.index.match(matchers)
        mask = known.mask(tombstones)
        found = [np.empty(0, np.int32), *head_ids]
        for block in blocks:
            place, rows = block.rows_of(ids)
            tier_ms = block.name.tier_ms
            place = place[block.may_have(rows, start_ms - tier_ms, end_ms + tier_ms)]
            found.append(mask.listed(block.file, ids[place], start_ms, end_ms))
        return LabelColumn(known.index, known.order.ordered(np.unique(np.concatenate(found))))

    def label_names(
        self, names: Iterable[str], start_ms: int, end_ms: int, tombstones: Sequence[Tombstone] = ()
    ) -> list[str]:
        """The label names in blocks that overlap the range, in no order."""
        known, blocks, _ = self._opened(names, start_ms, end_ms)
        return known.index.label_names(_ids_in(blocks, known.mask(tombstones), start_ms, end_ms))

    def label_values(
        self,
        name: str,
        names: Iterable[str],
        start_ms: int,
        end_ms: int,
        tombstones: Sequence[Tombstone] = (),
        *,
        has_tags: bool = False,
    ) -> list[str]:
        """The values of a label in blocks that overlap the range, in no order; has_tags: see tsdb.store.names."""
        known, blocks, _ = self._opened(names, start_ms, end_ms)
        among = _ids_in(blocks, known.mask(tombstones), start_ms, end_ms)
        return known.index.label_values(name, known.index.tagged(among) if has_tags else among)

    def find_paths(
        self,
        glob: Glob,
        found: Found,
        names: Iterable[str],
        start_ms: int,
        end_ms: int,
        tombstones: Sequence[Tombstone] = (),
    ) -> None:
        """Add the nodes of the tree of bare names in blocks that overlap the range; see tsdb.store.paths."""
        known, blocks, _ = self._opened(names, start_ms, end_ms)
        if blocks:
            known.index.find_paths(glob, found, partial(are_in, blocks, known.mask(tombstones), start_ms, end_ms))

    def take_damage(self) -> Mapping[str, int]:
        """By block, how many parts of it could not be read since the last call, and so are missing from answers;
        nought: it was not there. The store is to look at them."""
        with self._damage_lock:
            found, self._damage = self._damage, Counter()
        return found

    def note_damage(self, damage: Mapping[str, int]) -> None:
        """Keep what was taken and could not be told."""
        with self._damage_lock:
            self._damage.update(damage)

    def _with_rollups(
        self,
        blocks: Sequence[OpenBlock],
        wanted: Wanted,
        raw: Rows,
        range_ms: tuple[int, int],
        grain: Grain | None,
        mask: Mask,
        bounds: Bounds | None,
    ) -> Answer:
        """The samples that are there, and rollups where they are gone. Raises: as select(), and DamagedTiles."""
        grain = Grain(Aggregate.LAST, 0) if grain is None else grain
        count = raw.value.size

        def rolled(block: OpenBlock) -> RolledBlock:
            tier_ms = block.name.tier_ms

            def read() -> Rows:
                nonlocal count
                stored_ms = (range_ms[0] - tier_ms + 1, range_ms[1] + tier_ms - 1)
                asked = _asked([block], wanted, None, mask, [])
                parts = self._parts([block], asked, wanted, stored_ms, mask, count, bounds)
                rows = joined(parts, wanted.ids.size, bounds.check if bounds is not None else _go_on)
                count += rows.value.size
                return as_read(rows, tier_ms)

            return RolledBlock(block.name, block.file.summary.min_ms, wanted.rows_of(block)[0], read)

        rollups = {
            aggregate: [rolled(block) for block in blocks if block.name.aggregate is aggregate]
            for aggregate in aggregates_of(grain)
        }
        return assemble(rollups, [raw], wanted.ids.size, grain, *range_ms, bounds)

    def _condenser(self, wanted: Condense, range_ms: tuple[int, int], bounds: Bounds | None) -> Condenser:
        check = bounds.check if bounds is not None else _go_on
        return Condenser(wanted, range_ms, self._cache, self._note_damage, check)

    def _parts(
        self,
        blocks: Sequence[OpenBlock],
        asked: Sequence[Asked],
        wanted: Wanted,
        range_ms: tuple[int, int],
        mask: Mask,
        head_count: int,
        bounds: Bounds | None,
    ) -> list[Part]:
        """What each block has in the range and no tombstone covers, in pieces of a bounded size; no value is read yet.

        Raises: what the bounds raise: told first what the blocks that lie wholly in the range will give, for the
        lengths of their rows are known, then what was found in the others.
        """
        sizes = [one.count for one in asked]
        count = head_count
        for block, size in zip(blocks, sizes, strict=True):
            count += size if block.lies_in(*range_ms) else 0
        if bounds is not None:
            bounds.found(count)
        parts: list[Part] = []
        cache = self._cache if sum(sizes) <= _CACHED_SAMPLES_PER_SELECTION_MAX else None
        for block, one in zip(blocks, asked, strict=True):
            note_damage = partial(self._note_damage, block.file.name)
            read: list[BlockPart] = []
            for piece in _pieces(one.starts, one.ends):
                if bounds is not None:
                    bounds.check()
                starts, ends = one.starts[piece], one.ends[piece]
                part = read_part(block.table, one.place[piece], starts, ends, *range_ms, cache, note_damage)
                if part is None:
                    continue
                if bounds is not None and not block.lies_in(*range_ms):
                    count += int(part.lengths.sum())
                    bounds.found(count)
                read.append(mask.cut(block.file.name, wanted.ids, part))
            parts += one.with_stretches(read)
        return parts

    def _opened(
        self, names: Iterable[str], start_ms: int, end_ms: int, heads: Sequence[HeadSeries] = ()
    ) -> tuple[Known, list[OpenBlock], list[Int32s]]:
        """The series, the blocks whose samples overlap the range, and the ids of each head's series."""
        wanted = []
        for text in names:
            name = BlockName.parse(text)
            if name is not None and name.start_ms <= end_ms and name.end_ms + name.tier_ms > start_ms:
                wanted.append(text)
        with self._lock:
            self._begin_anew_if_due()
            self._meet({head.index_token for head in heads})
            known = self._known
            is_new = any(name not in self._open for name in wanted)
            opened = [self._open_block(name) for name in wanted]
            if is_new:
                self._forget_removed()
            known.head_count_max = max(known.head_count_max, sum(head.ids.size for head in heads))
        head_ids = [self._ids_of(known, head) for head in heads]
        blocks = [
            block
            for block in opened
            if block is not None
            and block.file.summary.min_ms <= end_ms
            and block.file.summary.max_ms + block.name.tier_ms >= start_ms
        ]
        return known, blocks, head_ids

    def _ids_of(self, known: Known, head: HeadSeries) -> Int32s:
        ids = known.ids_of(head.index_token, head.ids)
        new = np.flatnonzero(ids < 0)
        if new.size:
            canonical = head.canonical_of(head.ids[new])  # Outside of the lock: it may be another process that knows.
            with self._lock:
                ids[new] = known.learn(head.index_token, head.ids[new], canonical)
        return ids

    def _begin_anew_if_due(self) -> None:
        """Names come and go for as long as the process lives: give back the memory of those that are gone."""
        present_count_max = self._open_rows_count() + self._known.head_count_max
        if len(self._known.index) > 2 * present_count_max + _GONE_SERIES_MAX:
            self._known = Known()
            self._open.clear()

    def _meet(self, index_tokens: AbstractSet[int]) -> None:
        """A store that has started anew may give a block the number, and so the name, of one that is long gone: look
        again whether what is open is what is there."""
        if index_tokens <= self._met:
            return
        self._met = index_tokens
        for name, block in list(self._open.items()):
            if block is None or not self._is_there(name, block.file.file):
                del self._open[name]

    def _is_there(self, name: str, held: ReadFile) -> bool:
        """Whether the file is the one that is held: its end has the checksums of the tables, they those of tiles."""
        length = min(_END_BYTES, held.size_bytes)
        try:
            file = self._disk.open(self._folder / name)
            if file.size_bytes != held.size_bytes:
                return False
            return file.read(file.size_bytes - length, length) == held.read(held.size_bytes - length, length)
        except (FileNotFoundError, CorruptData):
            return False

    def _open_rows_count(self) -> int:
        return sum(block.ids.size for block in self._open.values() if block is not None)

    def _open_block(self, name: str) -> OpenBlock | None:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        block: OpenBlock | None = None
        try:
            block = OpenBlock(BlockFile(self._disk.open(self._folder / name), name), self._known.index)
        except FileNotFoundError as error:
            with self._damage_lock:
                self._damage[name] += 0  # If it was not replaced, the store does not know that it is gone.
            raise BlockGone(f"block {name} is no longer there; take a new snapshot") from error
        except CorruptData as error:
            self._note_damage(name, error)
        self._open[name] = block
        return block

    def _forget_removed(self) -> None:
        """A new block often takes the place of others: give back the files that are gone."""
        there = set(self._disk.names(self._folder))
        for name in [name for name in self._open if name not in there]:
            del self._open[name]
        row_count = self._open_rows_count()
        while row_count > _OPEN_ROWS_MAX and len(self._open) > 1:
            _, dropped = self._open.popitem(last=False)
            row_count -= dropped.ids.size if dropped is not None else 0

    def _note_damage(self, name: str, error: CorruptData) -> None:
        with self._damage_lock:
            is_first = name not in self._damage
            self._damage[name] += 1
        if is_first:  # A file that was cut has ten thousand tiles to complain of.
            log.error("damaged, left out of the answer: %s", error)


def _pieces(starts: Int64s, ends: Int64s) -> list[slice]:
    """Runs of rows with at most _PIECE_SAMPLES samples each, but one row at least."""
    counts = np.cumsum(ends - starts)
    if not starts.size or int(counts[-1]) <= _PIECE_SAMPLES:
        return [slice(0, starts.size)] if starts.size else []
    cuts = np.flatnonzero(np.diff(counts // _PIECE_SAMPLES, prepend=0)).tolist()
    return [slice(start, end) for start, end in pairwise([0, *cuts, starts.size]) if end > start]


def _asked(
    blocks: Sequence[OpenBlock],
    wanted: Wanted,
    condenser: Condenser | None,
    mask: Mask,
    head_spans: Sequence[tuple[int, int]],
) -> list[Asked]:
    """What is read of each block: every sample of the wanted series, or with a condenser one for many."""
    found = []
    rows_of = [wanted.rows_of(block) for block in blocks]
    spans = [(block.file.summary.min_ms, block.file.summary.max_ms) for block in blocks]
    for i, (block, (place, rows)) in enumerate(zip(blocks, rows_of, strict=True)):
        if condenser is None:
            found.append(Asked(place, block.row_offsets[rows], block.row_offsets[rows + 1]))
            continue
        others = [span for j, span in enumerate(spans) if j != i and rows_of[j][1].size]
        taken = [*others, *head_spans, *mask.spans(block.file.name)]
        found.append(condenser.asked(block.table, block.row_offsets, place, rows, taken))
    return found


def _go_on() -> None:
    """Nobody asks whether somebody still waits."""


def _ids_in(blocks: Sequence[OpenBlock], mask: Mask, start_ms: int, end_ms: int) -> Int32s:
    if not blocks:
        return np.empty(0, np.int32)
    listed = [mask.listed(block.file, block.ids_in(start_ms, end_ms), start_ms, end_ms) for block in blocks]
    return np.unique(np.concatenate(listed))


def _selection(index: SeriesIndex, ids: Int32s, rows: Rows) -> Selection:
    """ids: by row."""
    present = ids if rows.row.size == ids.size else ids[rows.row]
    return Selection(
        labels=LabelColumn(index, present), offsets=rows.offsets, times_ms=rows.timestamp_ms, value=rows.value
    )
