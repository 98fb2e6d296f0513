"""Henge's own JSON API under /api/v1, and the doors for machines beside it."""

from __future__ import annotations

from flask import Flask


def install(app: Flask) -> None:
    from web.api import access, channels, chart, checks, downtimes, incidents, openapi, operations, push, series, system
    from web.api.prometheus import admin as prometheus_admin
    from web.api.prometheus import views as prometheus
    from web.api.prometheus import write as prometheus_write

    for bp in (
        checks.bp,
        incidents.bp,
        downtimes.bp,
        channels.bp,
        access.bp,
        system.bp,
        series.bp,
        chart.bp,
        openapi.bp,
        operations.bp,
        push.bp,
        prometheus.bp,
        prometheus_admin.bp,
        prometheus_write.bp,
    ):
        app.register_blueprint(bp)
