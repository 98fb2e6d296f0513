"""The operations of the query process for Graphite's render API: targets in, series at equal steps out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from appliance.bus import Answer
from tsdb.interface import SeriesSource
from tsdb.query.asked import Asked
from tsdb.query.graphite.account import Account
from tsdb.query.graphite.archives import Archives
from tsdb.query.graphite.attime import epoch_of
from tsdb.query.graphite.context import Context, Event
from tsdb.query.graphite.errors import BadTarget, BadTime
from tsdb.query.graphite.evaluate import render
from tsdb.query.graphite.fetch import StepOf, StoredSeries, tag_matcher
from tsdb.query.graphite.points import fitted
from tsdb.query.graphite.registry import FUNCTIONS, NO_DEFAULT, Function, Parameter
from tsdb.query.graphite.series import Series
from tsdb.query.promql.ledger import Ledger
from tsdb.regex import value_test
from tsdb.sample import Matcher, MatchOp


class Render(Asked, frozen=True, kw_only=True):
    """from_text, until_text: as the render API has them. events: what events() may count: (seconds, what, tags)."""

    targets: list[str]
    from_text: str
    until_text: str
    now_s: int
    zone: str = "UTC"
    x_files_factor: float = 0.0
    points_max: int | None = None
    template: dict[str, str] = msgspec.field(default_factory=dict)
    events: list[tuple[int, str, list[str]]] = msgspec.field(default_factory=list)


class Times(msgspec.Struct, frozen=True):
    """Times as the render API has them."""

    texts: list[str]
    now_s: int
    zone: str = "UTC"


def epochs(ask: Times) -> list[int]:
    """In seconds since 1970. Raises: BadTime."""
    zone = ZoneInfo(ask.zone)
    return [epoch_of(text, ask.now_s, zone) for text in ask.texts]


class Tags(msgspec.Struct, frozen=True):
    """Tag expressions: dc=lon, name=~disk.*"""

    texts: list[str]


def tag_matchers(ask: Tags) -> list[tuple[str, str, str]]:
    """What all of the expressions want: (label, operator, text). Raises: BadTarget."""
    found = [tag_matcher(text) for text in ask.texts]
    if all(_may_be_missing(one) for one in found):
        raise BadTarget("one expression at least must ask for a tag that is there, as name=disk.used does")
    return [(one.name, one.op.value, one.value) for one in found]


def _may_be_missing(matcher: Matcher) -> bool:
    if matcher.op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
        return value_test(matcher.value)(b"") is (matcher.op is MatchOp.REGEX)
    return (matcher.value == "") is (matcher.op is MatchOp.EQUAL)


def functions() -> dict[str, Any]:
    """By name: what a function is called with, as graphite-web describes it; words and group are of our table."""
    return {name: _described(one) for name, one in sorted(FUNCTIONS.items())}


def _described(one: Function) -> dict[str, Any]:
    return {
        "name": one.name,
        "function": f"{one.name}({', '.join(map(_signature, one.parameters))})",
        "description": one.description,
        "module": "henge",
        "group": one.group,
        "params": [
            {
                "name": parameter.name,
                "type": parameter.kind.value,
                **({"required": True} if parameter.required else {}),
                **({"multiple": True} if parameter.multiple else {}),
                **({} if parameter.default is NO_DEFAULT else {"default": parameter.default}),
                **({"options": list(parameter.options)} if parameter.options else {}),
                **({"suggestions": list(parameter.suggestions)} if parameter.suggestions else {}),
            }
            for parameter in one.parameters
        ],
    }


def _signature(parameter: Parameter) -> str:
    if parameter.multiple:
        return f"*{parameter.name}"
    if parameter.required:
        return parameter.name
    return f"{parameter.name}={None if parameter.default is NO_DEFAULT else parameter.default!r}"


def rendered(
    ask: Render, source: SeriesSource, ledger: Ledger, step_of: StepOf, archives: Archives | None = None
) -> Answer:
    """Raises: BadTarget, BadTime, and what a ledger raises."""
    zone = ZoneInfo(ask.zone)
    start_s, end_s = (epoch_of(text, ask.now_s, zone) for text in (ask.from_text, ask.until_text))
    if start_s == end_s:
        raise BadTime(f"from and until are the same time, {start_s}")
    if start_s > end_s:
        start_s, end_s = end_s, start_s
    account = Account(ledger)
    events = _events_of(ask.events)
    context = Context(
        storage=StoredSeries(
            source, ask.now_s, step_of, events=events, bounds=ledger, archives=archives, account=account
        ),
        account=account,
        start_s=start_s,
        end_s=end_s,
        now_s=ask.now_s,
        zone=zone,
        x_files_factor=ask.x_files_factor,
        points_max=ask.points_max,
        template=ask.template,
    )
    found: list[tuple[int, Series]] = []
    for number, target in enumerate(ask.targets):
        made = render(context, target)
        account.keep(made)
        found += [(number, one) for one in made]
    series = fitted([one for _, one in found], ask.points_max)
    return _answer([(number, one) for (number, _), one in zip(found, series, strict=True)])


def _events_of(plain: Sequence[tuple[int, str, list[str]]]) -> Any:
    known = [Event(at_s=at_s, what=what, tags=tuple(tags)) for at_s, what, tags in plain]

    def events(tags: Sequence[str], start_s: int, end_s: int) -> list[Event]:
        return [
            one for one in known if start_s <= one.at_s <= end_s and (not tags or not set(tags).isdisjoint(one.tags))
        ]

    return events


def _answer(found: Sequence[tuple[int, Series]]) -> Answer:
    body = [
        {
            "target": number,
            "name": one.name,
            "start_s": one.start_s,
            "end_s": one.end_s,
            "step_s": one.step_s,
            "tags": one.tags,
            "path": one.path,
            "consolidate_by": one.consolidate_by,
            "x_files_factor": one.x_files_factor,
            "options": one.options,
        }
        for number, one in found
    ]
    sizes = np.array([one.values.size for _, one in found], np.int64)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    values = np.concatenate([one.values for _, one in found]) if found else np.empty(0)
    return Answer({"series": body}, (offsets, values))
