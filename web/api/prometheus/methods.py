"""What Prometheus answers to methods that a web framework adds by itself: OPTIONS with 204, HEAD with 405.

Both come after the guard, so neither tells a stranger what is there.
"""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.exceptions import MethodNotAllowed

PATH = "/prometheus/api/v1/"


def install(app: Flask) -> None:
    @app.before_request
    def answer() -> Response | None:
        """None for every other method, and for addresses that there are not."""
        if request.method not in ("OPTIONS", "HEAD") or not request.path.startswith(PATH) or request.url_rule is None:
            return None
        methods = sorted((request.url_rule.methods or set()) - {"HEAD"})
        if request.method == "HEAD":
            raise MethodNotAllowed(valid_methods=methods)
        return Response(status=204, headers={"Allow": ", ".join(methods), "Vary": "Origin"})
