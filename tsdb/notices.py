"""What senders of metrics tell beside them: that something happened, and how a job of theirs goes.

Intake reads them, and hands them to whoever knows checks and keeps events; it only learns which of them nobody wanted.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

COUNT_MAX = 1_000  # In one message.


class Happening(msgspec.Struct, frozen=True, tag="event"):
    """An event, such as a deploy. tags: with what was said of its host, kind and source, as `host:web1`."""

    title: str
    text: str
    tags: tuple[str, ...] = ()
    at_ms: int | None = None  # None: now.


class JobState(msgspec.Struct, frozen=True, tag="service_check"):
    """How a job goes, by its name. status: 0 to 3, as plugins of Nagios mean them."""

    name: str
    status: Annotated[int, msgspec.Meta(ge=0, le=3)]
    text: str = ""
    tags: tuple[str, ...] = ()
    at_ms: int | None = None


Notice = Happening | JobState


class Noted(msgspec.Struct, frozen=True):
    """The body of the scheduler's request "notices"; it is answered with a list of Unwanted."""

    notices: Annotated[list[Notice], msgspec.Meta(max_length=COUNT_MAX)]


class Unwanted(msgspec.Struct, frozen=True):
    """A notice that nothing came of, by its place in the list, and why."""

    index: int
    reason: str
    message: str
