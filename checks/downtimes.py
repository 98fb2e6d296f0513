"""Downtimes: times in which a check or a group of checks may break without anybody being told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from checks.errors import CheckError
from checks.model import Check

DURATION_MS_MAX = 366 * 86_400_000
COMMENT_CHARACTERS_MAX = 1_000


class Downtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From from_ms (inclusive) until until_ms (exclusive), for one check, or for all that have the labels.

    Invariant: from_ms < until_ms; check_id or matchers are given.
    """

    check_id: str | None = None
    matchers: dict[str, str] = {}
    from_ms: int
    until_ms: int
    comment: Annotated[str, msgspec.Meta(max_length=COMMENT_CHARACTERS_MAX)] = ""
    author: str = ""


def labels_of_check(check: Check, instance: Mapping[str, str] | None = None) -> dict[str, str]:
    """What matchers see: the labels of the instance and of the check, its team, name and kind."""
    return {**(instance or {}), **check.labels, "team": check.team, "check": check.name, "kind": check.kind}


def is_quiet(downtimes: Iterable[Downtime], *, check_id: str, labels: Mapping[str, str], at_ms: int) -> bool:
    """Whether any downtime covers this check at this time."""
    return any(
        downtime.from_ms <= at_ms < downtime.until_ms and _covers(downtime, check_id, labels) for downtime in downtimes
    )


def _covers(downtime: Downtime, check_id: str, labels: Mapping[str, str]) -> bool:
    if downtime.check_id is not None and downtime.check_id != check_id:
        return False
    return all(labels.get(name) == value for name, value in downtime.matchers.items())


def downtime_of(body: Mapping[str, Any]) -> Downtime:
    """A downtime as the API or a file gives it, checked. Raises: CheckError, naming the field."""
    try:
        downtime = msgspec.convert(dict(body), Downtime)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise CheckError("invalid", reason, path.rstrip("`") or None) from error
    if downtime.check_id is None and not downtime.matchers:
        raise CheckError("invalid", "a downtime names a check or at least one label, such as team=shop", "check_id")
    if downtime.from_ms < 0:
        raise CheckError("invalid", f"{downtime.from_ms} is before 1970; times are epoch milliseconds", "from_ms")
    if downtime.until_ms <= downtime.from_ms:
        raise CheckError("invalid", "the end is not after the start", "until_ms")
    if downtime.until_ms - downtime.from_ms > DURATION_MS_MAX:
        raise CheckError(
            "invalid",
            f"longer than {DURATION_MS_MAX // 86_400_000} days; pause or delete the check instead",
            "until_ms",
        )
    return downtime
