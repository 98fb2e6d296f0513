"""Prometheus' HTTP API on stored data, under /prometheus/api/v1.

Source of paths, arguments and shapes: Prometheus documentation, "HTTP API"; of the numbers' text:
web/api/v1/json_codec.go and util/jsonutil of Prometheus 3.
"""

from __future__ import annotations

from flask import Flask


def install(app: Flask) -> None:
    from web.api.prometheus import (
        admin,
        compression,
        expressions,
        federate,
        metadata,
        methods,
        read,
        rules,
        status,
        targets,
        views,
        write,
    )

    for room in (views, expressions, metadata, targets, rules, status, federate, read, write, admin):
        app.register_blueprint(room.bp)
    methods.install(app)
    compression.install(app)
