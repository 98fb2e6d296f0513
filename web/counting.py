"""Counters of the web room, shown at /metrics: what was asked, what was refused, how long it took."""

from __future__ import annotations

from flask import Flask, Response, g, request

from web.services import Services


def install(app: Flask) -> None:
    services = app.extensions["henge"]
    assert isinstance(services, Services)
    clock = services.clock
    requests = services.metrics.counter("henge_web_requests_total", "Requests answered, by method and status.")
    seconds = services.metrics.counter("henge_web_request_seconds_total", "Time that views have taken, by endpoint.")
    refused = services.metrics.counter("henge_web_refused_total", "Requests refused, by the code of the error.")

    @app.before_request
    def begin() -> None:
        g.began_s = clock.monotonic_s()

    @app.after_request
    def end(response: Response) -> Response:
        # An unknown method or path must not make a new series: the labels come from our own tables.
        endpoint = request.endpoint or "none"
        method = request.method if request.method in ("GET", "HEAD", "POST", "PATCH", "DELETE") else "other"
        requests.inc(method=method, status=response.status_code)
        seconds.inc(max(0.0, clock.monotonic_s() - g.get("began_s", clock.monotonic_s())), endpoint=endpoint)
        if code := g.get("refused_code"):
            refused.inc(code=code)
        return response
