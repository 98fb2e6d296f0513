"""Queries and look-ups: query, query_range, series, labels, label values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request

from web.api.prometheus import arguments, leaving
from web.api.prometheus.arguments import Arguments
from web.api.prometheus.reading import Reading
from web.api.prometheus.shape import json_response
from web.auth.guard import Access
from web.auth.roles import Role
from web.services import Services
from web.short_way import OUTCOME

bp = Blueprint("prometheus", __name__, url_prefix="/prometheus/api/v1")

READ = Access(Role.VIEWER, csrf=False)  # A POST here only reads; its answer is closed to other sites.
_EXTENSION = "henge_reading"

Read = Callable[[Reading, Arguments, dict[str, Any]], list[bytes]]


def install(app: Flask, services: Services) -> Reading:
    reading = app.extensions[_EXTENSION] = Reading(services)
    leaving.install(app, reading.watch)
    return reading


def _reading() -> Reading:
    found = current_app.extensions[_EXTENSION]
    assert isinstance(found, Reading)
    return found


def _answered(read: Read) -> Response:
    """Raises: what the short way has met already, so that it is told here."""
    outcome = request.environ.get(OUTCOME)
    if isinstance(outcome, Exception):
        raise outcome
    return json_response(read(_reading(), arguments.current(), request.environ))


@bp.route("/query", methods=["GET", "POST"])
def query() -> Response:
    return _answered(Reading.query)


@bp.route("/query_range", methods=["GET", "POST"])
def query_range() -> Response:
    return _answered(Reading.query_range)


@bp.route("/series", methods=["GET", "POST"])
def series() -> Response:
    return _answered(Reading.series)


@bp.route("/labels", methods=["GET", "POST"])
def labels() -> Response:
    return _answered(Reading.labels)


@bp.route("/label/<name>/values", methods=["GET"])
def label_values(name: str) -> Response:
    return json_response(_reading().label_values(name, arguments.current()))


for _view in (query, query_range, series, labels):
    _view.access = READ  # type: ignore[attr-defined]
