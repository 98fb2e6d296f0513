"""A msgpack body of rows → columns; rows with labels that cannot be stored are left out and counted."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import TIMESTAMP_MS_MAX, Body, Decoded, Refusals
from tsdb.ingest.series import Columns

Row = tuple[tuple[tuple[str, str], ...], Annotated[int, msgspec.Meta(ge=0, le=TIMESTAMP_MS_MAX)], float]

_ROWS = msgspec.msgpack.Decoder(list[Row])


def decode(body: Body) -> Decoded:
    """Decode a body. Raises: RefusedSample, reason bad_rows: the sender is our own, so nothing of it is trusted."""
    try:
        rows = _ROWS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedSample("bad_rows", f"the body is not msgpack of [[labels, ms, value], …]: {error}") from error
    columns = Columns(Refusals())
    for labels, timestamp_ms, value in rows:
        columns.add(labels, [(timestamp_ms, value)])
    return columns.decoded()
