"""Graphite's HTTP API on stored data, under /graphite. Source of paths, arguments and shapes: graphite-web 1.2."""

from __future__ import annotations

from flask import Flask

from appliance.packaged import command
from web.draw.painter import Painter


def install(app: Flask) -> None:
    from web.api.graphite import events, find, functions, render, tags

    app.extensions["henge_painter"] = Painter(command("painter"))
    for room in (render, find, functions, tags, events):
        app.register_blueprint(room.bp)
