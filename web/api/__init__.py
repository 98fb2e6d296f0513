"""Henge's own JSON API under /api/v1, and the doors for machines beside it."""

from __future__ import annotations

from flask import Flask


def install(app: Flask) -> None:
    from web.api import (
        access,
        audit,
        channels,
        chart,
        checks,
        downtimes,
        graphite,
        incidents,
        openapi,
        operations,
        prometheus,
        push,
        rules,
        series,
        system,
    )

    for bp in (
        checks.bp,
        incidents.bp,
        downtimes.bp,
        channels.bp,
        access.bp,
        audit.bp,
        system.bp,
        series.bp,
        chart.bp,
        openapi.bp,
        operations.bp,
        push.bp,
        rules.bp,
    ):
        app.register_blueprint(bp)
    prometheus.install(app)
    graphite.install(app)
