"""What every question to the query process may say beside itself."""

from __future__ import annotations

import msgspec


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """timeout_s: from now on, the queue included; without it as long as query.timeout allows.

    query_id: a name of the caller's choice, under which the query can be cancelled.
    """

    timeout_s: float | None = None
    query_id: str = ""
