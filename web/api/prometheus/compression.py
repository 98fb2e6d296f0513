"""Answers of this interface as gzip or zstd, when the client takes it and it is worth it."""

from __future__ import annotations

import re
from functools import lru_cache

import cramjam
from flask import Flask, Response, request

PATH = "/prometheus/"
SIZE_MIN_BYTES = 256  # Below it the headers and the work outweigh what is saved.
PACKERS = {"zstd": (cramjam.zstd.compress, 1), "gzip": (cramjam.gzip.compress, 1)}
"""By encoding, the better first, with a level: in one building, time is dearer than bytes."""
_NO = re.compile(r";\s*q=0(?:\.0*)?$")


def install(app: Flask) -> None:
    app.after_request(compress)


def compress(response: Response) -> Response:
    if not request.path.startswith(PATH) or response.direct_passthrough or "Content-Encoding" in response.headers:
        return response
    if response.status_code == 204:
        return response
    response.vary.add("Accept-Encoding")
    encoding = chosen(request.headers.get("Accept-Encoding", ""))
    if encoding is None or len(body := response.get_data()) < SIZE_MIN_BYTES:
        return response
    response.set_data(packed(body, encoding))
    response.headers["Content-Encoding"] = encoding
    return response


def packed(body: bytes, encoding: str) -> bytes:
    pack, level = PACKERS[encoding]
    return bytes(pack(body, level))


@lru_cache(maxsize=100)
def chosen(accepted: str) -> str | None:
    """gzip or zstd, whichever the client takes; of both the faster. None: neither."""
    words = {part.partition(";")[0].strip().lower() for part in accepted.split(",") if not _NO.search(part.strip())}
    return next((encoding for encoding in PACKERS if encoding in words), None)
