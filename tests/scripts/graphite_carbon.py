"""carbon.json: what carbon stored for lines, datagrams and pickles, and how it read its rule files, against ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from appliance.graphite import AggregationRule
from appliance.retention import SchemaRule, parse_retention
from tests.scripts.report import Report
from tsdb.carbon.aggregation import Output, parse_rule
from tsdb.carbon.relay import read_relay
from tsdb.carbon.retentions import Archive, check, parse_archive
from tsdb.carbon.rewriting import Rewrite
from tsdb.carbon.rulebook import READERS, Rulebook
from tsdb.errors import RefusedSample
from tsdb.ingest.decoded import Decoded
from tsdb.ingest.graphite.aggregator import Aggregator
from tsdb.ingest.graphite.known_names import KnownNames
from tsdb.ingest.streams import GRAPHITE, GRAPHITE_PICKLE, Stream
from tsdb.query.graphite.archives import Archives
from tsdb.query.graphite.fetch import StoredSeries
from tsdb.query.graphite.steps import ConfiguredSteps
from tsdb.query.rules.memory import MemorySeries
from tsdb.sample import METRIC_NAME, labels_of

Content = Mapping[str, Any]
Compared = Callable[[Content], tuple[object, object]]
NOW_MS = 1_750_000_000_000
NOT_BUILT = {
    "cache_query": "carbon's query port",
}


def is_mine(content: Content) -> bool:
    return "carbon_version" in content


def run(content: Content, path: Path) -> Report:
    report = Report(path.name)
    for section, cases in content.items():
        if section == "carbon_version":
            continue
        if section in NOT_BUILT:
            count = len(cases) if isinstance(cases, list) else 1
            report.skipped[f"{section}: {NOT_BUILT[section]}"] += count
            continue
        for index, case in enumerate(_cases_of(section, cases)):
            wanted, got = SECTIONS[section](case)
            report.note(f"{path.name}:{section}-{index}", None if wanted == got else str(wanted), str(got))
    return report


def _line(case: Content) -> tuple[object, object]:
    """Lines of which some are no UTF-8 are recorded as Latin-1."""
    return _wanted(case["stored"]), stored_of(GRAPHITE, _bytes_of(case))


def _datagram(case: Content) -> tuple[object, object]:
    data = _bytes_of(case)
    return _wanted(case["stored"]), stored_of(GRAPHITE, data if data.endswith(b"\n") else data + b"\n")


def _pickle(case: Content) -> tuple[object, object]:
    return _wanted(case["stored"]), stored_of(GRAPHITE_PICKLE, bytes.fromhex(case["frame_hex"]))


def _cases_of(name: str, section: Any) -> list[Content]:
    if name == "archive_choice":
        return [{"archives": section["archives"], **case} for case in section["cases"]]
    return section if isinstance(section, list) else [section]


def _filter(case: Content) -> tuple[object, object]:
    """Wrong lines count for nothing where no right file was there before."""
    reads = [READERS[name](case[name]) for name in ("blacklist.conf", "whitelist.conf")]
    rules = Rulebook(**{key: found for read in reads for key, found in read.rules.items()})
    names = KnownNames(rules, lambda _: -1, (1, 2))
    sent = "".join(f"{name} 1 1\n" for name in case["sent"])
    return case["stored"], names.ruled(GRAPHITE.decode(sent.encode(), NOW_MS)).decoded.names.to_list()


def _rewriting(case: Content) -> tuple[object, object]:
    rule = Rewrite.of(case["pattern"], case["replacement"])
    return case["result"], {name: rule.apply(name) for name in case["result"]}


def _aggregation(case: Content) -> tuple[object, object]:
    try:
        rule = parse_rule(case["rule"])
    except ValueError:
        return "refused" if "error" in case else case["matches"], "refused"
    made = {name: rule.output_of(name) for name in case.get("matches", ())}
    return (
        (case["frequency"], case["method"], case.get("matches")),
        (rule.frequency_s, rule.method, {name: output and output.name for name, output in made.items()}),
    )


def _methods(case: Content) -> tuple[object, object]:
    aggregator = Aggregator()
    values = np.array(case["input"])
    for method in case["result"]:
        numbers = np.full(values.size, aggregator.number_of(Output(method, 10, method)))
        aggregator.add(numbers, np.zeros(values.size, np.int64), values)
    made = aggregator.take_all()
    rounded = {name: float(f"{value:.12g}") for name, value in case["result"].items()}
    return rounded, {name: float(f"{value:.12g}") for name, value in zip(made.names, made.value, strict=True)}


def _rollup(case: Content) -> tuple[object, object]:
    """Fine points that lie far enough back for the coarser archive to be read."""
    fine_s, coarse_s = case["from_step"], case["to_step"]
    rule = SchemaRule("", ".", (), parse_retention(f"raw:1d,{coarse_s}s:7d"), fine_s * 1_000)
    steps = ConfiguredSteps([rule])
    now_s = NOW_MS // 1_000
    first_s = (now_s - 3 * 86_400) // coarse_s * coarse_s
    source = MemorySeries()
    points = enumerate(case["values"])
    source.add({METRIC_NAME: "a"}, [(1_000 * (first_s + at * fine_s), x) for at, x in points if x is not None])
    archives = Archives(
        [AggregationRule("", ".", case["method"], case["xFilesFactor"])], steps.resolution_s, steps.coarser_s
    )
    storage = StoredSeries(source, now_s, steps.step_s, archives=archives)
    until_s = first_s + (len(case["result"]) - 1) * coarse_s
    (found,) = storage.fetch("a", first_s - coarse_s, until_s)
    return case["result"], [None if np.isnan(value) else value for value in found.values.tolist()]


def _relay(case: Content) -> tuple[object, object]:
    try:
        return "refused" if "error" in case else "taken", read_relay(case["relay-rules.conf"])
    except ValueError:
        return "refused" if "error" in case else "taken", "refused"


def _archive(case: Content) -> tuple[object, object]:
    """Recorded a minute after a multiple of the coarsest step: its counts of points tell."""
    (step_s, count), *rollups = case["archives"]
    retention = ",".join([f"raw:{step_s * count}s", *(f"{step}s:{step * count}s" for step, count in rollups)])
    rule = SchemaRule("", ".", (), parse_retention(retention), step_s * 1_000)
    now_s = NOW_MS // 1_000 // 600 * 600 + 60
    source = MemorySeries()
    source.add({METRIC_NAME: "a"}, [(now_s * 1_000, 1.0)])
    storage = StoredSeries(source, now_s, ConfiguredSteps([rule]).step_s)
    (found,) = storage.fetch("a", now_s - case["from_ago"], now_s - case["until_ago"])
    return (case["step"], case["points"]), (found.step_s, found.values.size)


def _retention(case: Content) -> tuple[object, object]:
    """As whisper reads them, for carbon's files are read by it."""
    wanted = "refused" if isinstance(case["whisper"], str) else tuple(case["whisper"])
    try:
        found = parse_archive(case["spec"])
    except ValueError:
        return wanted, "refused"
    return wanted, (found.step_s, found.count)


def _archives(case: Content) -> tuple[object, object]:
    wanted = "valid" if case["result"] == "valid" else "refused"
    try:
        check(sorted(Archive(*each) for each in case["archives"]))
    except ValueError:
        return wanted, "refused"
    return wanted, "valid"


SECTIONS: dict[str, Compared] = {
    "line": _line,
    "udp": _datagram,
    "pickle": _pickle,
    "retentions": _retention,
    "storage_schemas": _archives,
    "archive_choice": _archive,
    "filters": _filter,
    "rewrite": _rewriting,
    "aggregation_rules": _aggregation,
    "aggregation_methods": _methods,
    "relay": _relay,
    "whisper_rollup": _rollup,
}


def _bytes_of(case: Content) -> bytes:
    text: str = case["input"]
    is_raw = "UnicodeDecodeError" in case.get("exception_closes_connection", "") + case.get("exception", "")
    return text.encode("latin-1" if is_raw else "utf-8")


def _wanted(stored: Sequence[Content]) -> list[tuple[str, float, float]]:
    return [
        (one["name"], one["value"], NOW_MS / 1_000 if one["time"] == "now" else one["time"])
        for one in stored
        if "dropped" not in one
    ]


def stored_of(stream: Stream, data: bytes) -> list[tuple[str, float, float]]:
    """The name, value and time in seconds of what we would store of one connection's bytes."""
    too_long: list[bytes] = []
    return rows_of(stream.decode(stream.cutter(too_long.append).cut(data), NOW_MS))


def rows_of(decoded: Decoded) -> list[tuple[str, float, float]]:
    assert decoded.name_index is None
    rows = []
    for name, value, timestamp_ms in zip(decoded.names.to_list(), decoded.value, decoded.timestamp_ms, strict=True):
        try:
            rows.append((_written(decoded.canonical_of(name)), float(value), int(timestamp_ms) / 1_000))
        except RefusedSample:
            continue
    return rows


def _written(canonical: bytes) -> str:
    labels = dict(labels_of(canonical))
    metric = labels.pop(METRIC_NAME)
    return ";".join([metric, *(f"{label}={value}" for label, value in sorted(labels.items()))])
