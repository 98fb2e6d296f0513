"""attime.json: from and until as graphite-web reads them, against our reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.scripts.report import Report
from tsdb.query.graphite.attime import epoch_of, seconds_of
from tsdb.query.graphite.errors import BadTime

Content = Mapping[str, Any]


def is_mine(content: Content) -> bool:
    return "at" in content and "offset" in content


def run(content: Content, path: Path) -> Report:
    report = Report(path.name)
    for index, case in enumerate(content["at"]):
        _note(report, f"{path.name}:at-{index}", case, case.get("epoch"), _read_time(case))
    for index, case in enumerate(content["offset"]):
        _note(report, f"{path.name}:offset-{index}", case, case.get("seconds"), _read_offset(case))
    return report


def _note(report: Report, name: str, case: Content, wanted: float | None, got: float | str) -> None:
    agrees = got == wanted if wanted is not None else isinstance(got, str)
    report.note(name, None if agrees else str(case), str(got))


def _read_time(case: Content) -> int | str:
    try:
        return epoch_of(case["spec"], case["now"], ZoneInfo(case["tz"]))
    except BadTime as error:
        return str(error)


def _read_offset(case: Content) -> int | str:
    try:
        return seconds_of(case["spec"])
    except BadTime as error:
        return str(error)
