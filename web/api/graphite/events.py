"""`/graphite/events`: what people and programs noted, such as a deploy; graphs count and show it.

They are events of the state file, of a kind of their own; the newest are kept. Their numbers are those of all events,
so they rise with gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response

from appliance.state import Event
from checks.annotations import (
    DATA_CHARS_MAX,
    KEPT_COUNT,
    KIND,
    SUBJECT,
    TAG_CHARS_MAX,
    TAG_COUNT_MAX,
    WHAT_CHARS_MAX,
    annotation,
)
from tsdb.errors import TsdbError
from web.api.bodies import body_object
from web.api.graphite import arguments, shape
from web.api.graphite.arguments import bad
from web.api.graphite.tags import refused
from web.auth.identity import identity
from web.errors import Refusal, not_found
from web.services import services

bp = Blueprint("graphite_events", __name__, url_prefix="/graphite/events")
bp.register_error_handler(Refusal, refused)
bp.register_error_handler(TsdbError, refused)

AT_S_MAX = 253_402_300_799  # The end of the year 9999.
SETS = ("intersection", "union")


@bp.post("")
@bp.post("/")
def note() -> Response:
    given = body_object()
    at_s = _at_s(given.get("when"))
    what, text = _text(given, "what", WHAT_CHARS_MAX), _text(given, "data", DATA_CHARS_MAX)
    event = annotation(what, text, _tags(given.get("tags", [])), at_s * 1_000)
    services().state.apply([event], actor=identity().actor)
    return Response(status=200)


@bp.get("")
@bp.get("/")
@bp.get("/get_data")
@bp.get("/get_data/")
def listed() -> Response:
    """The older first; `tags` are those that an event has to have, all of them or, with `set=union`, one of them."""
    wanted = set(arguments.text("tags").split())
    joined = arguments.text("set", SETS[0])
    if joined not in SETS:
        raise bad(f"set: {joined[:40]!r} is not known; there are {', '.join(SETS)}")
    start_ms, end_ms = arguments.range_ms()

    def fits(tags: Sequence[str]) -> bool:
        return not wanted.isdisjoint(tags) if wanted and joined == "union" else wanted.issubset(tags)

    return shape.json_of(
        [
            {
                "when": event.at_ms // 1_000,
                "what": event.body["what"],
                "data": event.body["data"],
                "tags": event.body["tags"],
                "id": event.seq,
            }
            for event in noted()
            if start_ms <= event.at_ms <= end_ms and fits(event.body["tags"])
        ]
    )


@bp.get("/<number>")
@bp.get("/<number>/")
def one(number: str) -> Response:
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise not_found("event", number)
    found = services().state.read.events(kind=KIND, before_seq=int(number) + 1, limit=1)
    if not found or found[0].seq != int(number):
        raise not_found("event", number)
    moment = datetime.fromtimestamp(found[0].at_ms // 1_000, UTC)
    return shape.json_of({"id": found[0].seq, "when": f"{moment:%Y-%m-%dT%H:%M:%SZ}", **found[0].body})


def noted() -> list[Event]:
    """All that are kept, the older first."""
    found = services().state.read.events(kind=KIND, subject=SUBJECT, limit=KEPT_COUNT)
    return sorted(found, key=lambda event: (event.at_ms, event.seq))


def _at_s(given: Any) -> int:
    if given is None:
        return services().clock.now_ms() // 1_000
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= AT_S_MAX:
        raise bad(f"when: {str(given)[:40]!r} is no time in seconds since 1970, before the year 10000")
    return int(given)


def _text(given: dict[str, Any], name: str, chars_max: int) -> str:
    found = given.get(name, "")
    if not isinstance(found, str) or len(found) > chars_max:
        raise bad(f"{name} must be a text of at most {chars_max:,} characters")
    return found


def _tags(given: Any) -> list[str]:
    tags = given.split() if isinstance(given, str) else given
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise bad("tags must be a list of texts, or one text with spaces between them")
    if len(tags) > TAG_COUNT_MAX or any(len(tag) > TAG_CHARS_MAX for tag in tags):
        raise bad(f"tags: there may be {TAG_COUNT_MAX}, each of {TAG_CHARS_MAX} characters")
    return tags
