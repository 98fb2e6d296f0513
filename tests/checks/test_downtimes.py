"""Downtimes: when and for whom, and what may not be written as one."""

from __future__ import annotations

from typing import Any

import pytest

from checks.downtimes import Downtime, downtime_of, is_quiet, labels_of_check
from checks.errors import CheckError
from checks.model import Check

CHECK = Check(kind="http", name="web", labels={"team": "shop", "env": "live"})

COVERED = {  # name: (downtime, time, is it quiet)
    "by id": (Downtime(check_id="c1", from_ms=10, until_ms=20), 15, True),
    "another id": (Downtime(check_id="c2", from_ms=10, until_ms=20), 15, False),
    "the start belongs to it": (Downtime(check_id="c1", from_ms=10, until_ms=20), 10, True),
    "the end does not": (Downtime(check_id="c1", from_ms=10, until_ms=20), 20, False),
    "before": (Downtime(check_id="c1", from_ms=10, until_ms=20), 9, False),
    "by label": (Downtime(matchers={"env": "live"}, from_ms=10, until_ms=20), 15, True),
    "every label must match": (Downtime(matchers={"env": "live", "team": "ops"}, from_ms=10, until_ms=20), 15, False),
    "by team": (Downtime(matchers={"team": "shop"}, from_ms=10, until_ms=20), 15, True),
    "by name": (Downtime(matchers={"check": "web"}, from_ms=10, until_ms=20), 15, True),
    "by the label of an instance": (Downtime(matchers={"host": "a"}, from_ms=10, until_ms=20), 15, True),
    "id and label": (Downtime(check_id="c1", matchers={"env": "test"}, from_ms=10, until_ms=20), 15, False),
}


@pytest.mark.parametrize(("downtime", "at_ms", "want"), COVERED.values(), ids=COVERED.keys())
def test_covered(downtime: Downtime, at_ms: int, want: bool) -> None:
    labels = labels_of_check(CHECK, {"host": "a"})
    assert is_quiet([downtime], check_id="c1", labels=labels, at_ms=at_ms) is want


def test_a_check_without_a_team_is_in_the_default_one() -> None:
    downtime = Downtime(matchers={"team": "default"}, from_ms=0, until_ms=2)
    labels = labels_of_check(Check(kind="tcp", name="db"))
    assert is_quiet([downtime], check_id="x", labels=labels, at_ms=1)


REFUSED: dict[str, tuple[dict[str, Any], str | None]] = {
    "for everything": ({"from_ms": 1, "until_ms": 2}, "check_id"),
    "no end": ({"check_id": "c", "from_ms": 1}, None),
    "the end before the start": ({"check_id": "c", "from_ms": 5, "until_ms": 5}, "until_ms"),
    "before 1970": ({"check_id": "c", "from_ms": -5, "until_ms": 5}, "from_ms"),
    "for ten years": ({"check_id": "c", "from_ms": 0, "until_ms": 10 * 366 * 86_400_000}, "until_ms"),
    "a time that is none": ({"check_id": "c", "from_ms": "soon", "until_ms": 5}, "from_ms"),
    "an unknown field": ({"check_id": "c", "from_ms": 1, "until_ms": 5, "who": "me"}, None),
}


@pytest.mark.parametrize(("body", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(body: dict[str, Any], field: str | None) -> None:
    with pytest.raises(CheckError) as caught:
        downtime_of(body)
    assert caught.value.field == field
    assert caught.value.message


def test_a_right_one_is_taken_as_it_is() -> None:
    body = {"check_id": "c", "from_ms": 1, "until_ms": 5, "comment": "new disks", "author": "ann"}
    assert downtime_of(body) == Downtime(check_id="c", from_ms=1, until_ms=5, comment="new disks", author="ann")
