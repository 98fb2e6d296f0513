"""The web application, made from collaborators that are handed in."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from flask import Flask, g, request, url_for
from jinja2 import StrictUndefined

from appliance.state.errors import StateError
from appliance.version import version
from web import api, counting, errors, headers, pages, short_way
from web.api.prometheus import views as prometheus_views
from web.api.prometheus.doors import doors
from web.auth import guard
from web.auth.identity import identity
from web.auth.kit import Auth, set_stranger_cookie
from web.board import Board
from web.kit import board
from web.parsed_rules import ParsedRules
from web.rates import Rates
from web.services import Services
from web.words import FILTERS

STATIC_FOLDER = Path(__file__).parent / "static"
BODY_BYTES_MAX = 1024 * 1024  # Of a form or a JSON object; the door for series allows itself more.
THEMES = ("auto", "light", "dark")


def create_app(services: Services) -> Flask:
    """Everything under one host: pages, `/api/v1`, `/prometheus`, `/metrics`, `/health`."""
    app = Flask("web", root_path=str(Path(__file__).parent), static_folder=str(STATIC_FOLDER))
    app.config.update(MAX_CONTENT_LENGTH=BODY_BYTES_MAX, MAX_FORM_MEMORY_SIZE=BODY_BYTES_MAX)
    app.jinja_options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    app.extensions["henge"] = services
    app.extensions["henge_auth"] = Auth(state=services.state, port=services.port, secrets=services.secrets)
    app.extensions["henge_board"] = Board(services.state, services.changes)
    app.extensions["henge_rates"] = Rates()
    app.extensions["henge_parsed_rules"] = ParsedRules()
    app.extensions["own_names"] = guard.own_names(services.config.web.listen.host)
    app.after_request(set_stranger_cookie)
    counting.install(app)
    headers.install(app)
    errors.install(app)
    guard.install(app)
    _install_template_words(app)
    api.install(app)
    pages.install(app)
    short_way.install(app, services, doors(services, prometheus_views.install(app, services)))
    return app


def _install_template_words(app: Flask) -> None:
    app.jinja_env.filters.update(FILTERS)
    versions: dict[str, str] = {}

    def static_url(name: str) -> str:
        """The address of a static file with its checksum, so that it may be cached for ever."""
        if name not in versions:
            versions[name] = f"{zlib.crc32((STATIC_FOLDER / name).read_bytes()):08x}"
        return url_for("static", filename=name, v=versions[name])

    # Globals, not context: macros that are imported see only these.
    app.jinja_env.globals.update(static_url=static_url, csrf_token=guard.csrf_token, henge_version=version())

    @app.context_processor
    def words() -> dict[str, Any]:
        theme = request.cookies.get("henge_theme", "auto")
        return {
            "identity": identity(),
            "open_incident_count": _open_incident_count,
            "theme": theme if theme in THEMES else "auto",
            "now_ms": g.get("now_ms") or services_now_ms(app),
        }


def _open_incident_count() -> int:
    """For the head of every page, also of the one that says that the state file cannot be read."""
    try:
        return board().view().open_incident_count
    except StateError:
        return 0


def services_now_ms(app: Flask) -> int:
    services = app.extensions["henge"]
    assert isinstance(services, Services)
    return services.clock.now_ms()
