"""How Graphite's API shapes what it answers: pretty JSON, JSON in a call for old pages, pickles, MessagePack."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from flask import Response

from web.api.graphite import arguments

# A name, or a path of names: anything else would be a script of the caller's.
_CALLBACK = re.compile(r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*|\[\d{1,9}\])*", re.ASCII)
_CALLBACK_CHARS_MAX = 200
JAVASCRIPT_TYPE = "text/javascript"
JSON_TYPE = "application/json"


def callback() -> str:
    """The function that the answer is to be handed to; empty for none. Raises: Refusal."""
    name = arguments.text("jsonp")
    if name and (len(name) > _CALLBACK_CHARS_MAX or _CALLBACK.fullmatch(name) is None):
        raise arguments.bad(f"jsonp: {name[:40]!r} is no name of a function")
    return name


def json_answer(body: bytes, status: int = 200) -> Response:
    """JSON that is written already, as `pretty` and `jsonp` want it."""
    name, body = callback(), _indented(body)
    if name:
        return Response(b"".join((name.encode(), b"(", body, b")")), status, mimetype=JAVASCRIPT_TYPE)
    return Response(body, status, mimetype=JSON_TYPE)


def json_of(found: Any, status: int = 200) -> Response:
    return json_answer(msgspec.json.encode(found), status)


def plain_json_of(found: Any, status: int = 200) -> Response:
    """For what graphite-web hands to no function of the caller's, whatever `jsonp` says."""
    return Response(_indented(msgspec.json.encode(found)), status, mimetype=JSON_TYPE)


def _indented(body: bytes) -> bytes:
    return msgspec.json.format(body, indent=2) if arguments.is_true("pretty") else body
