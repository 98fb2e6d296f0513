"""The overview: problems first, then every check; searched, filtered and paged by the address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from checks.probes import KINDS
from web import htmx
from web.auth.identity import identity
from web.board import Row, View
from web.draw.heartbeat import bar
from web.draw.sparkline import sparkline
from web.history import Past, past_of
from web.kit import board
from web.pages.numbered import Numbered, numbered
from web.pages.start.views import unfinished
from web.services import services
from web.words import latency

bp = Blueprint("overview", __name__, template_folder="templates")

PROBLEM_COUNT_SHOWN = 20
STATES = ("critical", "warning", "unknown", "ok", "pending", "paused", "late", "downtime")
TILES = ("critical", "warning", "unknown", "ok", "pending", "paused")


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for; empty: everything."""

    words: str = ""
    state: str = ""
    kind: str = ""

    def admit(self, row: Row, quiet: set[str]) -> bool:
        if self.kind and row.check.kind != self.kind:
            return False
        if self.state == "late":
            is_state = row.latest is not None and row.latest.late
        elif self.state == "downtime":
            is_state = row.id in quiet
        else:
            is_state = not self.state or row.shown_state == self.state
        return is_state and (not self.words or row.matches(self.words))


@bp.get("/")
def overview() -> Response:
    """The whole page, or for a poll its live part: nothing at all while the state is of the same revision."""
    view = board().view()
    etag = f"{view.revision}-{services().clock.now_ms() // 60_000 if view.downtimes else 0}"
    if (same := htmx.unchanged(etag)) is not None:
        return same
    response = htmx.page_or_partial("overview/page.html", "overview/_live.html", etag=etag, **_content(view))
    response.set_etag(etag)
    return response


def _content(view: View) -> dict[str, Any]:
    now_ms = services().clock.now_ms()
    rows = view.sorted_rows(identity().team)
    quiet = {row.id for row in rows if view.is_quiet(row, now_ms)} if view.downtimes else set()
    filters = Filters(*(request.args.get(name, "") for name in ("q", "state", "kind")))
    found = [row for row in rows if filters.admit(row, quiet)]
    page: Numbered[Row] = numbered(found, path="/")
    past = past_of(services(), page.items, now_ms)
    problems = [row for row in rows if row.is_problem and row.id not in quiet]
    return {
        "section": "overview",
        "unfinished": unfinished(),
        "now_ms": now_ms,
        "check_count": len(rows),
        "counts": _counts(rows, quiet),
        "tiles": TILES,
        "states": STATES,
        "kinds": sorted(
            {row.check.kind for row in rows}
            | ({request.args["kind"]} & set(KINDS) if request.args.get("kind") else set())
        ),
        "problems": problems[:PROBLEM_COUNT_SHOWN],
        "problem_count": len(problems),
        "page": page,
        "quiet": quiet,
        "is_filtered": filters != Filters(),
        "drawings": {row.id: drawing(past[row.id]) for row in page.items},
    }


def _counts(rows: Sequence[Row], quiet: set[str]) -> Counter[str]:
    counts = Counter(row.shown_state for row in rows)
    counts["late"] = sum(1 for row in rows if row.latest and row.latest.late)
    counts["downtime"] = len(quiet)
    return counts


def drawing(past: Past) -> dict[str, Any]:
    """The heartbeat bar and the latency of one check."""
    last_s = past.duration_s[-1] if past.duration_s else None
    label = f"latency of the last {len(past.duration_s)} runs, now {latency(last_s)}"
    return {
        "beats": bar(past.beats),
        "spark": sparkline(past.duration_s, label=label),
        "last_s": last_s,
    }
