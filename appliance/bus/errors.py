"""What a call can end with, by what the caller can do.

BusError ─┬─ BusTimeout (nobody answered: try again later; whether it was done is not known) ─┬─ BusGone
          │                                                                                └─ BusAbsent (it was not)
          └─ BusRefused (the service answered with a refusal; its code says which)
"""

from __future__ import annotations

from pathlib import Path

STOPPING = "stopping"  # The refusal of a service that stops: it has not looked at the request. Clients ask again.


class BusError(Exception):
    """The root of the tree. `code` is a short word for counters and JSON errors."""

    code = "bus"


class BusTimeout(BusError):
    """The service did not answer in time. The request may have been done."""

    code = "timeout"

    def __init__(self, service: str, op: str, timeout_s: float) -> None:
        super().__init__(
            f"{service} did not answer {op!r} within {timeout_s:g} s; it may be starting again or overloaded: "
            f"see `henge status` and the log"
        )


class BusGone(BusTimeout):
    """The service ended while it held the request. The request may have been done."""

    code = "gone"

    def __init__(self, service: str, op: str) -> None:
        BusError.__init__(
            self, f"{service} ended before it answered {op!r}; it is started again by itself: try again in a moment"
        )


class BusAbsent(BusTimeout):
    """No appliance has ever run there, so nothing is worth waiting for."""

    code = "absent"

    def __init__(self, service: str, run_dir: Path) -> None:
        BusError.__init__(
            self,
            f"no appliance runs in {run_dir.parent} ({service} was asked): start it with `henge up`, or give --data",
        )


class BusRefused(BusError):
    """The service refused. Codes of the bus itself: busy, bad_request, unknown_op, too_large, internal, crashed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class WireError(Exception):
    """Frames that are not ours, or damaged; the text says what was found."""
