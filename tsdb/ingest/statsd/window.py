"""What came since the last flush, by name; and what statsd keeps beyond it: gauges, and names that fell silent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tsdb.ingest.decoded import Refusals
from tsdb.ingest.statsd.columns import Metrics
from tsdb.ingest.statsd.exact import COUNTER, GAUGE, SET, TIMER, name_of
from tsdb.ingest.statsd.rules import Rules
from tsdb.sample import Float64s, Int64s

Bools = npt.NDArray[np.bool_]

# Counters that stay when idle ones are deleted: statsd looks for these words anywhere in a name.
_KEPT = ("packets_received", "metrics_received", "bad_lines_seen")
_TABLE_SIZE_MIN = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLimits:
    """The bounds of what senders may make us keep."""

    # About 250 B each with the name as text, as it came and by kind: 250 MB.
    names_count_max: int = 1_000_000
    # Of one window, at 16 B and some copies of them while they are sorted: 600 MB at worst.
    timer_values_count_max: int = 10_000_000
    # Of one window, at about 100 B.
    set_members_count_max: int = 2_000_000


TOO_MANY_NAMES, TOO_MANY_VALUES, TOO_MANY_MEMBERS = "too_many_names", "too_many_timer_values", "too_many_set_members"


class Window:
    """Not thread-safe: its owner holds a lock.

    Invariant: the arrays are as long as each other, and entry i is of the name names[i]; is_kind[kind][i] says whether
    there is such a metric of that kind. One name may be of several kinds.
    """

    def __init__(self, rules: Rules, limits: WindowLimits | None = None) -> None:
        self.rules = rules
        self.limits = limits or WindowLimits()
        self.names: list[str] = []
        self._id_by_name: dict[str, int] = {}
        self._id_by_raw: dict[str, int] = {}
        self.is_kind = np.zeros((4, _TABLE_SIZE_MIN), np.bool_)
        self.counter = np.zeros(_TABLE_SIZE_MIN)
        self.gauge = np.zeros(_TABLE_SIZE_MIN)
        self.gauge_ttl = np.zeros(_TABLE_SIZE_MIN)  # NaN for one that is never deleted.
        self.timer_count = np.zeros(_TABLE_SIZE_MIN)  # Of values sent or not: each counts one over its sample rate.
        self._is_kept = np.zeros(_TABLE_SIZE_MIN, np.bool_)
        self._timer_ids: list[Int64s] = []
        self._timer_values: list[Float64s] = []
        self._timer_values_count = 0
        self._members: list[pl.DataFrame] = []
        self._members_count = 0
        for word in ("bad_lines_seen", "packets_received", "metrics_received"):
            self.count(word, 0)

    # What comes in.

    def take(self, metrics: Metrics, packets_count: int) -> None:
        """Take a batch in; what is over a limit is told to its refusals."""
        self.count("packets_received", packets_count)
        self.count("metrics_received", metrics.lines_count)
        self.count("bad_lines_seen", metrics.bad_count)
        if not len(metrics):
            return
        ids = self._ids_of(metrics.raw)
        if (lost_count := int(np.count_nonzero(ids < 0))) > 0:
            self._refuse(metrics.refusals, TOO_MANY_NAMES, lost_count, "names", self.limits.names_count_max)
        for kind, take in ((COUNTER, self._counters), (GAUGE, self._gauges), (TIMER, self._timers), (SET, self._sets)):
            rows = np.flatnonzero((metrics.kind == kind) & (ids >= 0))
            if rows.size:
                self.is_kind[kind, ids[rows]] = True
                take(ids[rows], metrics, rows)

    def count(self, word: str, count: int) -> None:
        """Add to one of statsd's own counters."""
        place = self._id_of_name(f"{self.rules.prefix_stats}.{word}")
        self.is_kind[COUNTER, place] = True
        self.counter[place] += count

    def set_gauge(self, word: str, value: float) -> None:
        """Set one of statsd's own gauges, which is never deleted."""
        place = self._id_of_name(f"{self.rules.prefix_stats}.{word}")
        self.is_kind[GAUGE, place] = True
        self.gauge[place] = value
        self.gauge_ttl[place] = np.nan

    def _counters(self, ids: Int64s, metrics: Metrics, rows: Int64s) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            values = metrics.value[rows] * metrics.factor[rows]
            if np.isfinite(values).all() and np.isfinite(self.counter[ids]).all():
                np.add.at(self.counter, ids, values)  # In the order of the rows, so that the last bit agrees.
                return
        for place, value in zip(ids.tolist(), values.tolist(), strict=True):
            before = self.counter[place]
            self.counter[place] = value if np.isnan(before) else before + value  # To statsd, NaN is no counter.

    def _gauges(self, ids: Int64s, metrics: Metrics, rows: Int64s) -> None:
        if self.rules.delete_gauges:
            self.gauge_ttl[ids] = self.rules.gauges_ttl_max
        values, is_delta = metrics.value[rows], metrics.is_delta[rows]
        if not is_delta.any():
            self.gauge[ids] = values  # Of several, numpy keeps the last.
            return
        if not np.isfinite(values).all():
            for place, value, adds in zip(ids.tolist(), values.tolist(), is_delta.tolist(), strict=True):
                before = self.gauge[place]
                self.gauge[place] = before + value if adds and before and not np.isnan(before) else value
            return
        order = np.arange(ids.size)
        last_set = np.full(len(self.names), -1)
        last_set[ids[~is_delta]] = order[~is_delta]
        self.gauge[ids[~is_delta]] = values[~is_delta]
        adds = is_delta & (order > last_set[ids])
        np.add.at(self.gauge, ids[adds], values[adds])

    def _timers(self, ids: Int64s, metrics: Metrics, rows: Int64s) -> None:
        room = self.limits.timer_values_count_max - self._timer_values_count
        if rows.size > room:
            limit = self.limits.timer_values_count_max
            self._refuse(metrics.refusals, TOO_MANY_VALUES, rows.size - room, "values of timers a flush", limit)
            ids, rows = ids[:room], rows[:room]
        np.add.at(self.timer_count, ids, metrics.factor[rows])
        self._timer_ids.append(ids)
        self._timer_values.append(metrics.value[rows])
        self._timer_values_count += rows.size

    def _sets(self, ids: Int64s, metrics: Metrics, rows: Int64s) -> None:
        assert metrics.text is not None, "members of sets come with their text"
        frame = pl.DataFrame({"id": ids, "member": metrics.text.gather(pl.Series(rows))}).unique()
        room = self.limits.set_members_count_max - self._members_count
        if frame.height > room:
            self._members = [self._distinct_members()]
            self._members_count = self._members[0].height
            room = self.limits.set_members_count_max - self._members_count
        if frame.height > room:
            limit = self.limits.set_members_count_max
            self._refuse(metrics.refusals, TOO_MANY_MEMBERS, frame.height - room, "members of sets a flush", limit)
            frame = frame.head(room)
        self._members.append(frame)
        self._members_count += frame.height

    def _refuse(self, refusals: Refusals, reason: str, count: int, what: str, limit: int) -> None:
        refusals.add(reason, count=count, message=f"more than {limit:,} {what}; send fewer, or to several appliances")

    # Names.

    def _ids_of(self, raw: pl.Series) -> Int64s:
        """The place of each name, -1 for those over the limit. Senders repeat themselves: each name is read once."""
        found = raw.unique(maintain_order=True)  # Who comes first gets a place.
        places = np.fromiter(map(self._id_of_raw, found.to_list()), np.int64, len(found))
        return raw.replace_strict(found, pl.Series(places), return_dtype=pl.Int64).to_numpy()

    def _id_of_raw(self, raw: str) -> int:
        place = self._id_by_raw.get(raw)
        if place is None:
            place = self._id_of_name(name_of(raw, dogstatsd=self.rules.dogstatsd))
            if len(self._id_by_raw) >= 2 * self.limits.names_count_max:
                self._id_by_raw.clear()
            if place >= 0:
                self._id_by_raw[raw] = place
        return place

    def _id_of_name(self, name: str) -> int:
        place = self._id_by_name.get(name)
        if place is not None:
            return place
        place = len(self.names)
        if place >= self.limits.names_count_max:
            return -1
        if place == self.counter.size:
            self._resize(np.arange(place), 2 * place)
        self.names.append(name)
        self._id_by_name[name] = place
        self._is_kept[place] = any(word in name for word in _KEPT)
        return place

    # What goes out.

    def timer_values(self) -> tuple[Int64s, Float64s]:
        """The place of the name, and the value, of all that came in this window."""
        if not self._timer_ids:
            return np.empty(0, np.int64), np.empty(0)
        return np.concatenate(self._timer_ids), np.concatenate(self._timer_values)

    def members_count(self) -> Float64s:
        """Of each name, how many different members its set has."""
        frame = self._distinct_members()
        return np.bincount(frame["id"].to_numpy(), minlength=self.counter.size).astype(np.float64)

    def reset(self) -> None:
        """After a flush: counters to 0, timers and sets empty, or forgotten where the rules delete idle ones."""
        rules = self.rules
        self.counter[:] = 0
        self.timer_count[:] = 0
        self._timer_ids, self._timer_values, self._timer_values_count = [], [], 0
        self._members, self._members_count = [], 0
        if rules.delete_counters:
            self.is_kind[COUNTER] &= self._is_kept
        if rules.delete_timers:
            self.is_kind[TIMER] = False
        if rules.delete_sets:
            self.is_kind[SET] = False
        if rules.delete_gauges:
            self.gauge_ttl -= 1
            self.is_kind[GAUGE] &= ~(self.gauge_ttl < 1)
        self.gauge[~self.is_kind[GAUGE]] = 0
        live = np.flatnonzero(self.is_kind[:, : len(self.names)].any(axis=0))
        if len(self.names) > 2 * live.size + _TABLE_SIZE_MIN:
            self._forget_others(live)

    def delete(self, kind: int, wanted: str) -> list[str]:
        """Forget the metric of this kind and name, or with `.*` at the end all below; the names of those."""
        ids = np.flatnonzero(self.is_kind[kind])
        folder = wanted[:-1] if wanted.endswith(".*") else None
        found = [
            place
            for place in ids.tolist()
            if self.names[place] == wanted or (folder is not None and self.names[place].startswith(folder))
        ]
        self.is_kind[kind, found] = False
        if kind == COUNTER:
            self.counter[found] = 0
        elif kind == GAUGE:
            self.gauge[found] = 0
        elif kind == TIMER:
            self.timer_count[found] = 0
            timer_ids, values = self.timer_values()
            stay = ~np.isin(timer_ids, found)
            self._timer_ids, self._timer_values = [timer_ids[stay]], [values[stay]]
            self._timer_values_count = int(np.count_nonzero(stay))
        return [self.names[place] for place in found]

    def _forget_others(self, live: Int64s) -> None:
        names = [self.names[place] for place in live.tolist()]
        self._resize(live, max(_TABLE_SIZE_MIN, 2 * live.size))
        self.names = names
        self._id_by_name = {name: place for place, name in enumerate(names)}
        self._id_by_raw.clear()

    def _resize(self, kept: Int64s, size: int) -> None:
        """Tables of another size, which begin with the kept entries."""
        assert size >= kept.size, (size, kept.size)

        def moved(table: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
            new = np.zeros((*table.shape[:-1], size), table.dtype)
            new[..., : kept.size] = table[..., kept]
            return new

        for name in ("is_kind", "counter", "gauge", "gauge_ttl", "timer_count", "_is_kept"):
            setattr(self, name, moved(getattr(self, name)))

    def _distinct_members(self) -> pl.DataFrame:
        if not self._members:
            return pl.DataFrame(schema={"id": pl.Int64, "member": pl.String})
        return self._members[0] if len(self._members) == 1 else pl.concat(self._members).unique()
