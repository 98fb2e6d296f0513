"""Shares of a circle: of each series one value, or values that stand in the address."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsdb.answer import RenderedSeries
from tsdb.sample import Float64s
from web.draw.graph import units
from web.draw.graph.colors import Color, color
from web.draw.graph.lines import TITLE, line_color, nothing
from web.draw.graph.scene import CAPITAL, Box, Entry, Scene, Shape, Text, heading, inside, legend
from web.draw.graph.wanted import Wanted

LABEL_AT = 0.75  # Of the radius.
_REDUCE: dict[str, Callable[[Float64s], np.float64]] = {"average": np.mean, "maximum": np.max, "minimum": np.min}


@dataclass(frozen=True, slots=True)
class Slice:
    name: str
    value: float
    color: Color | None = None


def slice_of(one: RenderedSeries, wanted: Wanted) -> Slice:
    """By the mode that is asked for; NaN where there is no value. Raises: BadPicture, for a colour that is none."""
    there = one.values[np.isfinite(one.values)]
    value = float(_REDUCE[wanted.pie_mode](there)) if there.size else math.nan
    chosen = one.options.get("color")
    return Slice(one.name, value, color(str(chosen)) if chosen else None)


def drawn(slices: Sequence[Slice], wanted: Wanted) -> Scene:
    """A value that is not above 0 has no share, but is named."""
    box = inside(wanted.width, wanted.height, wanted.margin)
    scene = Scene(width=wanted.width, height=wanted.height, background=wanted.background, summary="Pie chart")
    colors = [one.color or line_color(index, wanted) for index, one in enumerate(slices)]
    shares = np.array([one.value if one.value > 0 else 0.0 for one in slices])
    largest = shares.max(initial=0.0)
    if largest > 0:
        shares /= largest  # First, so that no sum is too large for a number.
        shares /= shares.sum()
    if wanted.title:
        texts, used = heading(wanted.title, box, wanted.font_size * TITLE, wanted.foreground)
        scene.texts += texts
        box = replace(box, top=box.top + used + 0.4 * wanted.font_size)
    entries = [
        Entry(one.name, shade)
        for one, shade in zip(slices, colors, strict=True)
        if not (wanted.hide_null_from_legend and not one.value > 0)
    ]
    if wanted.show_legend is not False and entries:
        shapes, texts, used = legend(entries, box, wanted.font_size, wanted.foreground)
        scene.before += shapes
        scene.texts += texts
        box = replace(box, bottom=box.bottom - used - 0.6 * wanted.font_size)
    if not largest > 0:
        scene.texts.append(nothing(box, wanted))
        return scene
    _draw_shares(scene, box, slices, shares.tolist(), colors, wanted)
    return scene


def _draw_shares(
    scene: Scene, box: Box, slices: Sequence[Slice], shares: Sequence[float], colors: Sequence[Color], wanted: Wanted
) -> None:
    radius = max(1.0, min(box.width, box.height) / 2)
    x, y, turn = (box.left + box.right) / 2, (box.top + box.bottom) / 2, 0.0
    for one, share, shade in zip(slices, shares, colors, strict=True):
        if share > 0:
            shape = Shape(
                path=_sector(x, y, radius, turn, turn + share), fill=shade, stroke=wanted.background, width=1.2
            )
            scene.before.append(shape)
            label = _label(one, share, wanted)
            if label:
                angle = 2 * math.pi * (turn + share / 2)
                at = LABEL_AT * radius if share < 1 else 0.0
                label_x, label_y = x + at * math.sin(angle), y - at * math.cos(angle) + CAPITAL * wanted.font_size / 2
                text = Text(
                    x=label_x, y=label_y, text=label, color=_readable(shade), size=wanted.font_size, anchor="middle"
                )
                scene.texts.append(text)
        turn += share


def _sector(x: float, y: float, radius: float, start: float, end: float) -> str:
    """From and to, in turns from the top, clockwise."""
    if end - start > 1 - 1e-9:
        return (
            f"M{x:.1f} {y - radius:.1f}A{radius:.1f} {radius:.1f} 0 1 1 {x:.1f} {y + radius:.1f}"
            f"A{radius:.1f} {radius:.1f} 0 1 1 {x:.1f} {y - radius:.1f}z"
        )
    (x1, y1), (x2, y2) = (
        (x + radius * math.sin(2 * math.pi * turn), y - radius * math.cos(2 * math.pi * turn)) for turn in (start, end)
    )
    is_large = 1 if end - start > 0.5 else 0
    return f"M{x:.1f} {y:.1f}L{x1:.2f} {y1:.2f}A{radius:.1f} {radius:.1f} 0 {is_large} 1 {x2:.2f} {y2:.2f}z"


def _label(one: Slice, share: float, wanted: Wanted) -> str:
    if wanted.pie_labels == "percent":
        return f"{share:.1%}" if share * 100 >= wanted.pie_labels_min else ""
    if wanted.pie_labels == "number":
        return units.short(one.value, wanted.unit_system) if one.value >= wanted.pie_labels_min else ""
    return ""


def _readable(shade: Color) -> Color:
    """Black or white, whichever is read better on it. Source: W3C, WCAG 2.2, relative luminance, simplified."""
    red, green, blue = (int(shade.hex[at : at + 2], 16) / 255 for at in (1, 3, 5))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return Color("#000000" if luminance > 0.179 else "#ffffff")
