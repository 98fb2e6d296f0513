"""Which new series may come in: in all, of one team, and in one minute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tsdb.canonical import CanonicalColumn
from tsdb.interface import SERIES_REFUSALS
from tsdb.sample import SEPARATOR, Int32s

TEAM_LABEL = "team"
# After a start all senders register again what they sent before; so long nobody can say which series is new.
NEW_SERIES_GRACE_S = 300.0
_MINUTE_S = 60.0

ADMITTED = 0
OVER_COUNT, OVER_TEAM, OVER_RATE = SERIES_REFUSALS


class SeriesLimits:
    """The store's limits on series, and what it has let in. The engine's lock is held for every call.

    None is no limit. Series without the label `team` are of no team, and count in all only.
    """

    def __init__(
        self,
        *,
        series_count_max: int,
        series_per_team_max: int | None,
        new_series_per_minute_max: int | None,
        started_s: float,
    ) -> None:
        self._series_count_max = series_count_max
        self._series_per_team_max = series_per_team_max
        self._new_series_per_minute_max = new_series_per_minute_max
        self._started_s = started_s
        self.active_count = 0
        self._active_count_by_team: dict[bytes, int] = {}
        self._minute = -1
        self._new_count = 0

    def count_anew(self, active_count: int, active_count_by_team: Mapping[bytes, int]) -> None:
        """What a census found; what is let in after it is added."""
        self.active_count = active_count
        self._active_count_by_team = dict(active_count_by_team)

    @property
    def counts_teams(self) -> bool:
        return self._series_per_team_max is not None

    def admit(self, new: Sequence[bytes], now_s: float) -> Int32s:
        """ADMITTED or the code of a refusal for each of some new series, given as canonical bytes, distinct."""
        verdicts = np.full(len(new), ADMITTED, np.int32)
        places_by_team = _places_by_team(CanonicalColumn.of(new)) if self.counts_teams and len(new) else {}
        for team, places in places_by_team.items():
            verdicts[places[self._room_of(team) :]] = OVER_TEAM
        left = np.flatnonzero(verdicts == ADMITTED)
        if self._new_series_per_minute_max is not None and now_s - self._started_s >= NEW_SERIES_GRACE_S:
            if self._minute != (minute := int(now_s // _MINUTE_S)):
                self._minute, self._new_count = minute, 0
            room = max(0, self._new_series_per_minute_max - self._new_count)
            verdicts[left[room:]] = OVER_RATE
            left = left[:room]
            self._new_count += left.size
        room = max(0, self._series_count_max - self.active_count)
        verdicts[left[room:]] = OVER_COUNT
        self.active_count += left[:room].size
        for team, places in places_by_team.items():
            admitted_count = int(np.count_nonzero(verdicts[places] == ADMITTED))
            self._active_count_by_team[team] = self._active_count_by_team.get(team, 0) + admitted_count
        return verdicts

    def _room_of(self, team: bytes) -> int:
        assert self._series_per_team_max is not None
        return max(0, self._series_per_team_max - self._active_count_by_team.get(team, 0))

    def words_of(self, reasons: Iterable[str]) -> dict[str, str]:
        """Of those reasons that are limits on series: the limit, its value and its setting, and the way out."""
        return {reason: self._words(reason) for reason in reasons if reason in SERIES_REFUSALS.values()}

    def _words(self, reason: str) -> str:
        if reason == SERIES_REFUSALS[OVER_TEAM]:
            return (
                f"a team may have {self._series_per_team_max:,} active series (store.series_per_team_max); "
                f"send fewer distinct label sets with this label team, or raise the setting"
            )
        if reason == SERIES_REFUSALS[OVER_RATE]:
            return (
                f"{self._new_series_per_minute_max:,} series may be new in a minute (store.new_series_per_minute_max); "
                f"they are taken later if they are sent again, or raise the setting"
            )
        return (
            f"{self._series_count_max:,} series may be active (store.series_count_max); "
            f"send fewer distinct label sets, or raise the setting"
        )


def _places_by_team(new: CanonicalColumn) -> dict[bytes, npt.NDArray[np.int64]]:
    wanted = TEAM_LABEL.encode()
    ends = np.flatnonzero(new.text == SEPARATOR[0])  # Of a name, of its value, of a name …
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
    found = np.flatnonzero(ends[::2] - starts[::2] == len(wanted))
    for at, byte in enumerate(wanted):
        found = found[new.text[starts[2 * found] + at] == byte]
    series = np.searchsorted(new.ends, starts[2 * found], side="right")
    places: dict[bytes, list[int]] = {}
    for place, start, end in zip(
        series.tolist(), starts[2 * found + 1].tolist(), ends[2 * found + 1].tolist(), strict=True
    ):
        places.setdefault(new.text[start:end].tobytes(), []).append(place)
    return {team: np.array(found, np.int64) for team, found in places.items()}
