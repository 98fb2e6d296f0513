"""How series are drawn: colours, lines, stacks, and lines that are no series."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsdb.query.graphite.attime import epoch_of
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.functions.combine import constant
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series, normalized

GROUP = "Graph"
LABEL, COLOR = optional("label", Kind.STRING), optional("color", Kind.STRING)
DEFAULT_STACK = "__DEFAULT__"


def drawn(
    group: list[Series], options: dict[str, Any], name: str = "{}", tag: tuple[str, str] | None = None
) -> list[Series]:
    """The series with options for drawing, and perhaps another name."""
    return [
        one.but(
            name=name.replace("{}", one.name),
            options={**one.options, **options},
            tags={**one.tags, **dict([tag] if tag else [])},
        )
        for one in group
    ]


@function("alpha", group=GROUP, parameters=[SERIES_LIST, required("alpha", Kind.FLOAT)])
def alpha(call: Invocation, group: list[Series], value: float) -> list[Series]:
    """How opaque the series are drawn, from 0 to 1."""
    return drawn(group, {"alpha": value})


@function("color", group=GROUP, parameters=[SERIES_LIST, required("theColor", Kind.STRING)])
def color(call: Invocation, group: list[Series], name: str) -> list[Series]:
    """The colour of the series: a name such as red, or six hexadecimal digits."""
    return drawn(group, {"color": name})


@function("lineWidth", group=GROUP, parameters=[SERIES_LIST, required("width", Kind.FLOAT)])
def line_width(call: Invocation, group: list[Series], width: float) -> list[Series]:
    """How thick the lines are, in pixels."""
    return drawn(group, {"lineWidth": width})


@function("dashed", group=GROUP, parameters=[SERIES_LIST, optional("dashLength", Kind.INTEGER, 5)])
def dashed(call: Invocation, group: list[Series], length: int) -> list[Series]:
    """Dashed lines, with dashes of so many pixels."""
    return drawn(group, {"dashed": length}, f"dashed({{}}, {length})", ("dashed", str(length)))


@function("drawAsInfinite", group=GROUP, parameters=[SERIES_LIST])
def draw_as_infinite(call: Invocation, group: list[Series]) -> list[Series]:
    """A line over the whole height at each point that is not 0."""
    return drawn(group, {"drawAsInfinite": True}, "drawAsInfinite({})", ("drawAsInfinite", "1"))


@function("secondYAxis", group=GROUP, parameters=[SERIES_LIST])
def second_y_axis(call: Invocation, group: list[Series]) -> list[Series]:
    """An axis of their own, on the right."""
    return drawn(group, {"secondYAxis": True}, "secondYAxis({})", ("secondYAxis", "1"))


@function("areaBetween", group=GROUP, parameters=[SERIES_LIST])
def area_between(call: Invocation, group: list[Series]) -> list[Series]:
    """The area between two series filled."""
    if len(group) != 2:
        raise BadTarget(f"areaBetween() needs two series, not {len(group)}")
    name = f"areaBetween({group[0].path})"
    tags = {**group[1].tags, "areaBetween": "1"}  # Both carry those of the upper one.
    lower, upper = (
        drawn(group[:1], {"stacked": True, "invisible": True}, name),
        drawn(group[1:], {"stacked": True}, name),
    )
    return [one.but(tags=dict(tags)) for one in (*lower, *upper)]


@function("stacked", group=GROUP, parameters=[SERIES_LIST, optional("stack", Kind.STRING)])
def stacked(call: Invocation, group: list[Series], stack: str | None) -> list[Series]:
    """Each series drawn upon those before it in the stack."""
    if not group:
        return []
    rows, _, _, _ = normalized(group)
    there = ~np.isnan(rows)
    heights = np.where(there, np.cumsum(np.where(there, rows, 0), axis=0), np.nan)
    name = "stacked({})" if stack is None else "{}"
    found = []
    for one, values in zip(group, heights, strict=True):
        title = name.replace("{}", one.name)
        made = one.but(name=title, path=title, values=values)
        made.options["stacked"] = True
        made.tags["stacked"] = DEFAULT_STACK if stack is None else stack
        found.append(made)
    return found


@function("threshold", group=GROUP, parameters=[required("value", Kind.FLOAT), LABEL, COLOR])
def threshold(call: Invocation, value: float, label: str | None, color_name: str | None) -> list[Series]:
    """A line at one height, with a label and a colour."""
    (made,) = constant_line(call, value)
    if color_name:
        made.options["color"] = color_name
    return [made.but(name=label or made.name)]


def constant_line(call: Invocation, value: float) -> list[Series]:
    """A line at one height."""
    context = call.context
    return [constant(call, value, str(value), (context.start_s, context.end_s)).but(path=f"constantLine({value})")]


function("constantLine", group="Special", parameters=[required("value", Kind.FLOAT)])(constant_line)


@function("verticalLine", group=GROUP, parameters=[required("ts", Kind.DATE), LABEL, COLOR])
def vertical_line(call: Invocation, when: str, label: str | None, color_name: str | None) -> list[Series]:
    """A line over the whole height at one time, within the range."""
    context = call.context
    at_s = epoch_of(when, context.now_s, context.zone)
    if not context.start_s <= at_s <= context.end_s:
        side = "before the range starts" if at_s < context.start_s else "after the range ends"
        raise BadTarget(f"verticalLine(): the time {when[:80]!r} lies {side}")
    made = Series(label or str(at_s), at_s, at_s, 1, np.ones(2), {"name": label or str(at_s)})
    made.options |= {"drawAsInfinite": True} | ({"color": color_name} if color_name else {})
    return [made]
