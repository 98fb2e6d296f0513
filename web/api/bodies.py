"""JSON bodies as typed objects; whatever is wrong with one is answered with the field's name."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from flask import request

from web.errors import Refusal, invalid

T = TypeVar("T")
_PLACE = re.compile(r"^(?P<reason>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)


def decoded(raw: bytes) -> Any:
    """Raises: Refusal 400, when the bytes are not JSON."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, "bad_json", f"the body is not JSON: {error}") from error


def converted(body: Any, kind: type[T]) -> T:
    """Raises: Refusal 422, naming the field."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise refusal_from_validation(error) from error


def refusal_from_validation(error: msgspec.ValidationError) -> Refusal:
    found = _PLACE.match(str(error))
    assert found is not None
    reason, field = found["reason"], found["path"] or None
    if field is None and (named := re.search(r"field `([^`]+)`", reason)):
        field = named[1]
    return invalid(reason, field=field)


def body(kind: type[T]) -> T:
    return converted(decoded(request.get_data()), kind)


def body_object() -> dict[str, Any]:
    """Any JSON object, for changes that are merged into what is there."""
    found = decoded(request.get_data())
    if not isinstance(found, dict):
        raise invalid(f"the body is {type(found).__name__}; it must be a JSON object")
    return found
