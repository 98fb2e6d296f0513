"""Graphite's HTTP API on stored data, under /graphite. Source of paths, arguments and shapes: graphite-web 1.2."""

from __future__ import annotations

from flask import Flask


def install(app: Flask) -> None:
    from web.api.graphite import events, find, functions, render, tags

    for room in (render, find, functions, tags, events):
        app.register_blueprint(room.bp)
