"""What the options of all kinds share: their base, the types of their fields, and the error that names a field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

HOST_PATTERN = r"^[A-Za-z0-9_.:\[\]%*-]+$"
SECONDS_MAX = 600


class OptionError(ValueError):
    """An option is wrong: `field` names it, the text says which value and which limit."""

    code = "invalid"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class Options(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The base of every kind's options. A field's help, limits and looks stand in its msgspec.Meta."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What single fields cannot say: pairs of (field, message) about values that do not go together."""
        return iter(())


Host = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=HOST_PATTERN,
        description="Name or address, such as db.example.org or 2001:db8::7",
        extra={"placeholder": "example.org", "means": "a host name or an IP address, without scheme, port or path"},
    ),
]
Port = Annotated[int, Meta(ge=1, le=65_535, description="Port number")]
WarningSeconds = Annotated[
    float | None, Meta(description="WARNING when it takes longer than this many seconds", extra={"group": "limits"})
]
CriticalSeconds = Annotated[
    float | None, Meta(description="CRITICAL when it takes longer than this many seconds", extra={"group": "limits"})
]


def nearest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" when one of the known words is close, else ""."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def limit_problems(
    warning: float | None, critical: float | None, *, fields: tuple[str, str] = ("warning_s", "critical_s")
) -> Iterator[tuple[str, str]]:
    """Limits of which more is worse: none negative, and warning not above critical."""
    for field, value in zip(fields, (warning, critical), strict=True):
        if value is not None and value < 0:
            yield field, f"{value:g} is negative; give 0 or more, or nothing"
    if warning is not None and critical is not None and warning > critical:
        yield fields[0], f"{warning:g} is above {fields[1]}, which is {critical:g}: WARNING would never be seen"


def one_line(text: str, *, characters_max: int = 200) -> str:
    """Text of a stranger, fit for a result's single line: no control characters, cut to a length."""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()
    return clean if len(clean) <= characters_max else clean[: characters_max - 1] + "…"
