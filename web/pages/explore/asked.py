"""What the address of Explore asks for: expressions, view, time and step. All state of the page is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlencode

from flask import request

from appliance.units import duration_ms, duration_text
from web.api.chart import POINT_COUNT_MAX, STEP_MS_MIN, step_of
from web.pages.ranges import RANGES_MS, asked_range

ROW_COUNT_MAX = 8  # Each expression has a colour of its own, and there are as many.
LETTERS = "ABCDEFGH"
assert len(LETTERS) == ROW_COUNT_MAX
CHANGE = re.compile(r"(on|off|remove)-([1-8])")


class View(StrEnum):
    """Over time: a chart of the range. At one time: a table of the values at its end."""

    CHART = "chart"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Expression:
    """One row of the form; the index is its colour, and its letter as well."""

    index: int
    text: str
    is_off: bool  # Kept in its row, but not evaluated.

    @property
    def letter(self) -> str:
        return LETTERS[self.index]

    @property
    def number(self) -> int:
        """As the address counts rows: from 1."""
        return self.index + 1

    @property
    def is_asked(self) -> bool:
        return bool(self.text) and not self.is_off


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    rows: list[Expression]  # At least one.
    view: View
    range_name: str  # Of RANGES_MS; what a page without a fixed time shows.
    is_fixed: bool  # From and until were given.
    start_ms: int
    end_ms: int
    step_ms: int
    step_text: str  # As it was given; empty: a step that suits the range.
    problem: str  # What is wrong with the step.

    @property
    def expressions(self) -> list[str]:
        """What is written in the rows, also in those that are switched off."""
        return [row.text for row in self.rows if row.text]

    @property
    def is_several(self) -> bool:
        return len(self.rows) > 1

    @property
    def grid_ms(self) -> tuple[int, int, int]:
        """Start, end and step, with both ends on multiples of the step."""
        step_ms = self.step_ms
        return self.start_ms // step_ms * step_ms, self.end_ms // step_ms * step_ms, step_ms

    def url(self, **changes: str) -> str:
        """This page with some arguments changed; an empty one is left out. Equal pages have equal addresses."""
        return self._url_of([(row.text, row.is_off) for row in self.rows if row.text], changes)

    @property
    def share_url(self) -> str:
        """This page with the very times and step that it shows now, so that it shows the same tomorrow."""
        start_ms, end_ms = self.start_ms // 1_000 * 1_000, -(-self.end_ms // 1_000) * 1_000
        times = {"from": field_time(start_ms), "until": field_time(end_ms)}
        return self.url(range="", step=duration_text(self.step_ms), **times)

    def changed_url(self, change: str) -> str:
        """This page after `add`, or `on-N`, `off-N` or `remove-N` for row N; any other word changes nothing."""
        rows = [(row.text, row.is_off) for row in self.rows]
        if change == "add":
            rows = [*rows, ("", False)][:ROW_COUNT_MAX]
        elif (found := CHANGE.fullmatch(change)) and (index := int(found[2]) - 1) < len(rows):
            if found[1] == "remove":
                del rows[index]
            else:
                rows[index] = rows[index][0], found[1] == "off"
        return self._url_of(rows, {})

    def _url_of(self, rows: list[tuple[str, bool]], changes: dict[str, str]) -> str:
        arguments = {
            "view": "" if self.view is View.CHART else self.view.value,
            "range": "" if self.is_fixed else self.range_name,
            "from": field_time(self.start_ms) if self.is_fixed else "",
            "until": field_time(self.end_ms) if self.is_fixed else "",
            "step": self.step_text,
        } | changes
        pairs = [("expression", text) for text, _ in rows]
        pairs += [("off", str(number)) for number, (_, is_off) in enumerate(rows, 1) if is_off]
        return "/explore?" + urlencode([*pairs, *((name, text) for name, text in arguments.items() if text)])


def asked_of_request(now_ms: int) -> Asked:
    range_name = asked_range("1h")
    fixed = _fixed_range()
    now_ms = now_ms // 1_000 * 1_000  # The fields of a form know seconds: so a link to share holds the very time.
    start_ms, end_ms = fixed or (now_ms - RANGES_MS[range_name], now_ms)
    step_text = request.args.get("step", "").strip()
    step_ms, problem = _step(step_text, start_ms, end_ms)
    return Asked(
        rows=_rows(),
        view=View.TABLE if request.args.get("view") == View.TABLE else View.CHART,
        range_name=range_name,
        is_fixed=fixed is not None,
        start_ms=start_ms,
        end_ms=end_ms,
        step_ms=step_ms,
        step_text=step_text,
        problem=problem,
    )


def _rows() -> list[Expression]:
    """`?expression=&expression=&off=2`: the second one is switched off. What is beyond the bound is left out."""
    texts = request.args.getlist("expression")[:ROW_COUNT_MAX] or [""]
    off = set(request.args.getlist("off"))
    return [
        Expression(index, text.replace("\r\n", "\n").strip(), str(index + 1) in off) for index, text in enumerate(texts)
    ]


def field_time(at_ms: int) -> str:
    """A time as a field of the form holds it: UTC, to the second where that is not 0."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S").removesuffix(":00")


def _fixed_range() -> tuple[int, int] | None:
    """From and until as the form's fields send them, in UTC; None when they are not both there and in order."""
    try:
        moments = [datetime.fromisoformat(request.args[name]) for name in ("from", "until")]
    except (KeyError, ValueError):
        return None
    start_ms, end_ms = (
        round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000) for moment in moments
    )
    return (start_ms, end_ms) if 0 <= start_ms < end_ms else None


def _step(text: str, start_ms: int, end_ms: int) -> tuple[int, str]:
    """The step that was asked for → (milliseconds, what is wrong with it)."""
    suitable_ms = step_of(start_ms, end_ms)
    if not text:
        return suitable_ms, ""
    try:
        found_ms = duration_ms(text) or 0
    except ValueError as error:
        return suitable_ms, f"step: {error}"
    if found_ms < STEP_MS_MIN:
        return suitable_ms, f"step: {text!r} is shorter than {duration_text(STEP_MS_MIN)}, the shortest"
    if (end_ms - start_ms) // found_ms > POINT_COUNT_MAX:
        points = (end_ms - start_ms) // found_ms
        return suitable_ms, (
            f"step: {text!r} makes {points:,} points a series of at most {POINT_COUNT_MAX:,}; "
            f"choose a longer step, or a shorter range"
        )
    return found_ms, ""
