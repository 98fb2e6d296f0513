"""Series from tags and events, and what belongs to no other family."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.functions.filters import figures
from tsdb.query.graphite.functions.neighbours import before
from tsdb.query.graphite.functions.transform import changed
from tsdb.query.graphite.naming import first_path
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series
from tsdb.query.graphite.units import divided
from tsdb.sample import Float64s

GROUP = "Special"
NAME, STEP = required("name", Kind.STRING), optional("step", Kind.INTEGER, 60)
POINTS_MAX = 1_000_000
CONSOLIDATIONS = ("average", "avg", "avg_zero", "first", "last", "max", "min", "sum")


@function("seriesByTag", group=GROUP, parameters=[required("tagExpressions", Kind.STRING, multiple=True)])
def series_by_tag(call: Invocation, *expressions: str) -> list[Series]:
    """The series whose tags fit all expressions, such as "name=disk.used" and "dc=~lon|nyc"."""
    if not expressions:
        raise BadTarget('seriesByTag() needs a tag expression, such as "name=disk.used"')
    path = call.text or "seriesByTag(" + ",".join(f'"{text}"' for text in expressions) + ")"
    found = call.context.storage.fetch_tagged(expressions, call.context.start_s, call.context.end_s)
    return [one.but(path=path) for one in found]


@function(
    "consolidateBy",
    group=GROUP,
    parameters=[SERIES_LIST, required("consolidationFunc", Kind.STRING, options=CONSOLIDATIONS)],
)
def consolidate_by(call: Invocation, group: list[Series], name: str) -> list[Series]:
    """How several points become one when there are more of them than can be shown."""
    return [
        one.but(
            name=(title := f'consolidateBy({one.name},"{name}")'),
            path=title,
            consolidate_by=name,
            tags={**one.tags, "consolidateBy": name},
        )
        for one in group
    ]


@function("cumulative", group=GROUP, parameters=[SERIES_LIST])
def cumulative(call: Invocation, group: list[Series]) -> list[Series]:
    """Points that become one are added up: consolidateBy(…, "sum")."""
    return consolidate_by(call, group, "sum")


@function(
    "setXFilesFactor", "xFilesFactor", group=GROUP, parameters=[SERIES_LIST, required("xFilesFactor", Kind.FLOAT)]
)
def set_x_files_factor(call: Invocation, group: list[Series], factor: float) -> list[Series]:
    """How large a share of points must be there for several to become one, from 0 to 1."""
    return [one.but(x_files_factor=factor, tags={**one.tags, "xFilesFactor": str(factor)}) for one in group]


@function("changed", group=GROUP, parameters=[SERIES_LIST])
def changes(call: Invocation, group: list[Series]) -> list[Series]:
    """1 where the value is another than the one before it, else 0."""

    def marked(values: Float64s) -> Float64s:
        places = np.where(np.isnan(values), 0, np.arange(values.shape[-1]))
        last = np.take_along_axis(values, np.maximum.accumulate(places, axis=-1), axis=-1)
        previous = before(last)
        return np.where(~np.isnan(previous) & ~np.isnan(values) & (values != previous), 1.0, 0.0)

    return changed(group, marked, "changed({})")


@function("fallbackSeries", group=GROUP, parameters=[SERIES_LIST, required("fallback", Kind.SERIES_LIST)])
def fallback_series(call: Invocation, group: list[Series], fallback: list[Series]) -> list[Series]:
    """Other series where the first list is empty."""
    return group or fallback


@function(
    "substr",
    group=GROUP,
    parameters=[SERIES_LIST, optional("start", Kind.NODE, 0), optional("stop", Kind.NODE, 0)],
)
def substr(call: Invocation, group: list[Series], start: int, stop: int) -> list[Series]:
    """Some nodes of its path, from one to before another, as the name of each series."""
    found = []
    for one in group:
        nodes = first_path(one.name).split(".")
        found.append(one.but(name=".".join(nodes[start:] if stop == 0 else nodes[start:stop])))
    return found


@function(
    "cactiStyle",
    group=GROUP,
    parameters=[
        SERIES_LIST,
        optional("system", Kind.STRING, options=("binary", "si")),
        optional("units", Kind.STRING),
    ],
)
def cacti_style(call: Invocation, group: list[Series], system: str | None, units: str | None) -> list[Series]:
    """Last, largest and smallest value of each series behind its name, in columns."""
    if system not in (None, "binary", "si"):
        raise BadTarget(f"cactiStyle(): the system {system!r} is neither si nor binary")

    def text(value: float) -> str:
        if math.isnan(value):
            return "nan"
        left, letters = divided(value, system) if system else (value, "")
        return f"{left:.2f} {letters}{units or ''}".rstrip()

    columns = [[text(value) for value in figures(group, name).tolist()] for name in ("last", "max", "min")]
    width = max((len(one.name) for one in group), default=0)
    widths = [max((len(one) for one in column), default=0) + 3 for column in columns]
    return [
        one.but(
            name=one.name.ljust(width)
            + "".join(
                f" {title}:{column[index].ljust(size)}"
                for title, column, size in zip(("Current", "Max", "Min"), columns, widths, strict=True)
            )
            + " "
        )
        for index, one in enumerate(group)
    ]


@function("events", group=GROUP, parameters=[required("tags", Kind.STRING, multiple=True)])
def events(call: Invocation, *tags: str) -> list[Series]:
    """How many events with one of some tags there were, second by second; "*" for any tag."""
    context = call.context
    size = context.end_s - context.start_s
    if size > POINTS_MAX:
        raise BadTarget(f"events(): {size:,} seconds are more than {POINTS_MAX:,}; choose a shorter range")
    context.account.make(size)
    wanted = [] if "*" in tags else list(tags)
    values = np.zeros(size)
    for event in context.storage.events(wanted, context.start_s, context.end_s):
        if 0 <= event.at_s - context.start_s < size:
            values[event.at_s - context.start_s] += 1
    name = "events(" + ", ".join(f'"{tag}"' for tag in tags) + ")"
    values[values == 0] = np.nan
    return [Series(name, context.start_s, context.end_s, 1, values, {"name": name}, consolidate_by="sum")]


def _grid(call: Invocation, step_s: int) -> Float64s:
    """The times of a made-up series."""
    context = call.context
    if step_s <= 0:
        raise BadTarget(f"{call.name}(): the step is {step_s}; it must be 1 at least")
    if (context.end_s - context.start_s) // step_s > POINTS_MAX:
        raise BadTarget(f"{call.name}(): more than {POINTS_MAX:,} points; choose a longer step or a shorter range")
    context.account.make((context.end_s - context.start_s) // step_s)
    return np.arange(context.start_s, context.end_s, step_s, dtype=np.float64)


def _made_up(call: Invocation, name: str, step_s: int, values: Float64s) -> list[Series]:
    context = call.context
    return [Series(name, context.start_s, context.end_s, step_s, values, {"name": name})]


@function("timeFunction", "time", group="Transform", parameters=[NAME, STEP])
def time_function(call: Invocation, name: str, step_s: int) -> list[Series]:
    """The time itself, in seconds since 1970, as a series."""
    return _made_up(call, name, step_s, _grid(call, step_s))


@function("sinFunction", "sin", group="Transform", parameters=[NAME, optional("amplitude", Kind.INTEGER, 1), STEP])
def sin_function(call: Invocation, name: str, amplitude: int, step_s: int) -> list[Series]:
    """The sine of the time in seconds, as a series."""
    return _made_up(call, name, step_s, amplitude * np.sin(_grid(call, step_s)))


@function("identity", group="Calculate", parameters=[NAME])
def identity(call: Invocation, name: str) -> list[Series]:
    """The time itself, a point a minute, as a series."""
    return [one.but(path=f'identity("{name}")') for one in _made_up(call, name, 60, _grid(call, 60))]


@function("randomWalkFunction", "randomWalk", group=GROUP, parameters=[NAME, STEP])
def random_walk(call: Invocation, name: str, step_s: int) -> list[Series]:
    """A series that wanders at random, to try a graph with; by its name and range, the same each time."""
    times = _grid(call, step_s)
    seed = hashlib.blake2b(f"{name} {call.context.start_s}".encode(), digest_size=8).digest()
    walk = np.cumsum(np.random.default_rng(int.from_bytes(seed)).random(times.size) - 0.5)
    return _made_up(call, name, step_s, walk)
