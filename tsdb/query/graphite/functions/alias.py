"""Other names for series."""

from __future__ import annotations

import re

from tsdb import regex
from tsdb.query.graphite.consolidation import AGGREGATION_NAMES, aggregation
from tsdb.query.graphite.context import Invocation
from tsdb.query.graphite.errors import BadTarget
from tsdb.query.graphite.functions.filters import figures
from tsdb.query.graphite.grammar import Path
from tsdb.query.graphite.naming import first_path, key_of
from tsdb.query.graphite.registry import SERIES_LIST, Kind, function, optional, required
from tsdb.query.graphite.series import Series
from tsdb.query.graphite.units import UNIT_SYSTEMS, with_unit

GROUP = "Alias"
SEARCH, REPLACE = required("search", Kind.STRING), required("replace", Kind.STRING)
POSITIONS = optional("pos", Kind.INTEGER, multiple=True)
LEGEND_NAMES = tuple(sorted({*AGGREGATION_NAMES, *(f"{name}Series" for name in AGGREGATION_NAMES), *UNIT_SYSTEMS}))
_GROUP_REFERENCE = re.compile(r"\\(\d+)")


def named(group: list[Series], names: list[str]) -> list[Series]:
    return [one.but(name=name) for one, name in zip(group, names, strict=True)]


@function("alias", group=GROUP, parameters=[SERIES_LIST, required("newName", Kind.STRING)])
def alias(call: Invocation, group: list[Series], name: str) -> list[Series]:
    """All series under one name."""
    return [one.but(name=name) for one in group]


@function("aliasByMetric", group=GROUP, parameters=[SERIES_LIST])
def alias_by_metric(call: Invocation, group: list[Series]) -> list[Series]:
    """The last node of its path as the name of each series."""
    return [one.but(name=first_path(one.name).rpartition(".")[2]) for one in group]


@function("aliasByNode", group=GROUP, parameters=[SERIES_LIST, required("nodes", Kind.NODE_OR_TAG, multiple=True)])
def alias_by_node(call: Invocation, group: list[Series], *nodes: int | str) -> list[Series]:
    """Some nodes of its path, or tags, as the name of each series."""
    return [one.but(name=key_of(one, nodes)) for one in group]


@function("aliasByTags", group=GROUP, parameters=[SERIES_LIST, required("tags", Kind.NODE_OR_TAG, multiple=True)])
def alias_by_tags(call: Invocation, group: list[Series], *tags: int | str) -> list[Series]:
    """Some tags, or nodes of its path, as the name of each series."""
    return alias_by_node(call, group, *tags)


def substituted(pattern: str, replacement: str, text: str) -> str:
    r"""Every place of a text where a regular expression is found, replaced; \1 is its first group."""
    found = regex.compiled(pattern)
    for number in _GROUP_REFERENCE.findall(replacement):
        if int(number) > found.groups:
            raise BadTarget(f"the regular expression {pattern[:200]!r} has no group {number}")
    try:
        return str(found.sub(replacement, text))
    except re.error as error:
        raise BadTarget(f"the replacement {replacement[:200]!r} is wrong: {error}") from None


@function("aliasSub", group=GROUP, parameters=[SERIES_LIST, SEARCH, REPLACE])
def alias_sub(call: Invocation, group: list[Series], search: str, replacement: str) -> list[Series]:
    """The name of each series with a regular expression replaced."""
    return [one.but(name=substituted(search, replacement, one.name)) for one in group]


@function("aliasQuery", group=GROUP, parameters=[SERIES_LIST, SEARCH, REPLACE, required("newName", Kind.STRING)])
def alias_query(call: Invocation, group: list[Series], search: str, replacement: str, name: str) -> list[Series]:
    """The last value of another series in the name of each; that one is found by replacing a part of the name."""
    if re.fullmatch(r"(?:[^%]|%%|%[-+ #0]*\d{0,3}(?:\.\d{1,3})?[dfgeEG])*", name) is None:
        raise BadTarget(f"aliasQuery(): the name {name[:200]!r} may hold one number, as %d or %g")
    found = []
    for one in group:
        others = call.evaluate(call.context, Path(substituted(search, replacement, one.name)))
        value = figures(others, "last")[0] if others else float("nan")
        if value != value:
            raise BadTarget(f"aliasQuery(): {one.name[:200]!r} leads to no series with a value")
        try:
            found.append(one.but(name=name % value))
        except TypeError:
            raise BadTarget(f"aliasQuery(): the name {name[:200]!r} must hold one number, as %d or %g") from None
    return found


@function(
    "legendValue",
    group=GROUP,
    parameters=[SERIES_LIST, optional("valuesTypes", Kind.STRING, multiple=True, options=LEGEND_NAMES)],
)
def legend_value(call: Invocation, group: list[Series], *names: str) -> list[Series]:
    """Numbers of each series, such as its last value, behind its name; with units, if `si` or `binary` comes last."""
    system = names[-1] if names and names[-1] in UNIT_SYSTEMS else None
    wanted = names[:-1] if system else names
    titles = [one.name for one in group]
    for name in wanted:
        try:
            aggregation(name)
        except BadTarget:
            titles = [f"{title} ({name}: (?))" for title in titles]
            continue
        values = figures(group, name).tolist()
        if system:
            texts = [f"{'' if value != value else with_unit(value, system)}" for value in values]
            titles = [f"{title:<20}{name:<5}{text:<10}" for title, text in zip(titles, texts, strict=True)]
        else:
            texts = [str(None if value != value else value) for value in values]
            titles = [f"{title} ({name}: {text})" for title, text in zip(titles, texts, strict=True)]
    return named(group, titles)


def _cased(text: str, positions: tuple[int, ...], *, is_upper: bool) -> str:
    def changed(part: str) -> str:
        return part.upper() if is_upper else part.lower()

    if not positions:
        return changed(text)
    letters = list(text)
    for position in positions:
        if -len(letters) <= position < len(letters):
            letters[position] = changed(letters[position])
    return "".join(letters)


@function("upper", group=GROUP, parameters=[SERIES_LIST, POSITIONS])
def upper(call: Invocation, group: list[Series], *positions: int) -> list[Series]:
    """Names in capitals, or the letters at some positions."""
    return [one.but(name=_cased(one.name, positions, is_upper=True)) for one in group]


@function("lower", group=GROUP, parameters=[SERIES_LIST, POSITIONS])
def lower(call: Invocation, group: list[Series], *positions: int) -> list[Series]:
    """Names in small letters, or the letters at some positions."""
    return [one.but(name=_cased(one.name, positions, is_upper=False)) for one in group]
