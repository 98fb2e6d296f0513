"""Columns against the slow path line by line, and a window against a deliberately dumb twin."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.ingest.statsd.columns import decode
from tsdb.ingest.statsd.exact import COUNTER, GAUGE, SET, TIMER, decode_line, factor_of, name_of, number_of
from tsdb.ingest.statsd.flush import LastFlush, flush
from tsdb.ingest.statsd.rules import Rules
from tsdb.ingest.statsd.window import TOO_MANY_MEMBERS, TOO_MANY_NAMES, TOO_MANY_VALUES, Window, WindowLimits

NUMBERS = ("1", "0", "-3", "+5", "2.5", "1e3", ".5", "5.", "1e999", "Infinity", "-0", "0x10", "nan", "inf", "", "1_0")
TYPES = ("c", "g", "ms", "s", "h", "d", "", "C", "x", "ms ", "s\r", " g")
RATES = ("@0.1", "@.5", "@1", "@0", "@", "@-1", "@1e-1", "@+1", "@1.1.1", "0.1", "", "@inf", "@Infinity")
TAGS = ("#k:v", "#a,b:c", "#", "#k:v:w", "#k:a b/c$", "#k:v|@0.5", "#a:1|c:id", "#a|#b", "#k:é")
NAMES = ("a", "a.b", "b", "", "a b", "é", "a/b", "a@b", "a#b", "x|y", "a;t=1", "\ufeffa")

straight = st.builds("{}:{}|{}".format, st.sampled_from(NAMES), st.sampled_from(NUMBERS), st.sampled_from(TYPES))
rated = st.builds("{}|{}".format, straight, st.sampled_from(RATES))
told = st.sampled_from(("_e{1,1}:1|c", "_e{1,1}:1|c|#k:v", "_e{1,2}:1|c|@0.5", "_e:1|c", "_e", "_sc|a|0", "_sc|a|x|#k"))
tagged = st.builds("{}|{}".format, st.one_of(straight, rated), st.sampled_from(TAGS))
noise = st.text(alphabet="ab:|@#.g1cms \r;\x00", max_size=12)
batches = st.lists(st.one_of(straight, rated, tagged, told, noise, st.just("")), max_size=12)


def data_of(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


@given(batches, st.booleans())
def test_columns_are_what_the_slow_path_makes_of_each_line(lines: list[str], dogstatsd: bool) -> None:
    assert_as_the_slow_path(lines, dogstatsd)


@pytest.mark.parametrize("dogstatsd", [False, True], ids=["plain", "dogstatsd"])
def test_columns_are_what_the_slow_path_makes_of_every_form(dogstatsd: bool) -> None:
    forms = product(("a", "b c"), NUMBERS[:8], TYPES, ("", *RATES), ("", *TAGS))
    lines = [
        "|".join((f"{name}:{number}|{kind}", *filter(None, (rate, tags)))) for name, number, kind, rate, tags in forms
    ]
    assert_as_the_slow_path(lines, dogstatsd)


def assert_as_the_slow_path(lines: list[str], dogstatsd: bool) -> None:
    got = decode(data_of(lines), dogstatsd=dogstatsd)
    read = [decode_line(line, dogstatsd=dogstatsd) for line in lines if line]
    wanted = [(line.raw, *metric) for line in read for metric in line.metrics]
    names = [name_of(raw, dogstatsd=dogstatsd) for raw, *_ in wanted]
    assert [name_of(raw, dogstatsd=dogstatsd) for raw in got.raw.to_list()] == names
    assert got.kind.tolist() == [kind for _, kind, *_ in wanted]
    assert got.value.tolist() == [0.0 if kind == SET else value for _, kind, value, *_ in wanted] or any(
        kind == SET for _, kind, *_ in wanted
    )
    assert got.factor.tolist() == [factor for *_, factor, _, _ in wanted]
    assert got.is_delta.tolist() == [is_delta for *_, is_delta, _ in wanted]
    texts = [""] * len(wanted) if got.text is None else got.text.to_list()
    assert texts == [text for *_, text in wanted]
    assert got.bad_count == sum(len(line.bad) for line in read) == got.refusals.total
    assert [notice for notice, _ in got.notices] == [line.notice for line in read if line.notice is not None]
    assert got.lines_count == len(read)


def twin(lines: list[str]) -> dict[str, float]:
    """Counters and gauges as a loop over values makes them."""
    counters: dict[str, float] = {}
    gauges: dict[str, float] = {}
    for line in (decode_line(text, dogstatsd=False) for text in lines if text):
        name = name_of(line.raw, dogstatsd=False)
        for metric in line.metrics:
            if metric.kind == COUNTER:
                before = counters.get(name, 0.0)
                counters[name] = (0.0 if math.isnan(before) else before) + metric.value * metric.factor
            elif metric.kind == GAUGE:
                before = gauges.get(name, 0.0)
                adds = metric.is_delta and before and not math.isnan(before)
                gauges[name] = before + metric.value if adds else metric.value
    return {f"counter {k}": v for k, v in counters.items()} | {f"gauge {k}": v for k, v in gauges.items()}


@given(st.lists(batches, max_size=3))
def test_counters_and_gauges_are_what_a_loop_makes_of_them(found: list[list[str]]) -> None:
    window = Window(Rules())
    for lines in found:
        window.take(decode(data_of(lines)), len(lines))
    got = {}
    for word, kind, table in (("counter", COUNTER, window.counter), ("gauge", GAUGE, window.gauge)):
        for place, name in enumerate(window.names):
            if window.is_kind[kind, place] and not name.startswith("statsd."):
                got[f"{word} {name}"] = float(table[place])
    assert str(sorted(got.items())) == str(sorted(twin([line for lines in found for line in lines]).items()))


GAUGES = {  # lines of one batch, after a gauge g of 100: what it becomes
    "a value, then changes": ("g:10|g\ng:-3|g\ng:+1|g\n", 8.0),
    "changes before a value do not count": ("g:+5|g\ng:10|g\ng:-3|g\n", 7.0),
    "changes alone": ("g:-3|g\ng:-3|g\n", 94.0),
    "to zero, then below": ("g:0|g\ng:-7|g\n", -7.0),
    "another one between": ("g:1|g\nh:9|g\ng:+1|g\n", 2.0),
}


@pytest.mark.parametrize(("lines", "wanted"), GAUGES.values(), ids=GAUGES.keys())
def test_a_gauge_is_what_its_lines_make_of_it_in_their_order(lines: str, wanted: float) -> None:
    window = Window(Rules())
    for batch in ("g:100|g\n", lines):
        window.take(decode(batch.encode()), 1)
    assert window.gauge[window.names.index("g")] == wanted


NUMBER_TEXTS = {
    "": 0.0, " 1 ": 1.0, "0x1F": 31.0, "0b11": 3.0, "0o17": 15.0, "1e3": 1000.0, "-.5": -0.5, "\u00a07": 7.0,
    "Infinity": math.inf, "-Infinity": -math.inf, "inf": None, "1_000": None, "1,5": None, "++1": None, "-0x1": None,
}  # fmt: skip


@pytest.mark.parametrize(("text", "number"), NUMBER_TEXTS.items(), ids=repr)
def test_numbers_are_read_as_javascript_reads_them(text: str, number: float | None) -> None:
    assert number_of(text) == number


RATE_TEXTS = {"@0.1": 10.0, "@0": math.inf, "@1e-1": 1.0, "@": None, "@-1": None, "0.1": None, "@+1": None, "@x": None}


@pytest.mark.parametrize(("text", "factor"), RATE_TEXTS.items())
def test_rates_count_only_by_their_digits(text: str, factor: float | None) -> None:
    assert factor_of(text) == factor


DOG_LINES = {  # line: (name, kinds, values, reasons)
    "a:1:2.5|h|#k:v": ("a;k=v", [TIMER, TIMER], [1.0, 2.5], []),
    "a:1|d|@0.5|#b:2,a:1|c:ci-1": ("a;a=1;b=2", [TIMER], [1.0], []),
    "a:1|c|#url:http://x/y,flag": ("a;flag=true;url=http://x/y", [COUNTER], [1.0], []),
    "a:x y|s": ("a", [SET], [0.0], []),
    "a:1|c|#k:v|T1700000000": ("a;k=v", [], [], ["not_supported"]),
    "_e{5,4}:title|text": ("", [], [], []),
    "_e{1,1}:1|c": ("", [], [], []),
    "_e{2,1}:1|c": ("", [], [], ["bad_event"]),
    "_sc|svc.up|0|#x:y": ("", [], [], []),
    "_sc|svc.up|4": ("", [], [], ["bad_service_check"]),
    "a:1|x": ("a", [], [], ["unknown_type"]),
    "a:1:b|c": ("a", [COUNTER], [1.0], ["not_a_number"]),
    "a:1|c|@0|@x": ("a", [], [], ["bad_sample_rate"]),
}


@pytest.mark.parametrize(("text", "wanted"), DOG_LINES.items())
def test_dogstatsd_lines(text: str, wanted: tuple[str, list[int], list[float], list[str]]) -> None:
    line = decode_line(text, dogstatsd=True)
    name, kinds, values, reasons = wanted
    assert name_of(line.raw, dogstatsd=True) == name
    assert [metric.kind for metric in line.metrics] == kinds
    assert [metric.value for metric in line.metrics] == values
    assert line.bad == reasons


def test_what_is_over_a_limit_is_refused_and_counted() -> None:
    limits = WindowLimits(names_count_max=5, timer_values_count_max=3, set_members_count_max=2)
    window = Window(Rules(), limits)
    metrics = decode(b"a:1|ms\na:2|ms\na:3|ms\na:4|ms\nb:1|s\nb:2|s\nb:2|s\nb:3|s\nc:1|c\nd:1|c\nd:2|c\n")
    window.take(metrics, 1)
    assert metrics.refusals.count_by_reason == {TOO_MANY_NAMES: 3, TOO_MANY_VALUES: 1, TOO_MANY_MEMBERS: 1}
    rows = flush(window, LastFlush())
    got = dict(zip(rows.names.to_list(), rows.values.tolist(), strict=True))
    assert got["stats.sets.b.count"] == 2
    assert got["stats.timers.a.sum"] == 6


def test_names_that_were_deleted_give_their_places_back() -> None:
    window = Window(Rules(delete_counters=True), WindowLimits(names_count_max=5_000))
    for number in range(3):
        window.take(decode(b"".join(b"n%d.%d:1|c\n" % (number, at) for at in range(4_000))), 1)
        metrics = decode(b"x:1|g\n")
        window.take(metrics, 1)
        assert metrics.refusals.total == 0
        window.reset()
    assert len(window.names) == 4


BAD_INPUT = {  # one line as it came: (values with their factors, reasons)
    b"a:1|c|@": ([], ["bad_sample_rate"]),
    b"a:1|c|": ([], ["bad_sample_rate"]),
    b"a:1|c|@0.": ([(1.0, math.inf)], []),  # Half of @0.5: statsd divides by it too.
    b"a:1|c|@.": ([], ["bad_sample_rate"]),
    b"a:1|c|0.5": ([], ["bad_sample_rate"]),
    b"a:1|c|@NaN": ([], ["bad_sample_rate"]),
    b"a:NaN|c": ([], ["not_a_number"]),
    b"a:nan|g": ([], ["not_a_number"]),
    b"a:-NaN|ms": ([], ["not_a_number"]),
    b"a:1|": ([(1.0, 1.0)], []),
    b"a:1": ([], ["no_type"]),
    b"a:|c": ([], ["not_a_number"]),
    b"a": ([], ["no_type"]),
    b":1|c": ([(1.0, 1.0)], []),
    b"|||": ([], ["no_type"]),
    b"::::": ([], ["no_type"] * 4),
    b"\x00\xff\xfe": ([], ["no_type"]),
    b"a:1|c|@0.5|@0.5": ([(1.0, 2.0)], []),
    b"n" * 60_000 + b":1|c": ([(1.0, 1.0)], []),
}


@pytest.mark.parametrize(("line", "wanted"), BAD_INPUT.items(), ids=[repr(line[:20]) for line in BAD_INPUT])
def test_bad_input_is_refused_with_a_reason(line: bytes, wanted: tuple[list[tuple[float, float]], list[str]]) -> None:
    """Beside a good line before and behind it, which are not concerned."""
    got = decode(b"before:1|c\n" + line + b"\nbehind:1|c\n")
    values, reasons = wanted
    assert list(zip(got.value.tolist(), got.factor.tolist(), strict=True))[1:-1] == values
    assert got.refusals.count_by_reason == ({reasons[0]: len(reasons)} if reasons else {})
    assert [got.raw[0], got.raw[-1]] == ["before", "behind"]
