"""The only file that knows a header of htmx."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, render_template, request
from htmx_flask.requests import HtmxHeaders


def is_swap() -> bool:
    """Whether the answer is put into a page that is already there, rather than shown as one."""
    headers = HtmxHeaders(request.headers)
    return bool(headers) and not headers.history_restore_request


def page_or_partial(page: str, partial: str, /, **context: Any) -> Response:
    """Answer a navigation with the whole page, an htmx swap with the partial alone."""
    response = make_response(render_template(partial if is_swap() else page, **context))
    response.vary.update(("HX-Request", "HX-History-Restore-Request"))  # Same URL, two bodies.
    return response


def unchanged(etag: str) -> Response | None:
    """An empty answer that swaps nothing, when the partial on the page already is of this revision.

    It is a 200: waitress closes the connection after a 304. The partial sends its revision itself (`hx-headers`),
    and pages are `no-store`, so no cache takes the emptiness for content.
    """
    if not is_swap() or etag not in request.if_none_match:
        return None
    response = Response(b"", 200, mimetype="text/html")
    response.headers["HX-Reswap"] = "none"
    response.set_etag(etag)
    return response


def go_to(url: str) -> Response:
    """After a change: 303 to a page; for htmx, which would swap the page into a piece, a navigation."""
    if is_swap():
        response = Response(b"", 200, mimetype="text/html")
        response.headers["HX-Redirect"] = url
        return response
    response = Response(b"", 303)
    response.headers["Location"] = url
    return response
