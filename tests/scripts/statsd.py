"""Run what the real statsd flushed against ours: `python -m tests.scripts.statsd [FILE…] [--json]`.

Without a file, the recorded cases of the shared folder. What does not agree stands in statsd.known beside this file.
Lines are compared as names with values, whatever their order, and to the last bit; of lines that hold timings, the name
alone counts. The commands of the management interface run too.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tests.scripts.report import Report, known_exceptions, told
from tests.shared import SHARED
from tsdb.ingest.cutter import LineCutter
from tsdb.ingest.statsd.columns import decode
from tsdb.ingest.statsd.flush import LastFlush, flush
from tsdb.ingest.statsd.management import Management, Told
from tsdb.ingest.statsd.rules import Histogram, Rules
from tsdb.ingest.statsd.window import Window

KNOWN = Path(__file__).with_suffix(".known")
FILE = SHARED / "conformance" / "statsd" / "cases.json"
LINE_BYTES_MAX = 65_536

Content = Mapping[str, Any]
_GRAPHITE = {
    "legacyNamespace": "legacy_namespace",
    "globalPrefix": "global_prefix",
    "globalSuffix": "global_suffix",
    "prefixCounter": "prefix_counter",
    "prefixTimer": "prefix_timer",
    "prefixGauge": "prefix_gauge",
    "prefixSet": "prefix_set",
}


def run_file(path: Path) -> Report:
    """Raises: ValueError, for a file of another kind."""
    return run(json.loads(path.read_bytes()), path)


def run(content: Content, path: Path) -> Report:
    if "cases" not in content or "flushInterval_ms" not in content:
        raise ValueError(f"{path.name} has the keys {', '.join(content)}: these are no recorded flushes of statsd")
    report = Report(path.name)
    for index, case in enumerate(content["cases"]):
        try:
            wanted = [wanted_of(window["flush"]) for window in case["windows"]]
        except ValueError:  # A line that is no number, of which no sample can come.
            wanted = [[("no number", 0.0)]]
        got = answered(case, rules_of(case["config"], content["flushInterval_ms"]))
        report.note(f"{path.name}:{index}", None if got == wanted else _differs(wanted, got), _differs(got, wanted))
    _run_management(content.get("management", ()), report)
    report.skipped["repeater"] += len(content.get("repeater", ()))
    return report


# What the recording sent before its commands: they ask for it.
MANAGED = (b"a:1|c\n", b"a.b:2|c\n", b"a.c:3|c\n", b"t.x:5|ms\n", b"t.x:6|ms\n", b"g.x:4|g\n", b"s:1|s\n", b"bad\n")


def management_of(sent: Sequence[bytes] = MANAGED) -> Management:
    """The commands over a window that holds what was sent, a minute and a half after its start."""
    window = Window(Rules())
    for packet in sent:
        window.take(decode(packet), 1)
    told = Told(now_s=100, started_s=10, last_message_s=95, bad_lines_count=1, last=LastFlush())
    return Management(Rules(), window, threading.Lock(), lambda: told)


def _run_management(recorded: Sequence[Mapping[str, str]], report: Report) -> None:
    """The commands in their order. Uptime and other ages are N in the recording."""
    management = management_of()
    for index, case in enumerate(recorded):
        if case["send"] == "config":
            report.skipped["settings as config.js had them"] += 1
            continue
        answer = management.answer(case["send"].replace(" in one segment", "").replace("\\n", "\n"))
        got = "<closed>" if answer is None else re.sub(r"(uptime|last_\w+): [0-9]+", r"\1: N", answer)
        report.note(
            f"{report.file}:management-{index}", None if got == case["reply"] else repr(case["reply"]), repr(got)
        )


Flushed = list[tuple[str, float | str]]


def wanted_of(recorded: Content) -> Flushed:
    """The recorded lines, sorted. Raises: ValueError, if one of them is no number."""
    pairs = [line.rsplit(" ", 1) for line in recorded["lines"]]
    volatile = set(recorded["volatile_names"])
    told_names = {(name, "volatile") for name in volatile}
    return _sorted([(name, _comparable(float(text))) for name, text in pairs if name not in volatile] + [*told_names])


def answered(case: Content, rules: Rules) -> list[Flushed]:
    window = Window(rules)
    cutter = LineCutter(LINE_BYTES_MAX, lambda _: None)
    flushes = []
    for number, recorded in enumerate(case["windows"]):
        for packet in recorded["packets"]:
            data = packet.encode()
            if case.get("transport") == "tcp":
                data = cutter.cut(data)
                if not data:
                    continue
            elif not data.endswith(b"\n"):
                data += b"\n"
            window.take(decode(data, dogstatsd=rules.dogstatsd), 1)
        if number:
            window.set_gauge("timestamp_lag", 0)
        rows = flush(window, LastFlush())
        window.reset()
        volatile = set(recorded["flush"]["volatile_names"])
        pairs = zip(rows.names.to_list(), rows.values.tolist(), strict=True)
        flushes.append(_sorted([(name, "volatile" if name in volatile else _comparable(v)) for name, v in pairs]))
    return flushes


def rules_of(config: Content, flush_interval_ms: int) -> Rules:
    """The rules of a statsd's config.js."""
    graphite = config.get("graphite", {})
    percentiles = config.get("percentThreshold", 90)
    idle = config.get("deleteIdleStats", False)
    names = {"counters": "Counters", "timers": "Timers", "gauges": "Gauges", "sets": "Sets"}
    return Rules(
        flush_interval_ms=flush_interval_ms,
        percentiles=tuple(percentiles) if isinstance(percentiles, list) else (percentiles,),
        histograms=tuple(
            Histogram(one["metric"], tuple(float(bound) for bound in one["bins"]))
            for one in config.get("histogram", [])
        ),
        timer_metrics=tuple(config.get("calculatedTimerMetrics", ())),
        prefix_stats=config.get("prefixStats", "statsd"),
        **{f"delete_{ours}": config.get(f"delete{theirs}", idle) for ours, theirs in names.items()},
        **{ours: graphite[theirs] for theirs, ours in _GRAPHITE.items() if theirs in graphite},
    )


def _comparable(value: float) -> float | str:
    return "NaN" if math.isnan(value) else value


def _sorted(pairs: Flushed) -> Flushed:
    return sorted(pairs, key=str)


def _differs(these: list[Flushed], those: list[Flushed]) -> str:
    """What of these is not in those, window by window."""
    return str([[pair for pair in this if pair not in that] for this, that in zip(these, those, strict=False)])


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
def main(files: tuple[Path, ...], as_json: bool) -> None:
    """Run recorded flushes. Exit status 1 if a case fails that is not a known exception, or if a known one passes."""
    try:
        reports = [run_file(path) for path in files or (FILE,)]
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    told(reports, known_exceptions(KNOWN), as_json=as_json)


if __name__ == "__main__":
    main()
