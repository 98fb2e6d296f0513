"""`/graphite/tags`: which tags and values series have, and which series have them.

Henge knows tags from the series themselves. tagSeries therefore only answers how a name is written, and delSeries
deletes the samples of a series: nothing else makes it go. The numbers of tags and values, by which graphite-web keeps
them, are made of their text. from and until, which editors of queries send, say when a series has to have samples.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from flask import Blueprint, Response
from werkzeug.exceptions import MethodNotAllowed

from tsdb.client import SERIES_COUNT_MAX
from tsdb.errors import TsdbError
from tsdb.regex import value_test
from tsdb.sample import METRIC_NAME, Matcher, MatchOp
from web.api.graphite import arguments, shape
from web.api.graphite.series_names import read, written
from web.auth.guard import Access, needs
from web.auth.roles import Role
from web.errors import Refusal, refusal_from, respond
from web.services import services

bp = Blueprint("graphite_tags", __name__, url_prefix="/graphite/tags")

NAME = "name"
COMPLETIONS_COUNT = 100  # As graphite-web has it.
PATH_COUNT_MAX = 1_000
POSTED = ("tagSeries", "tagMultiSeries", "delSeries")
READING = Access(Role.VIEWER, csrf=False)  # A POST here only reads.


@bp.errorhandler(Refusal)
@bp.errorhandler(TsdbError)
def refused(error: Exception) -> Response:
    """Graphite answers JSON here, where it answers text elsewhere."""
    refusal = refusal_from(error)
    assert refusal is not None, error
    if refusal.status in (400, 404, 422):
        return shape.plain_json_of({"error": refusal.message}, 400 if refusal.status == 422 else refusal.status)
    return respond(refusal)


@bp.get("")
@bp.get("/")
def tags() -> Response:
    fits = _filter()
    return shape.json_of([{"id": _number(tag), "tag": tag} for tag in _limited(filter(fits, _tags()))])


@bp.get("/<tag>")
@bp.get("/<tag>/")
def values(tag: str) -> Response:
    if tag in POSTED:
        raise MethodNotAllowed(valid_methods=["POST"])
    fits = _filter()
    counts = Counter(labels[_label(tag)] for labels in _having(tag))
    if not counts:
        return shape.json_of(None)
    listed = [
        {"id": _number(f"{tag}={value}"), "value": value, "count": counts[value]}
        for value in _limited(value for value in sorted(counts) if fits(value))
    ]
    return shape.json_of({"id": _number(tag), "tag": tag, "values": listed})


@bp.route("/findSeries", methods=["GET", "POST"])
@bp.route("/findSeries/", methods=["GET", "POST"])
def find_series() -> Response:
    selector = _selector()
    if not selector:
        raise arguments.bad("there is no expr; write expr=tag=value")
    return shape.json_of(sorted(written(labels) for labels in _series([selector])))


@bp.route("/autoComplete/tags", methods=["GET", "POST"])
@bp.route("/autoComplete/tags/", methods=["GET", "POST"])
def complete_tags() -> Response:
    prefix, selector = arguments.text("tagPrefix"), _selector()
    found: Iterable[str] = _tags()
    if selector:
        labels = {label for one in services().tsdb.series([selector], *arguments.range_ms()) for label in one}
        found = sorted(_tag(label) for label in labels - {matcher.name for matcher in selector})
    return shape.json_of(_limited((tag for tag in found if tag.startswith(prefix)), COMPLETIONS_COUNT))


@bp.route("/autoComplete/values", methods=["GET", "POST"])
@bp.route("/autoComplete/values/", methods=["GET", "POST"])
def complete_values() -> Response:
    tag = arguments.needed("tag")
    label, prefix, selector = _label(tag), arguments.text("valuePrefix"), _selector()
    first_ms, last_ms = arguments.range_ms()
    found = services().tsdb.label_values(
        label,
        [[*selector, Matcher(label, MatchOp.NOT_EQUAL, "")]] if selector else [],
        first_ms,
        last_ms,
        contains=prefix,
        has_tags=tag == NAME,
    )
    return shape.json_of(_limited((value for value in found if value.startswith(prefix)), COMPLETIONS_COUNT))


@bp.post("/tagSeries")
@bp.post("/tagSeries/")
def tag_series() -> Response:
    return shape.json_of(written(read(arguments.needed("path"))))


@bp.post("/tagMultiSeries")
@bp.post("/tagMultiSeries/")
def tag_many_series() -> Response:
    return shape.json_of([written(read(path)) for path in _paths()])


@bp.post("/delSeries")
@bp.post("/delSeries/")
@needs(Role.ADMIN)
def delete_series() -> Response:
    """Their samples are hidden at once, and erased later; of a series that is not there, nothing is said."""
    for labels in [read(path) for path in _paths()]:
        _delete(labels)
    return shape.json_of(True)


for _view in (find_series, tag_series, tag_many_series):
    _view.access = READING  # type: ignore[attr-defined]


def _paths() -> list[str]:
    found = [path for path in arguments.texts("path") if path]
    if not found:
        raise arguments.bad("there is no path; write path=name;tag=value")
    if len(found) > PATH_COUNT_MAX:
        raise arguments.bad(f"{len(found):,} paths are more than {PATH_COUNT_MAX:,}; send them in parts")
    return found


def _delete(labels: dict[str, str]) -> None:
    selector = [Matcher(label, MatchOp.EQUAL, text) for label, text in labels.items()]
    found = services().tsdb.series([selector], *arguments.EVER_MS)
    if labels not in found:
        return
    others = {label for one in found for label in one} - labels.keys()  # Series with more tags are others.
    without = [Matcher(label, MatchOp.EQUAL, "") for label in sorted(others)]
    services().tsdb.delete([[*selector, *without]], *arguments.EVER_MS)


def _label(tag: str) -> str:
    return METRIC_NAME if tag == NAME else tag


def _tag(label: str) -> str:
    return NAME if label == METRIC_NAME else label


def _tags() -> list[str]:
    """All of them, in order; none where no series has a tag beside its name."""
    labels = services().tsdb.label_names([], *arguments.range_ms())
    return sorted(map(_tag, labels)) if len(labels) > 1 else []


def _having(tag: str) -> Sequence[dict[str, str]]:
    """The series that have a tag; of the name, those that have another one beside it."""
    labels = [_label(one) for one in _tags() if one != NAME] if tag == NAME else [_label(tag)]
    selectors = [[Matcher(label, MatchOp.NOT_EQUAL, "")] for label in labels]
    return [labels for labels in _series(selectors) if _label(tag) in labels] if selectors else []


def _series(selectors: Sequence[Sequence[Matcher]]) -> list[dict[str, str]]:
    found = services().tsdb.series(selectors, *arguments.range_ms(), limit=SERIES_COUNT_MAX + 1)
    if len(found) > SERIES_COUNT_MAX:
        raise arguments.bad(f"more than {SERIES_COUNT_MAX:,} series have these tags; ask for fewer")
    return found


def _selector() -> list[Matcher]:
    """What all of the expressions want. Raises: RefusedQuery."""
    given = arguments.texts("expr")
    return services().tsdb.tag_matchers(given) if given else []


def _filter() -> Callable[[str], bool]:
    """Whether a text begins as the regular expression says. Raises: RefusedQuery."""
    pattern = arguments.text("filter")
    if not pattern:
        return lambda text: True
    fits = value_test(f"(?:{pattern}).*")
    return lambda text: fits(text.encode())


def _limited(found: Iterable[str], default: int = SERIES_COUNT_MAX) -> list[str]:
    limit = arguments.number("limit", default)
    return list(found)[: max(0, limit)]


def _number(text: str) -> int:
    return zlib.crc32(text.encode())
