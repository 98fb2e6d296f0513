"""Why the state refuses; over the bus, callers see the code and the text (BusRefused).

StateError ─┬─ Conflict     (read again and decide again; 409)
            ├─ NotFound     (404)
            ├─ BadMutation  (change it; 400)
            └─ Unavailable  (try again later, or free the disk; 503) ── DiskFull
"""

from __future__ import annotations


class StateError(Exception):
    code = "state"


class Conflict(StateError):
    """Somebody else changed the document, or its unique name is taken."""

    code = "conflict"


class NotFound(StateError):
    code = "not_found"


class BadMutation(StateError):
    code = "bad_request"


class Unavailable(StateError):
    code = "not_ready"


class DiskFull(Unavailable):
    code = "disk_full"
