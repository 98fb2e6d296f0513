"""Own counters, and the text that Prometheus reads."""

from __future__ import annotations

import math
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.metrics import LABEL_SET_COUNT_MAX, Metrics, Sample, render

LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)', re.ASCII)
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"', re.ASCII)
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """A strict reader of the text format, written from its definition and not from render().

    It checks that HELP and TYPE come once, before the samples of their metric, that all samples of a metric stand
    together, and that no series comes twice.
    """
    assert text == "" or text.endswith("\n")
    series: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    helped, typed, metric = set(), set(), ""
    for line in text.split("\n")[:-1]:
        if line.startswith("# "):
            _, word, name, _rest = line.split(" ", 3)
            seen = {"HELP": helped, "TYPE": typed}[word]
            assert name not in seen, line
            seen.add(name)
            metric = name
            continue
        match = LINE.fullmatch(line)
        assert match is not None, line
        assert match[1] == metric, f"{line} stands under {metric}"
        labels = [
            (label, re.sub(r'\\["\\n]', lambda found: UNESCAPED[found[0]], value))
            for label, value in LABEL.findall(match[2] or "")
        ]
        key = (match[1], frozenset(labels))
        assert len(dict(labels)) == len(labels), line
        assert key not in series, line
        series[key] = float(match[3])
    assert helped == typed == {name for name, _ in series}
    return series


def test_counters_and_gauges_show_what_was_counted() -> None:
    metrics = Metrics()
    refused = metrics.counter("henge_refused_total", "Samples refused.")
    refused.inc(reason="nan", protocol="graphite")
    refused.inc(2, protocol="graphite", reason="nan")
    refused.inc(protocol="json", reason="future")
    metrics.gauge("henge_queue_length", "Waiting.").set(1.5)
    metrics.counter("henge_refused_total", "asked for again").inc(0.5, protocol="json", reason="future")
    assert render(metrics.snapshot()) == (
        "# HELP henge_queue_length Waiting.\n"
        "# TYPE henge_queue_length gauge\n"
        "henge_queue_length 1.5\n"
        "# HELP henge_refused_total Samples refused.\n"
        "# TYPE henge_refused_total counter\n"
        'henge_refused_total{protocol="graphite",reason="nan"} 3\n'
        'henge_refused_total{protocol="json",reason="future"} 1.5\n'
    )


def test_a_metric_that_nobody_touched_is_not_shown() -> None:
    metrics = Metrics()
    metrics.counter("henge_refused_total", "Samples refused.")
    assert render(metrics.snapshot()) == ""


def test_what_several_processes_report_under_one_name_is_one_metric() -> None:
    processes = [Metrics(), Metrics()]
    for number, metrics in enumerate(processes, start=1):
        metrics.counter("henge_requests_total", f"Help of process {number}.").inc(number, op="ping")
        metrics.gauge("henge_memory_bytes", "Memory.").set(number, process=f"p{number}")
    series = parsed(render(sample for metrics in processes for sample in metrics.snapshot()))
    assert series == {
        ("henge_requests_total", frozenset({("op", "ping")})): 3,
        ("henge_memory_bytes", frozenset({("process", "p1")})): 1,
        ("henge_memory_bytes", frozenset({("process", "p2")})): 2,
    }


NAMES = st.from_regex(r"henge_[a-z]{1,3}", fullmatch=True)
SAMPLES = st.builds(
    Sample,
    name=NAMES,
    kind=st.sampled_from(["counter", "gauge"]),
    help=st.text(),
    labels=st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.text(), max_size=3),
    value=st.floats() | st.integers(-(2**60), 2**60).map(float),
)


@given(st.lists(SAMPLES, max_size=10))
def test_any_samples_become_text_that_reads_back_to_their_sums(samples: list[Sample]) -> None:
    want: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for sample in samples:
        key = (sample.name, frozenset(sample.labels.items()))
        want[key] = want.get(key, 0.0) + sample.value
    got = parsed(render(samples))
    assert got.keys() == want.keys()
    for key, value in want.items():
        assert got[key] == value or (math.isnan(got[key]) and math.isnan(value))


def test_a_flood_of_labels_is_gathered_under_other() -> None:
    """A sender who can choose label values must not fill our memory."""
    counter = Metrics().counter("henge_refused_total", "Samples refused.")
    for sender in range(LABEL_SET_COUNT_MAX + 50):
        counter.inc(sender=sender)
    counter.inc(sender=0)
    values = {sample.labels["sender"]: sample.value for sample in counter.samples()}
    assert len(values) == LABEL_SET_COUNT_MAX + 1
    assert (values["0"], values["other"], sum(values.values())) == (2, 50, LABEL_SET_COUNT_MAX + 51)


def test_threads_count_together() -> None:
    metrics = Metrics()

    def count() -> None:
        for step in range(2_000):
            metrics.counter("henge_steps_total", "Steps.").inc(thread=step % 3)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sample.value for sample in metrics.snapshot()) == 16_000


def test_mistakes_in_names_are_ours() -> None:
    metrics = Metrics()
    metrics.counter("henge_a_total", "A.")
    for mistake in (
        lambda: metrics.counter("henge_a", "A."),
        lambda: metrics.gauge("henge_a_total", "A."),
        lambda: metrics.gauge("henge a", "A."),
        lambda: metrics.counter("henge_a_total", "A.").inc(-1),
        lambda: metrics.counter("henge_a_total", "A.").inc(__name="x"),
    ):
        with pytest.raises(AssertionError):
            mistake()
