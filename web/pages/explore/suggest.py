"""The suggestions for one place of an expression, looked up in the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from appliance.bus import BusError
from tsdb.errors import TsdbError
from tsdb.sample import METRIC_NAME
from web.pages.explore.complete import DURATIONS, GROUPING, JOINING, MATCHING, OPERATORS, SPREADING, Place, Wanted
from web.pages.explore.vocabulary import WORDS
from web.pages.ranges import RANGES_MS
from web.services import services

AGGREGATIONS = frozenset(word.name for word in WORDS.values() if word.family == "Aggregations over series")
PART = re.compile(r"_(?:bucket|count|sum)$")  # What the series of a histogram or a summary add to its name.
SUGGESTION_COUNT_MAX = 50
FUNCTION_COUNT_MAX = 12  # Those whose name only contains the word come last and are many.
LOOK_UP_COUNT_MAX = 500  # Names of which the best are chosen.
PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
PLAIN_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
WORD_REST = re.compile(r"[\w:.]*", re.ASCII)
VALUE_REST = re.compile(r"[\w:./-]*")


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What is shown, what is written in place of the word, and what it is."""

    shown: str
    written: str
    about: str = ""


def suggestions(place: Place, tail: str) -> list[Suggestion]:
    """The best of what may stand at a place; those that begin with what is there already come first."""
    match place.wanted:
        case Wanted.OPERAND:
            return _operands(place, tail)[:SUGGESTION_COUNT_MAX]
        case Wanted.KEYWORD:
            return [Suggestion(word.rstrip(" ("), word) for word in _keywords(place) if word.startswith(place.word)]
        case Wanted.DURATION:
            return [Suggestion(text, text) for text in DURATIONS if text.startswith(place.word)]
        case Wanted.LABEL | Wanted.MATCHED_LABEL:
            return _labels(place, tail)[:SUGGESTION_COUNT_MAX]
        case Wanted.VALUE:
            return _values(place, tail)[:SUGGESTION_COUNT_MAX]
        case Wanted.NOTHING:
            return []


def word_end(place: Place, head: str, tail: str) -> int:
    """Where the word ends that a suggestion replaces: it may go on behind the cursor."""
    rest = (VALUE_REST if place.wanted is Wanted.VALUE else WORD_REST).match(tail)
    return len(head) + (rest.end() if rest else 0)


def metric_names(contains: str, limit: int) -> list[str]:
    """Metric names that hold a text; none while the store is away."""
    start_ms, end_ms = _times_ms()
    return _asked(
        lambda: services().tsdb.label_values(METRIC_NAME, [], start_ms, end_ms, limit=limit, contains=contains)
    )


def described(names: Collection[str]) -> dict[str, str]:
    """Type and help of those metrics of which a sender said them; none while intake is away."""
    if not names:
        return {}
    families = {name: PART.sub("", name) for name in names}
    asked = list({*families, *families.values()})
    said = {entry.metric: entry for entry in _asked(lambda: services().tsdb.metadata(asked))}
    found = {}
    for name, family in families.items():
        entry = said.get(name) or said.get(family)
        if entry is not None and (entry.metric == name or entry.type in ("histogram", "summary")):
            found[name] = f"{entry.type}: {entry.help}" if entry.help else entry.type
    return found


def as_expression(name: str) -> str:
    """A metric name as an expression: one of Graphite has dots, and needs the braces."""
    return name if PLAIN_NAME.fullmatch(name) else '{__name__="' + _escaped(name, '"') + '"}'


def _operands(place: Place, tail: str) -> list[Suggestion]:
    word = place.word.lower()
    is_called = tail.lstrip().startswith("(")
    functions = [
        Suggestion(known.usage, name if is_called else _opened(name, known.usage), known.sentence)
        for name, known in sorted(WORDS.items())
        if word in name
    ]
    names = metric_names(place.word, LOOK_UP_COUNT_MAX)
    about = described(names)
    metrics = [Suggestion(name, as_expression(name), about.get(name, "metric")) for name in names]
    first, further = _split(functions, word) if word else ([], [])
    metrics_first, metrics_further = _split(metrics, word)
    matching = MATCHING if word and place.previous in OPERATORS else ()
    keywords = [Suggestion(text.rstrip(" ("), text) for text in matching if text.startswith(word)]
    return [*keywords, *first, *metrics_first, *metrics_further, *further[:FUNCTION_COUNT_MAX]]


def _opened(name: str, usage: str) -> str:
    """A function with its bracket; an aggregation takes its labels or its bracket next."""
    return name + ("()" if usage == f"{name}()" else "(" if usage.startswith(f"{name}(") else " ")


def _keywords(place: Place) -> tuple[str, ...]:
    """After the name of an aggregation, its labels; after a bracket, whatever it may have closed; else what joins."""
    if place.previous in AGGREGATIONS:
        return GROUPING
    return (*GROUPING, *JOINING, *SPREADING) if place.previous == ")" else JOINING


def _labels(place: Place, tail: str) -> list[Suggestion]:
    start_ms, end_ms = _times_ms()
    names = _asked(
        lambda: services().tsdb.label_names(place.selectors, start_ms, end_ms, limit=LOOK_UP_COUNT_MAX),
    )
    has_operator = tail.lstrip()[:1] in ("=", "!")
    ending = "=" if place.wanted is Wanted.MATCHED_LABEL and not has_operator else ""
    found = [
        Suggestion(name, (name if PLAIN_LABEL.fullmatch(name) else f'"{_escaped(name, chr(34))}"') + ending)
        for name in names
        if name != METRIC_NAME and place.word.lower() in name.lower()
    ]
    first, further = _split(found, place.word.lower())
    return [*first, *further]


def _values(place: Place, tail: str) -> list[Suggestion]:
    """The values of a label, with the quotes that are still missing."""
    start_ms, end_ms = _times_ms()
    selectors = [[matcher for matcher in selector if matcher.name != place.label] for selector in place.selectors]
    values = _asked(
        lambda: services().tsdb.label_values(
            place.label,
            [selector for selector in selectors if selector],
            start_ms,
            end_ms,
            limit=LOOK_UP_COUNT_MAX,
            contains=place.word,
        )
    )
    quote = place.quote or '"'
    opening = "" if place.quote else quote
    rest = VALUE_REST.match(tail)
    closing = "" if tail[rest.end() if rest else 0 :].startswith(quote) else quote
    found = [Suggestion(value, opening + _escaped(value, quote) + closing) for value in values if value]
    first, further = _split(found, place.word.lower())
    return [*first, *further]


def _split(found: Iterable[Suggestion], word: str) -> tuple[list[Suggestion], list[Suggestion]]:
    """Those that begin with a word, and the others."""
    first: list[Suggestion] = []
    further: list[Suggestion] = []
    for suggestion in found:
        (first if suggestion.shown.lower().startswith(word) else further).append(suggestion)
    return first, further


def _escaped(text: str, quote: str) -> str:
    if quote == "`":
        return text
    return text.replace("\\", "\\\\").replace(quote, "\\" + quote).replace("\n", "\\n")


def _times_ms() -> tuple[int, int]:
    """Names of the last month; what is stamped a little ahead of our clock is there as well."""
    now_ms = services().clock.now_ms()
    return now_ms - RANGES_MS["30d"], now_ms + 3_600_000


def _asked(look_up: Callable[[], list[T]]) -> list[T]:
    """What a look-up gives; a matcher that is half written or a store that is away gives none."""
    try:
        return look_up()
    except (TsdbError, BusError) as error:
        services().log.info("no names to suggest: %s", error)
        return []
