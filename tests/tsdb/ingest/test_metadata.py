"""What senders say of their metrics, from the bytes of both versions of remote-write to the book and its file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.metrics import Metrics
from tests.tsdb.ingest import remote_write_bytes as wire
from tests.tsdb.ingest.fake_store import FakeStore
from tsdb.ingest import metric_book
from tsdb.ingest.intake import Intake
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.metric_book import MetricBook
from tsdb.ingest.remote_write import body as version_1
from tsdb.ingest.remote_write import symbols as version_2
from tsdb.ingest.remote_write.metadata import HELP_BYTES_MAX, Said

LOG = logging.getLogger("tests.metadata")
NOW_MS = 1_700_000_000_000
COUNTER, GAUGE, HISTOGRAM = 1, 2, 3


def described_1(metric: str, kind: int, help_text: str = "", unit: str = "") -> bytes:
    """One MetricMetadata of a WriteRequest, as Prometheus writes it: what is empty is left out."""
    parts = b"\x08" + wire.varint(kind) if kind else b""
    parts += wire.text(2, metric)
    parts += wire.text(4, help_text) if help_text else b""
    return wire.field(3, parts + (wire.text(5, unit) if unit else b""))


def request_2(series: Iterable[tuple[str, int, str, str]], *, has_sample: bool = True) -> bytes:
    """A Request of 2.0: of each series its metric, a label of its own, and its metadata."""
    symbols = [""]

    def ref(word: str) -> int:
        if word not in symbols:
            symbols.append(word)
        return symbols.index(word)

    body = b""
    for number, (metric, kind, help_text, unit) in enumerate(series):
        refs = [ref(word) for word in ("__name__", metric, "instance", str(number))]
        told = b"\x08" + wire.varint(kind) + b"\x18" + wire.varint(ref(help_text)) + b"\x20" + wire.varint(ref(unit))
        sample = wire.sample(NOW_MS, 1.5) if has_sample else b""
        body += wire.field(5, wire.refs_field(refs) + sample + wire.field(5, told))
    return b"".join(wire.text(4, symbol) for symbol in symbols) + body


def said_1(raw: bytes) -> list[Said]:
    return list(version_1.decode_snappy(wire.snappy(raw), IntakeLimits()).said)


def said_2(raw: bytes) -> list[Said]:
    return list(version_2.decode_snappy(wire.snappy(raw), IntakeLimits()).said)


def test_a_body_of_1_0_says_what_its_metrics_are_with_samples_and_without() -> None:
    series = wire.request([wire.series([("__name__", "up")], [(NOW_MS, 1.0)])])
    told = described_1("up", GAUGE, "Whether it is up.") + described_1("sent_bytes", COUNTER, "Sent.", "bytes")
    want = [Said(b"up", GAUGE, b"Whether it is up.", b""), Said(b"sent_bytes", COUNTER, b"Sent.", b"bytes")]
    for raw in (told, told + series, series + told):
        assert said_1(raw) == want
    assert len(version_1.decode_snappy(wire.snappy(series + told), IntakeLimits())) == 1


@pytest.mark.parametrize("has_sample", [True, False], ids=["read all at once", "read field by field"])
def test_a_body_of_2_0_says_it_with_its_series(has_sample: bool) -> None:
    rows = [("b_bucket", HISTOGRAM, "Sizes.", ""), ("a", COUNTER, "Of a.", "s"), ("b_sum", HISTOGRAM, "Sizes.", "")]
    found = set(said_2(request_2(rows, has_sample=has_sample)))
    assert found == {Said(b"a", COUNTER, b"Of a.", b"s"), Said(b"b", HISTOGRAM, b"Sizes.", b"")}


def test_what_is_wrong_with_metadata_costs_no_sample() -> None:
    wrong = wire.field(3, b"\x12\xff") + wire.field(3, b"") + described_1("m", COUNTER)
    series = wire.request([wire.series([("__name__", "up")], [(NOW_MS, 1.0)])])
    decoded = version_1.decode_snappy(wire.snappy(series + wrong), IntakeLimits())
    assert (len(decoded), list(decoded.said)) == (1, [Said(b"m", COUNTER, b"", b"")])
    assert decoded.refusals.ignored_count_by_kind == {"metadata": 2}
    lost = wire.field(5, wire.refs_field((1, 2)) + wire.sample(NOW_MS, 1.0) + wire.field(5, b"\x08\x01\x18\x63"))
    body = version_2.decode_snappy(
        wire.snappy(wire.text(4, "") + wire.text(4, "__name__") + wire.text(4, "m") + lost), IntakeLimits()
    )
    assert (len(body), list(body.said)) == (1, [])


def test_the_last_word_counts_and_is_kept_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / metric_book.FILE_NAME
    book = MetricBook(path, LOG)
    assert book.note([Said(b"a", COUNTER, b"first", b""), Said(b"b", 99, b"", b"s")]) == 0
    assert book.note([Said(b"a", COUNTER, b"second", b"")]) == 0
    book.save()
    again = MetricBook(path, LOG).find()
    assert [(one.metric, one.type, one.help, one.unit) for one in again] == [
        ("a", "counter", "second", ""),
        ("b", "unknown", "", "s"),
    ]
    assert [one.metric for one in book.find(limit=1)] == ["a"]
    assert [one.metric for one in book.find(["b", "nosuch"])] == ["b"]
    assert book.find(["nosuch"]) == []


def test_what_says_nothing_new_writes_no_file(tmp_path: Path) -> None:
    path = tmp_path / metric_book.FILE_NAME
    book = MetricBook(path, LOG)
    book.note([Said(b"a", COUNTER, b"help", b"")])
    book.save()
    path.unlink()
    book.note([Said(b"a", COUNTER, b"help", b"")])
    book.save()
    assert not path.exists()


def test_the_book_is_bounded_and_counts_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_book, "METRIC_COUNT_MAX", 2)
    book = MetricBook(None, LOG)
    words = [Said(name, GAUGE, b"", b"") for name in (b"a", b"b", b"c", b"\xff", b"n" * 300)]
    assert book.note(words) == 3
    assert len(book) == 2
    assert book.note([Said(b"a", GAUGE, b"still told", b"")]) == 0
    assert said_1(described_1("m", COUNTER, "x" * 5_000))[0].help == b"x" * HELP_BYTES_MAX


@pytest.mark.parametrize("content", [b"", b"{", json.dumps({"version": 2, "metrics": []}).encode()])
def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / metric_book.FILE_NAME
    path.write_bytes(content)
    book = MetricBook(path, LOG)
    assert len(book) == 0
    book.note([Said(b"a", COUNTER, b"", b"")])
    book.save()
    assert len(MetricBook(path, LOG)) == 1


def test_the_intake_writes_into_the_book_that_it_is_given_though_nothing_is_in_it_yet(tmp_path: Path) -> None:
    path = tmp_path / metric_book.FILE_NAME
    book = MetricBook(path, LOG)
    intake = Intake({}, FakeStore(), metrics=Metrics(), clock=SystemClock(), log=LOG, book=book)
    intake.write("remote_write", wire.snappy(described_1("a", COUNTER, "Of a.")), "test")
    book.save()
    assert [one.help for one in MetricBook(path, LOG).find(["a"])] == ["Of a."]
