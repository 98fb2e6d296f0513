"""`/graphite/render` as a picture: what its arguments say of size, colours, axes and legend, and the picture itself.

Source of the arguments and what they mean: graphite-web 1.1, "The Render URL API"; docs/graphite.md lists those that
are not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar
from zoneinfo import ZoneInfo

from flask import Response, current_app

from tsdb.answer import RenderedSeries
from web.api.graphite import arguments
from web.api.graphite.arguments import Asked, bad, text
from web.draw.graph import hours, pie
from web.draw.graph.colors import Color, color, theme
from web.draw.graph.errors import BadPicture
from web.draw.graph.picture import line_svg, pie_svg
from web.draw.graph.pie import Slice
from web.draw.graph.scale import LOG_BASE_MAX, LOG_BASE_MIN, Bounds
from web.draw.graph.units import SYSTEMS
from web.draw.graph.wanted import (
    AREA_MODES,
    FONT_SIZE_PX,
    HEIGHT_PX,
    LINE_MODES,
    LINE_WIDTH_PX,
    MARGIN_PX,
    PIE_LABELS,
    PIE_MODES,
    SIDE_PX_MAX,
    SIDE_PX_MIN,
    WIDTH_PX,
    Side,
    Wanted,
)
from web.draw.painter import NotPainted, Painter
from web.errors import Refusal

SVG_TYPE, PNG_TYPE = "image/svg+xml", "image/png"
TITLE_CHARS_MAX = 1_000
NUMBER_MAX = 1e300
COLOR_COUNT_MAX = 1_000
# Of an SVG that is opened by itself: it has no script and no style, and could run none.
PICTURE_POLICY = "default-src 'none'; sandbox"

Found = TypeVar("Found")


def points_max() -> int:
    """As many points as there are pixels; fewer where minXStep wants some pixels for each."""
    width = _within("width", WIDTH_PX, SIDE_PX_MIN, SIDE_PX_MAX, "pixels")
    return max(2, int(width / max(_number("minXStep") or 1.0, 0.1)))


def wanted(asked: Asked) -> Wanted:
    """Raises: Refusal, which names the argument."""
    look = theme(text("template"))
    graph_only, background = arguments.is_true("graphOnly"), _color("bgcolor")
    shows_legend = not arguments.is_true("hideLegend") if arguments.texts("hideLegend") else None
    return Wanted(
        width=_within("width", WIDTH_PX, SIDE_PX_MIN, SIDE_PX_MAX, "pixels"),
        height=_within("height", HEIGHT_PX, SIDE_PX_MIN, SIDE_PX_MAX, "pixels"),
        is_pie=arguments.graph_type() == "pie",
        theme=look,
        background=background or look.background,
        foreground=_color("fgcolor") or look.foreground,
        major=_color("majorGridLineColor") or look.major,
        minor=_color("minorGridLineColor") or look.minor,
        lines=_colors() or look.lines,
        font_size=_within_number("fontSize", FONT_SIZE_PX, 4, 100),
        margin=0 if graph_only else int(_within_number("margin", MARGIN_PX, 0, 1_000, below_is_default=True)),
        zone=ZoneInfo(asked.zone),
        title="" if graph_only else _title("title"),
        left_title="" if graph_only else _title("vtitle"),
        right_title="" if graph_only else _title("vtitleRight"),
        x_format=_checked("xFormat", hours.checked_format) or "",
        unit_system=_one_of("yUnitSystem", SYSTEMS),
        log_base=_log_base(),
        minor_count=int(_within_number("minorY", 1, 0, 20)),
        line_mode=_one_of("lineMode", LINE_MODES),
        line_width=_within_number("lineWidth", _number("thickness") or LINE_WIDTH_PX, 0, 1_000),
        connected_limit=_within_number("connectedLimit", math.inf, 0, math.inf),
        area_mode=_one_of("areaMode", AREA_MODES),
        area_alpha=_alpha(),
        null_as_zero=arguments.is_true("drawNullAsZero"),
        show_legend=False if graph_only else shows_legend,
        unique_legend=arguments.is_true("uniqueLegend"),
        hide_null_from_legend=arguments.is_true("hideNullFromLegend"),
        show_grid=not arguments.is_true("hideGrid"),
        show_axes=not (graph_only or arguments.is_true("hideAxes")),
        show_x_axis=not arguments.is_true("hideXAxis"),
        show_y_axis=not arguments.is_true("hideYAxis"),
        axis_on_right=_one_of("yAxisSide", ("left", "right")) == "right",
        left=_side("left", "Left", has_general=True),
        right=_side("right", "Right", has_general=False),
        pie_mode=_one_of("pieMode", PIE_MODES),
        pie_labels=_one_of("valueLabels", PIE_LABELS),
        pie_labels_min=_within_number("valueLabelsMin", 5.0, 0, NUMBER_MAX),
    )


def given_slices(asked: Asked) -> tuple[list[str], dict[int, Slice]]:
    """Of a pie: the targets that are to be evaluated, and by place the slices that are given as name:value."""
    targets, given = [], {}
    for place, target in enumerate(asked.targets):
        name, colon, number = target.rpartition(":")
        value = _float(number) if colon else None
        if value is None:
            targets.append(target)
        else:
            given[place] = Slice(name, value)
    return targets, given


def svg(series: Sequence[RenderedSeries], look: Wanted, given: dict[int, Slice], target_count: int) -> str:
    """given: the slices of a pie that no series stands for, by the place of their target. Raises: Refusal."""
    try:
        if not look.is_pie:
            return line_svg(series, look)
        evaluated = [place for place in range(target_count) if place not in given]
        slices = list(given.items())
        slices += [(evaluated[one.target], pie.slice_of(one, look)) for one in series]
        return pie_svg([one for _, one in sorted(slices, key=lambda pair: pair[0])], look)
    except BadPicture as error:
        raise bad(str(error)) from error


def answer(drawn: str, picture_format: str) -> Response:
    """Raises: Refusal."""
    if picture_format == "svg":
        response = Response(drawn, mimetype=SVG_TYPE)
        response.headers["Content-Security-Policy"] = PICTURE_POLICY
    else:
        response = Response(_painted(drawn), mimetype=PNG_TYPE)
    # A wiki beside us shows pictures in its own pages. Whoever may not read them has no session and no token to send.
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _painted(drawn: str) -> bytes:
    painter: Painter = current_app.extensions["henge_painter"]
    try:
        return painter.png(drawn)
    except NotPainted as error:
        raise Refusal(503, "busy" if error.is_busy else "not_painted", str(error)) from error


def _side(name: str, suffix: str, *, has_general: bool) -> Side:
    def limit(what: str, *others: str) -> float | None:
        for one in (f"{what}{suffix}", *((what, *others) if has_general else ())):
            if (found := _number(one)) is not None:
                return found
        return None

    low, high, step = limit("yMin", "min"), limit("yMax", "max"), limit("yStep")
    if low is not None and high is not None and not low < high:
        raise bad(f"yMin{suffix}: {low:g} is not below yMax{suffix}, {high:g}")
    if step is not None and step <= 0:
        raise bad(f"yStep{suffix}: {step:g} is not above 0")
    is_dashed = arguments.is_true(f"{name}Dashed")
    return Side(
        bounds=Bounds(low=low, high=high, limit=limit("yLimit"), step=step),
        color=_color(f"{name}Color"),
        width_px=_number(f"{name}Width"),
        dash_px=5.0 if is_dashed else None,
    )


def _float(written: str) -> float | None:
    """None for what is no number, or not one to be drawn."""
    try:
        found = float(written)
    except ValueError:
        return None
    return found if math.isfinite(found) and abs(found) <= NUMBER_MAX else None


def _number(name: str) -> float | None:
    """None where it is not given. Raises: Refusal."""
    written = text(name)
    if not written:
        return None
    found = _float(written)
    if found is None:
        raise bad(f"{name}: {written[:40]!r} is no number up to {NUMBER_MAX:g}")
    return found


def _within_number(name: str, default: float, low: float, high: float, *, below_is_default: bool = False) -> float:
    found = _number(name)
    if found is None or (below_is_default and found < low):
        return default
    if not low <= found <= high:
        raise bad(f"{name}: {found:g} is not in {low:g}..{high:g}")
    return found


def _within(name: str, default: int, low: int, high: int, unit: str) -> int:
    found = _number(name)
    if found is None:
        return default
    if not low <= found <= high:
        raise bad(f"{name}: {found:,.10g} {unit} are not in {low:,}..{high:,}")
    return int(found)


def _one_of(name: str, options: Sequence[str]) -> str:
    """The first one where it is not given."""
    found = text(name).lower() or options[0]
    if found not in options:
        raise bad(f"{name}: {found[:40]!r} is not known; there are {', '.join(options)}")
    return found


def _checked(name: str, read: Callable[[str], Found]) -> Found | None:
    written = text(name)
    try:
        return read(written) if written else None
    except BadPicture as error:
        raise bad(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error


def _color(name: str) -> Color | None:
    return _checked(name, color)


def _colors() -> tuple[Color, ...]:
    def read(written: str) -> tuple[Color, ...]:
        names = [one for one in written.strip("\"'").split(",") if one.strip()]
        if len(names) > COLOR_COUNT_MAX:
            raise BadPicture(f"{len(names):,} colours are more than {COLOR_COUNT_MAX:,}")
        return tuple(color(one) for one in names)

    return _checked("colorList", read) or ()


def _alpha() -> float | None:
    found = _number("areaAlpha")
    return None if found is None else min(max(found, 0.0), 1.0)


def _log_base() -> float | None:
    if text("logBase").lower() == "e":
        return math.e
    found = _number("logBase")
    if found is not None and not LOG_BASE_MIN <= found <= LOG_BASE_MAX:
        raise bad(f"logBase: {found:g} is not in {LOG_BASE_MIN:g}..{LOG_BASE_MAX:g}, and not e")
    return found


def _title(name: str) -> str:
    found = text(name)
    if len(found) > TITLE_CHARS_MAX:
        raise bad(f"{name}: {len(found):,} characters are more than {TITLE_CHARS_MAX:,}")
    return found
