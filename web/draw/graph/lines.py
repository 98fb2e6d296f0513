"""Lines and areas over time, with axes, a grid and a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tsdb.answer import RenderedSeries
from tsdb.sample import Float64s
from web.draw.graph import font, hours, paths
from web.draw.graph.colors import Color
from web.draw.graph.curves import Curve, curves
from web.draw.graph.scale import Scale, linear, logarithmic
from web.draw.graph.scene import CAPITAL, LEGEND_ROOM, Box, Entry, Scene, Shape, Text, heading, inside, legend
from web.draw.graph.wanted import Wanted

LEGEND_COUNT_MAX = 10  # As graphite-web has it: with more, no legend unless it is asked for.
TITLE = 1.2  # In sizes of the font.
OUTSIDE = 1e-3  # Parts of the height: less than a line is thick.
AXES_PX_MIN = 40.0  # Smaller graphs have lines alone.
PLOT_PX_MIN = 8.0  # A picture that is too small for its labels keeps this.


def drawn(series: Sequence[RenderedSeries], wanted: Wanted) -> Scene:
    """Raises: BadPicture."""
    found = [one for one in curves(series, wanted) if one.values.size]
    box = inside(wanted.width, wanted.height, wanted.margin)
    scene = Scene(width=wanted.width, height=wanted.height, background=wanted.background, summary=_summary(found))
    if not found:
        scene.texts.append(nothing(box, wanted))
        return scene
    box = _with_legend(scene, _with_title(scene, box, wanted), found, wanted)
    if min(box.width, box.height) < AXES_PX_MIN:
        wanted = replace(wanted, show_axes=False, left_title="", right_title="")
    box = _with_side_titles(scene, box, wanted)
    plot, scales = _axes(scene, box, found, wanted)
    start_s, end_s = _range_s(found, wanted)
    _time_axis(scene, plot, start_s, end_s, wanted)
    if any(_reaches_out(one, scales[one.is_right]) for one in found):
        scene.frame = plot
    for one in found:
        scale = scales[one.is_right]
        scene.within += _shapes(one, plot, scale, start_s, end_s, wanted)
    if not any(one.has_values for one in found):
        scene.texts.append(nothing(plot, wanted))
    return scene


def _reaches_out(one: Curve, scale: Scale) -> bool:
    if one.is_vertical or not one.has_values:
        return False
    shares = scale.shares(np.array([np.nanmin(one.values), np.nanmax(one.values)]))
    return not bool((np.nan_to_num(shares) >= -OUTSIDE).all() and (np.nan_to_num(shares) <= 1 + OUTSIDE).all())


def nothing(box: Box, wanted: Wanted) -> Text:
    """What stands where there is nothing to draw."""
    size = min(max(wanted.font_size * 1.5, 6.0), box.height, box.width / 4)
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2 + CAPITAL * size / 2
    return Text(x=x, y=y, text="No Data", color=wanted.foreground.faded(0.75), size=max(size, 1.0), anchor="middle")


def _summary(found: Sequence[Curve]) -> str:
    names = ", ".join(one.name for one in found[:5])
    return f"Graph of {names}{f' and {len(found) - 5:,} more' if len(found) > 5 else ''}" if found else "No data"


def _with_title(scene: Scene, box: Box, wanted: Wanted) -> Box:
    if not wanted.title or box.height < LEGEND_ROOM * wanted.font_size:
        return box
    texts, used = heading(wanted.title, box, wanted.font_size * TITLE, wanted.foreground)
    scene.texts += texts
    return replace(box, top=box.top + used + 0.4 * wanted.font_size)


def _with_side_titles(scene: Scene, box: Box, wanted: Wanted) -> Box:
    size = wanted.font_size
    if wanted.left_title:
        texts, used = heading(wanted.left_title, box, size, wanted.foreground, turned=-90)
        scene.texts += texts
        box = replace(box, left=box.left + used + 0.3 * size)
    if wanted.right_title:
        texts, used = heading(wanted.right_title, box, size, wanted.foreground, turned=90)
        scene.texts += texts
        box = replace(box, right=box.right - used - 0.3 * size)
    return box


def _with_legend(scene: Scene, box: Box, found: Sequence[Curve], wanted: Wanted) -> Box:
    is_shown = len(found) <= LEGEND_COUNT_MAX if wanted.show_legend is None else wanted.show_legend
    entries = _entries(found, wanted) if is_shown else []
    if not entries:
        return box
    shapes, texts, used = legend(entries, box, wanted.font_size, wanted.foreground)
    scene.before += shapes
    scene.texts += texts
    return replace(box, bottom=box.bottom - used - 0.4 * wanted.font_size) if used else box


def _entries(found: Sequence[Curve], wanted: Wanted) -> list[Entry]:
    has_both = any(one.is_right for one in found) and not all(one.is_right for one in found)
    entries: dict[object, Entry] = {}
    for index, one in enumerate(found):
        if one.is_invisible or not one.name or (wanted.hide_null_from_legend and not one.has_values):
            continue
        name = f"{one.name} (right)" if has_both and one.is_right else one.name
        entries.setdefault(name if wanted.unique_legend else index, Entry(name, one.color))
    return list(entries.values())


def _scale(found: Sequence[Curve], wanted: Wanted, *, is_right: bool, height_px: float) -> Scale:
    shown = [one.values for one in found if one.is_right is is_right and not one.is_vertical]
    # Of areas that lie on others the lowest decides alone where the axis begins.
    values = np.concatenate(shown) if shown else np.empty(0)
    values = values[~np.isnan(values)]
    if wanted.log_base is not None:
        values = values[values > 0]
    low, high = (float(values.min()), float(values.max())) if values.size else (math.nan, math.nan)
    if wanted.area_mode == "stacked" and wanted.log_base is None and low > 0:
        low = 0.0  # A part of a sum is seen as one only from 0 on.
    side = wanted.right if is_right else wanted.left
    if wanted.log_base is not None:
        return logarithmic(low, high, side.bounds, wanted.log_base, height_px=height_px, system=wanted.unit_system)
    return linear(
        low,
        high,
        side.bounds,
        height_px=height_px,
        system=wanted.unit_system,
        minor_count=wanted.minor_count,
    )


def _axes(scene: Scene, box: Box, found: Sequence[Curve], wanted: Wanted) -> tuple[Box, dict[bool, Scale]]:
    """The place that axes leave, and the scale of each: by whether it is the right one."""
    size, has_x, has_y = wanted.font_size, wanted.show_axes and wanted.show_x_axis, _has_y_axis(wanted)
    half_label = CAPITAL * size / 2
    top = box.top + (half_label if has_y else 0)
    bottom = box.bottom - (1.6 * size if has_x else half_label if has_y else 0)
    top, bottom = math.floor(top), math.floor(max(bottom, top + PLOT_PX_MIN))
    sides = sorted({one.is_right for one in found})
    scales = {side: _scale(found, wanted, is_right=side, height_px=bottom - top) for side in sides}
    left, right, gap = box.left, box.right, 0.5 * size
    if has_y:
        at_right = {side: side or (wanted.axis_on_right and len(sides) == 1) for side in sides}
        rooms = {at_right[side]: font.widest(scales[side].labels, size) + gap for side in sides}
        left, right = left + rooms.get(False, 0.0), right - rooms.get(True, 0.0)
    left, right = math.ceil(left), math.floor(right)
    if right < left + PLOT_PX_MIN:
        right = left + PLOT_PX_MIN
    plot = Box(left=left, top=top, right=right, bottom=bottom)
    if has_y:
        for side in sides:
            scene.texts += _value_labels(scales[side], plot, wanted, is_right=at_right[side])
    if wanted.show_axes and wanted.show_grid:
        scene.behind += _value_grid(scales[sides[0]], plot, wanted)
    return plot, scales


def _has_y_axis(wanted: Wanted) -> bool:
    return wanted.show_axes and wanted.show_y_axis


def _heights(scale: Scale, values: Float64s, plot: Box) -> Float64s:
    """Pixels from the top of the picture."""
    return plot.bottom - scale.shares(values) * plot.height


def _value_labels(scale: Scale, plot: Box, wanted: Wanted, *, is_right: bool) -> list[Text]:
    gap, size = 0.5 * wanted.font_size, wanted.font_size
    heights = _heights(scale, np.array(scale.ticks, np.float64), plot).tolist()
    return [
        Text(
            x=plot.right + gap if is_right else plot.left - gap,
            y=y + CAPITAL * size / 2,
            text=label,
            color=wanted.foreground,
            size=size,
            anchor="start" if is_right else "end",
        )
        for y, label in zip(heights, scale.labels, strict=True)
    ]


def _value_grid(scale: Scale, plot: Box, wanted: Wanted) -> list[Shape]:
    shapes = []
    for values, stroke in ((scale.minor, wanted.minor), (scale.ticks, wanted.major)):
        heights = np.floor(_heights(scale, np.array(values, np.float64), plot)) + 0.5
        shapes.append(Shape(path=paths.horizontals(heights, plot.left, plot.right), stroke=stroke))
    if scale.log_base is None and scale.bottom < 0 < scale.top:
        zero = np.floor(_heights(scale, np.zeros(1), plot)) + 0.5
        shapes.append(Shape(path=paths.horizontals(zero, plot.left, plot.right), stroke=wanted.foreground.faded(0.6)))
    return shapes


def _range_s(found: Sequence[Curve], wanted: Wanted) -> tuple[float, float]:
    """From the first time to the last one, or to its end where points are stairs; a single one is in the middle."""
    start_s = min(one.start_s for one in found)
    last_s = max(one.last_s for one in found)
    if wanted.line_mode == "staircase":
        last_s = max(one.last_s + one.step_s for one in found)
    elif last_s <= start_s:
        half_s = max(one.step_s for one in found) / 2
        return start_s - half_s, last_s + half_s
    return start_s, max(last_s, start_s + 1)


def _time_axis(scene: Scene, plot: Box, start_s: float, end_s: float, wanted: Wanted) -> None:
    if not wanted.show_axes:
        return
    size = wanted.font_size
    ticks = hours.ticks(start_s, end_s, wanted.zone, width_px=plot.width, size=size, label=wanted.x_format)

    def places(times_s: Sequence[int]) -> Float64s:
        found: Float64s = plot.left + (np.array(times_s, np.float64) - start_s) / (end_s - start_s) * plot.width
        return found

    if wanted.show_grid:
        for times_s, stroke in ((ticks.minor_s, wanted.minor), (ticks.major_s, wanted.major)):
            x = np.floor(places(times_s)) + 0.5
            scene.behind.append(Shape(path=paths.verticals(x, plot.top, plot.bottom), stroke=stroke))
    if wanted.show_x_axis:
        y = plot.bottom + 0.55 * size + CAPITAL * size
        for x_label, label in zip(places(ticks.major_s).tolist(), ticks.labels, strict=True):
            half = font.width(label, size) / 2
            middle = min(max(x_label, half + 1), wanted.width - half - 1)  # Not cut off at the edges of the picture.
            scene.texts.append(Text(x=middle, y=y, text=label, color=wanted.foreground, size=size, anchor="middle"))


def _shapes(one: Curve, plot: Box, scale: Scale, start_s: float, end_s: float, wanted: Wanted) -> list[Shape]:
    px_per_s = plot.width / (end_s - start_s)
    times_s = one.start_s + one.step_s * np.arange(one.values.size)
    x: Float64s = (plot.left + (times_s - start_s) * px_per_s).astype(np.float64)
    if one.is_vertical:
        there = x[np.nan_to_num(one.values) != 0]
        path = paths.verticals(there, plot.top, plot.bottom)
        return [Shape(path=path, stroke=one.color, width=one.width, dash=one.dash)]
    if one.is_invisible:
        return []
    y = _heights(scale, one.values, plot)
    base = _base(one, scale, plot) if one.has_area else None
    if wanted.line_mode == "staircase":
        x, y = paths.stairs(x, y, one.step_s * px_per_s)
        base = None if base is None else np.repeat(base, 2)
    elif wanted.line_mode == "connected" and base is None:
        x, y = paths.bridged(x, y, wanted.connected_limit)
    shapes = []
    if base is not None:
        fill = one.color if wanted.area_alpha is None else one.color.faded(wanted.area_alpha)
        shapes.append(Shape(path=paths.area(x, y, base), fill=fill))
    if base is None or wanted.area_alpha is not None or one.dash:
        shapes.append(Shape(path=paths.line(x, y), stroke=one.color, width=one.width, dash=one.dash))
    return shapes


def _base(one: Curve, scale: Scale, plot: Box) -> Float64s:
    """Where the area below each point begins: on the area before it, else at 0 or the end of the axis next to it."""
    if scale.log_base is not None:
        axis = plot.bottom
    else:
        axis = float(_heights(scale, np.clip(np.zeros(1), scale.bottom, scale.top), plot)[0])
    if one.base is None:
        return np.full(one.values.size, axis)
    found: Float64s = np.nan_to_num(_heights(scale, one.base, plot), nan=axis)
    return found


def line_color(index: int, wanted: Wanted) -> Color:
    return wanted.lines[index % len(wanted.lines)]
