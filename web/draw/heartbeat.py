"""The heartbeat bar: the latest results of a check, oldest left, as upright strokes.

State shows in colour and in height, so that a person who does not tell green from red sees it too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from checks.model import State

STROKE_WIDTH, STROKE_STEP, HEIGHT = 4, 6, 20
HEIGHT_BY_STATE = {State.OK: 12, State.WARNING: 16, State.CRITICAL: 20, State.UNKNOWN: 16, State.PENDING: 4}
NONE_HEIGHT = 4


@dataclass(frozen=True, slots=True)
class Beat:
    at_ms: int
    state: State
    title: str = ""


def _stroke(index: int, height: int) -> tuple[int, int]:
    return index * STROKE_STEP, (HEIGHT - height) // 2


def summary(beats: Sequence[Beat]) -> str:
    """The bar in words, for those who do not see it."""
    if not beats:
        return "no results yet"
    counts = Counter(beat.state for beat in beats)
    parts = ", ".join(f"{counts[state]} {state.word}" for state in State if counts[state])
    return f"last {len(beats)} results: {parts}"


def _frame(beats: Sequence[Beat], place_count: int, css_class: str, inner: list[str]) -> Markup:
    width = place_count * STROKE_STEP - (STROKE_STEP - STROKE_WIDTH)
    return Markup(  # noqa: S704 - built from numbers and escaped text only.
        f'<svg class="beats{css_class}" viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(summary(beats))}">{"".join(inner)}</svg>'
    )


def bar(beats: Sequence[Beat], *, place_count: int = 30) -> Markup:
    """A small bar for lists: one path per state, about 1 KB, because a page has a hundred of them."""
    shown = beats[-place_count:]
    paths: dict[str, list[str]] = {}
    for place in range(place_count - len(shown)):
        x, y = _stroke(place, NONE_HEIGHT)
        paths.setdefault("none", []).append(f"M{x} {y}h{STROKE_WIDTH}v{NONE_HEIGHT}h-{STROKE_WIDTH}z")
    for place, beat in enumerate(shown, start=place_count - len(shown)):
        height = HEIGHT_BY_STATE[beat.state]
        x, y = _stroke(place, height)
        word = "none" if beat.state is State.PENDING else beat.state.word
        paths.setdefault(word, []).append(f"M{x} {y}h{STROKE_WIDTH}v{height}h-{STROKE_WIDTH}z")
    return _frame(
        shown, place_count, "", [f'<path class="beat-{word}" d="{"".join(path)}"/>' for word, path in paths.items()]
    )


def bar_with_titles(beats: Sequence[Beat], *, place_count: int = 90) -> Markup:
    """A large bar for one check: each stroke tells its time and reason under the pointer."""
    shown = beats[-place_count:]
    inner: list[str] = []
    for place in range(place_count - len(shown)):
        x, y = _stroke(place, NONE_HEIGHT)
        inner.append(f'<rect class="beat-none" x="{x}" y="{y}" width="{STROKE_WIDTH}" height="{NONE_HEIGHT}"/>')
    for place, beat in enumerate(shown, start=place_count - len(shown)):
        height = HEIGHT_BY_STATE[beat.state]
        x, y = _stroke(place, height)
        word = "none" if beat.state is State.PENDING else beat.state.word
        inner.append(
            f'<rect class="beat-{word}" x="{x}" y="{y}" width="{STROKE_WIDTH}" height="{height}">'
            f"<title>{escape(beat.title)}</title></rect>"
        )
    return _frame(shown, place_count, " large", inner)
