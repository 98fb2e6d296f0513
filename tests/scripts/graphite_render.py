"""render.json: what graphite-web rendered over fixed series, against our functions over the same series."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.scripts.report import Report
from tsdb.errors import TsdbError
from tsdb.query.graphite.context import Context, Event
from tsdb.query.graphite.evaluate import render
from tsdb.query.graphite.fetch import StoredSeries
from tsdb.query.graphite.points import fitted
from tsdb.query.graphite.registry import FUNCTIONS
from tsdb.query.graphite.series import Series
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import METRIC_NAME, Labels, labels_from

Content = Mapping[str, Any]
NOW_S = 1_700_004_645


def is_mine(content: Content) -> bool:
    return "cases" in content and "datasets" in content


def run(content: Content, path: Path) -> Report:
    report = Report(path.name)
    world = World(content)
    for case in content["cases"]:
        missing = sorted(set(case["functions"]) - FUNCTIONS.keys())
        if missing:
            report.skipped[f"function {missing[0]}"] += 1
        else:
            name, (expected, got) = f"{path.name}:{case['id']}", world.compared(case)
            report.note(name, None if expected == got else expected, got)
    return report


class World:
    """The series and events that were recorded. Steps are configured, as carbon's storage-schemas had them."""

    def __init__(self, content: Content) -> None:
        self._source = MemorySeries()
        self._step_s: dict[Labels, int] = {}
        for dataset in content["datasets"].values():
            for name, series in dataset.items():
                labels = labels_of_name(name)
                self._step_s[labels] = series["step"]
                samples = [
                    ((series["start"] + index * series["step"]) * 1_000, float(value))
                    for index, value in enumerate(series["values"])
                    if value is not None
                ]
                self._source.add(dict(labels), samples)
        self._events = [
            Event(at_s=event["when"], what=event["what"], tags=tuple(event["tags"])) for event in content["events"]
        ]

    def compared(self, case: Content) -> tuple[str, str]:
        """What was recorded and what we give, in words; the same words where they agree."""
        try:
            found = render(self._context(case), case["target"])
        except TsdbError as error:
            got = f"refused: {error}"
            return (got, got) if "error" in case or "lenient" in case else (_shown(case["expected"]), got)
        if "error" in case:
            return f"refused: {case['error']['body'][:200]}", _shown([described(one) for one in found])
        wanted, given = case["expected"], [described(one) for one in found]
        if "expected_json" in case and case.get("params"):
            shown = fitted(found, _points_max(case["params"]))
            return _agreement(case["expected_json"], [_as_json(one) for one in shown])
        if case.get("volatile"):
            return str(len(wanted)), str(len(given))
        tolerance = 1e-6 if "holtWinters" in case["target"] else 1e-9
        for index, (want, give) in enumerate(zip(wanted, given, strict=False)):
            for key, value in want.items():
                if not _agrees(value, give[key], tolerance):
                    return f"series {index} {key}: {value}", f"{give[key]}"
        return f"{len(wanted)} series", f"{len(given)} series"

    def _context(self, case: Content) -> Context:
        params = case.get("params", {})
        return Context(
            storage=StoredSeries(self._source, NOW_S, lambda labels, _: self._step_s.get(labels), self._found_events),
            start_s=case["from"],
            end_s=case["until"],
            now_s=int(params.get("now", NOW_S)),
            zone=ZoneInfo(params.get("tz", "UTC")),
            x_files_factor=float(params.get("xFilesFactor", 0.0)),
            template={name[9:-1]: text for name, text in params.items() if name.startswith("template[")},
        )

    def _found_events(self, tags: Any, start_s: int, end_s: int) -> list[Event]:
        return [one for one in self._events if start_s <= one.at_s <= end_s and (not tags or set(tags) & set(one.tags))]


def labels_of_name(name: str) -> Labels:
    """The labels of `disk.used;dc=lon`."""
    metric, *pairs = name.split(";")
    return labels_from([(METRIC_NAME, metric), *(tuple(pair.split("=", 1)) for pair in pairs)])  # type: ignore[misc]


def described(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "start": series.start_s,
        "end": series.end_s,
        "step": series.step_s,
        "values": [None if math.isnan(value) else value for value in series.values.tolist()],
        "pathExpression": series.path,
        "consolidationFunc": series.consolidate_by,
        "xFilesFactor": series.x_files_factor,
        "tags": series.tags,
    }


def _points_max(params: Mapping[str, str]) -> int | None:
    text = params.get("maxDataPoints", "")
    return int(text) if text.isdecimal() and int(text) else None


def _as_json(one: Series) -> dict[str, Any]:
    values = [None if math.isnan(value) else value for value in one.values.tolist()]
    times = [one.start_s + index * one.step_s for index in range(len(values))]
    return {
        "target": one.name,
        "tags": one.tags,
        "datapoints": [list(pair) for pair in zip(values, times, strict=True)],
    }


def _agreement(wanted: Any, given: Any) -> tuple[str, str]:
    return ("alike", "alike") if _agrees(wanted, given, 1e-9) else (_shown(wanted), _shown(given))


def _agrees(wanted: Any, given: Any, tolerance: float) -> bool:
    if isinstance(wanted, list):
        return len(wanted) == len(given) and all(
            _agrees(one, other, tolerance) for one, other in zip(wanted, given, strict=True)
        )
    if isinstance(wanted, dict):
        return wanted.keys() == given.keys() and all(_agrees(wanted[key], given[key], tolerance) for key in wanted)
    if isinstance(wanted, int | float) and isinstance(given, int | float):
        return math.isclose(wanted, given, rel_tol=tolerance, abs_tol=1e-12)
    return bool(wanted == given)


def _shown(found: Any) -> str:
    return json.dumps(found)[:300]
