"""Arrow streams of a second writer and of polars, with faults, and cut and flipped at every place."""

from __future__ import annotations

import io
import random
import struct
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsdb.ingest import arrow_bytes as wire
from tests.tsdb.ingest.test_remote_write import BITS, bits_of, stored
from tsdb.errors import RefusedSample
from tsdb.ingest.arrow.body import decode
from tsdb.ingest.arrow.names import canonical_of
from tsdb.ingest.limits import IntakeLimits
from tsdb.sample import CANONICAL_BYTES_MAX, canonical_bytes, labels_from, labels_of

LIMITS = IntakeLimits()
TIMES = st.integers(-(2**63), 2**63 - 1)
NAMES = ["m", "a.b.c", 'up{job="x"}', "é" * 30, "a_name_of_more_than_twelve_bytes", "path;tag=value", 'up{job="y"}']
ROW = st.tuples(st.sampled_from(NAMES), TIMES, BITS, st.sampled_from([None] * 5 + list("stv")))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, Counter[tuple[bytes, int, int]], int]:
    """A stream in one of the many ways to write it, what is in it, and how many rows hold a null."""
    kind = draw(st.sampled_from([wire.UTF8, wire.LARGE_UTF8, wire.VIEW]))
    index = draw(st.sampled_from([None, *wire.INDEX_TYPES]))
    codec = draw(st.sampled_from([None, "lz4", "zstd"]))
    order = draw(
        st.permutations(["series", "timestamp_ms", "value", *draw(st.lists(st.sampled_from(EXTRA), max_size=2))])
    )
    data, wanted, nulls_count = wire.schema(*(COLUMNS(kind, index)[name] for name in order)), Counter[Any](), 0
    for rows in draw(st.lists(st.lists(ROW, max_size=20), max_size=4)):
        names = draw(st.permutations([*{row[0]: None for row in rows}, "unused", "another unused one"]))
        if index and (rows or draw(st.booleans())):
            dictionary = wire.Body(codec)
            dictionary.texts(kind, [name.encode() for name in names])
            data += dictionary.dictionary(len(names), dictionary_id=7)
        elif index:
            continue
        body = wire.Body(codec)
        nulls = {column: [row[3] == column[0] for row in rows] for column in ("series", "timestamp_ms", "value")}
        for column in order:
            if column == "series" and index:
                code = dict(zip(wire.INDEX_TYPES, "bhiqBHIQ", strict=True))[index]
                body.numbers(code, [names.index(row[0]) for row in rows], nulls["series"])
            elif column == "series":
                body.texts(kind, [row[0].encode() for row in rows], nulls["series"])
            elif column == "timestamp_ms":
                body.numbers("q", [row[1] for row in rows], nulls[column])
            elif column == "value":
                body.numbers("Q", [row[2] for row in rows], nulls[column])
            else:
                ADD_EXTRA[column](body, len(rows))
        data += body.records(len(rows))
        wanted.update((canonical_of(row[0]), row[1], row[2]) for row in rows if row[3] is None)
        nulls_count += sum(row[3] is not None for row in rows)
    return data + draw(st.sampled_from([b"", wire.END, wire.END + b"more"])), wanted, nulls_count


def COLUMNS(kind: int, index: str | None) -> dict[str, wire.Table]:  # noqa: N802
    series = wire.column("series", kind, index=index, dictionary_id=7) if index else wire.column("series", kind)
    item = wire.column("item", wire.VIEW)
    return {
        "series": series,
        "timestamp_ms": wire.times_column(),
        "value": wire.values_column(),
        "views": wire.column("views", wire.VIEW),
        "nothing": wire.column("nothing", 1),
        "lists": wire.column("lists", 12, children=[wire.column("item", 13, children=[wire.times_column("x"), item])]),
        "other dictionary": wire.column("other dictionary", wire.UTF8, index="u8", dictionary_id=8),
    }


def add_nothing(body: wire.Body, count: int) -> None:
    body.nodes.append((count, count))


def add_lists(body: wire.Body, count: int) -> None:
    body.column(count, None, struct.pack(f"<{count + 1}i", *range(count + 1)))
    body.nodes.append((count, 0))
    body.add(b"")
    body.numbers("q", range(count))
    body.texts(wire.VIEW, [b"far away from here, %d" % number for number in range(count)])


ADD_EXTRA = {
    "views": lambda body, count: body.texts(wire.VIEW, [b"an extra text, %d" % number for number in range(count)]),
    "nothing": add_nothing,
    "lists": add_lists,
    "other dictionary": lambda body, count: body.numbers("B", [0] * count),
}
EXTRA = list(ADD_EXTRA)


@given(streams())
def test_what_was_written_is_read_bit_for_bit(stream: tuple[bytes, Counter[tuple[bytes, int, int]], int]) -> None:
    data, wanted, nulls_count = stream
    found, refused = stored(decode(data, LIMITS))
    assert found == wanted
    assert refused == ({"null": nulls_count} if nulls_count else {})


FRAME = pl.DataFrame(
    {
        "ignored": [["a"], [], ["b", "c"]],
        "series": ["m", 'up{job="a rather long name"}', "m"],
        "deep": [{"x": 1, "y": "z"}, {"x": None, "y": None}, {"x": 3, "y": "a text of more than 12 bytes"}],
        "value": [1.5, float("nan"), -0.0],
        "timestamp_ms": [1, 2, 3],
    }
)
POLARS = {
    "views": {},
    "large_utf8": {"compat_level": pl.CompatLevel.oldest()},
    "lz4": {"compression": "lz4"},
    "zstd": {"compression": "zstd", "compat_level": pl.CompatLevel.oldest()},
}


@pytest.mark.parametrize("series", [pl.String, pl.Categorical, pl.Enum(["m", 'up{job="a rather long name"}'])], ids=str)
@pytest.mark.parametrize("options", POLARS.values(), ids=POLARS.keys())
def test_streams_of_polars_are_read(options: dict[str, Any], series: Any) -> None:
    out = io.BytesIO()
    FRAME.with_columns(pl.col("series").cast(series)).write_ipc_stream(out, **options)
    found, refused = stored(decode(out.getvalue(), LIMITS))
    m, up = canonical_of("m"), canonical_of('up{job="a rather long name"}')
    nan = int(FRAME["value"].to_numpy().view(np.uint64)[1])
    assert (found, refused) == (Counter({(m, 1, bits_of(1.5)): 1, (up, 2, nan): 1, (m, 3, 1 << 63): 1}), {})


def test_a_large_stream_of_polars_in_many_batches_is_read() -> None:
    frame = pl.DataFrame(
        {
            "series": pl.Series([f"servers.host{number % 1_000:04}.cpu" for number in range(50_000)]).cast(
                pl.Categorical
            ),
            "timestamp_ms": np.arange(50_000),
            "value": np.arange(50_000) / 8,
        }
    )
    out = io.BytesIO()
    pl.concat([frame[:20_000], frame[20_000:]], rechunk=False).write_ipc_stream(out)
    found = decode(out.getvalue(), LIMITS)
    assert (len(found), len(found.names)) == (50_000, 1_000)
    assert found.name_index is not None
    assert found.names.gather(found.name_index).to_list() == frame["series"].cast(pl.String).to_list()
    assert found.timestamp_ms.tolist() == list(range(50_000))


def small(kind: int = wire.UTF8, codec: str | None = None, **told: Any) -> bytes:
    """A batch of two rows without its schema, with one thing that may be wrong."""
    body = wire.Body(codec)
    if "offsets" in told:
        body.column(2, None, struct.pack("<3i", *told["offsets"]), b"mn")
    elif "views" in told:
        body.column(2, None, b"".join(struct.pack("<iiii", *view) for view in told["views"]), b"x" * 20)
        body.variadic.append((told.get("variadic", 1),))
    else:
        body.texts(kind, told.get("texts", [b"m", b"n"]))
    body.numbers("q", [1, 2])
    body.nodes.append((told.get("node", 2), 0))
    body.add(b"")
    body.add(struct.pack("<2d", 1.0, 2.0)[: told.get("values_size", 16)], told=told.get("told"))
    if "buffer" in told:
        body.buffers[-1] = told["buffer"]
    return body.records(told.get("length", 2))


def plain(kind: int = wire.UTF8) -> bytes:
    return wire.schema(wire.column("series", kind), wire.times_column(), wire.values_column())


def indexed(index: Any = (0, 1), *, before: bool = True, delta: bool = False, nested: int = 2) -> bytes:
    data = wire.schema(wire.column("series", wire.UTF8, index="i32"), wire.times_column(), wire.values_column())
    dictionary = wire.Body()
    dictionary.texts(wire.UTF8, [b"m", b"n"])
    dictionary.nodes[0] = (nested, 0)
    body = wire.Body()
    body.numbers("i", index)
    body.numbers("q", [1, 2])
    body.numbers("d", [1.0, 2.0])
    return data + (dictionary.dictionary(2, delta=delta) if before else b"") + body.records(2)


S, T, V = wire.column("series", wire.UTF8), wire.times_column(), wire.values_column()
BAD = {  # name: (the stream; reason)
    "nothing": (b"", "bad_arrow"),
    "text": (b"up 1\n", "bad_arrow"),
    "the file format": (b"ARROW1\0\0" + plain() + small(), "arrow_file"),
    "only an end": (wire.END, "bad_arrow"),
    "no schema": (small(), "bad_arrow"),
    "two schemas": (plain() + plain(), "bad_arrow"),
    "V4 of the metadata": (wire.schema(S, T, V, version=3), "bad_arrow"),
    "big-endian": (wire.schema(S, T, V, endianness=1), "bad_arrow"),
    "a tensor": (plain() + wire.message(4, wire.Table({})), "bad_arrow"),
    "no value": (wire.schema(S, T), "arrow_schema"),
    "value twice": (wire.schema(S, T, V, V), "arrow_schema"),
    "series as numbers": (wire.schema(wire.times_column("series"), T, V), "arrow_schema"),
    "series as bytes": (wire.schema(wire.column("series", 4), T, V), "arrow_schema"),
    "value as float32": (wire.schema(S, T, wire.column("value", 3, wire.Table({0: ("h", 1)}))), "arrow_schema"),
    "time as int32": (wire.schema(S, wire.column("timestamp_ms", 2, wire.integer(32)), V), "arrow_schema"),
    "time as a timestamp": (wire.schema(S, wire.column("timestamp_ms", 10), V), "arrow_schema"),
    "value as a dictionary": (
        wire.schema(S, T, wire.column("value", 3, wire.Table({0: ("h", 2)}), index="i8")),
        "arrow_schema",
    ),
    "a type of later days": (wire.schema(S, T, V, wire.column("x", 99)), "bad_arrow"),
    "offsets that fall": (plain() + small(offsets=(0, 2, 1)), "bad_arrow"),
    "offsets below 0": (plain() + small(offsets=(-1, 1, 2)), "bad_arrow"),
    "offsets behind the data": (plain() + small(offsets=(0, 1, 3)), "bad_arrow"),
    "a view behind its buffer": (plain(wire.VIEW) + small(views=[(13, 0, 0, 8), (1, 0, 0, 0)]), "bad_arrow"),
    "a view of another buffer": (plain(wire.VIEW) + small(views=[(13, 0, 1, 0), (1, 0, 0, 0)]), "bad_arrow"),
    "a view before its buffer": (plain(wire.VIEW) + small(views=[(13, 0, 0, -1), (1, 0, 0, 0)]), "bad_arrow"),
    "a view of length -1": (plain(wire.VIEW) + small(views=[(-1, 0, 0, 0), (1, 0, 0, 0)]), "bad_arrow"),
    "more buffers than there are": (plain(wire.VIEW) + small(views=[(1, 0, 0, 0)] * 2, variadic=2**62), "bad_arrow"),
    "a column shorter than its batch": (plain() + small(node=1), "bad_arrow"),
    "a column longer than its buffer": (plain() + small(values_size=8), "bad_arrow"),
    "a batch of -1 rows": (plain() + small(length=-1), "bad_arrow"),
    "a buffer behind its body": (plain() + small(buffer=(64, 2**40)), "bad_arrow"),
    "a buffer before its body": (plain() + small(buffer=(-8, 16)), "bad_arrow"),
    "less than was told, lz4": (plain() + small(codec="lz4", told=24), "bad_arrow"),
    "more than was told, lz4": (plain() + small(codec="lz4", told=8), "bad_arrow"),
    "more than was told, zstd": (plain() + small(codec="zstd", told=8), "bad_arrow"),
    "a size of -2": (plain() + small(codec="zstd", told=-2), "bad_arrow"),
    "a bomb": (plain() + small(codec="zstd", told=2**40), "body_too_large"),
    "an index behind the dictionary": (indexed((0, 2)), "bad_arrow"),
    "an index below 0": (indexed((0, -1)), "bad_arrow"),
    "rows before their dictionary": (indexed(before=False), "bad_arrow"),
    "a delta": (indexed(delta=True), "arrow_delta_dictionary"),
    "a dictionary of another length": (indexed(nested=3), "bad_arrow"),
}


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_stream_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(RefusedSample) as refused:
        decode(data, LIMITS)
    assert refused.value.reason == reason


def test_what_the_bad_streams_are_made_of_is_good() -> None:
    views = plain(wire.VIEW) + small(views=[(13, 0, 0, 7), (1, 0, 0, 0)])
    for data in (plain() + small(), plain() + small(codec="lz4"), indexed(), views, indexed((1, 1)) + small()[:0]):
        found, refused = stored(decode(data, LIMITS))
        assert (found.total(), refused) == (2, {})


def test_a_schema_that_names_one_child_for_ever_is_refused() -> None:
    """Each level names one table a thousand times: without a bound that would be 1,000^16 columns."""
    leaf = wire.column("x", 2, wire.integer(8))
    for _ in range(3):
        leaf = wire.column("s", 13, children=[leaf] * 12)
    with pytest.raises(RefusedSample, match="more than 1,000 columns"):
        decode(wire.schema(S, T, V, leaf), LIMITS)


def test_rows_whose_names_are_bad_cost_only_themselves() -> None:
    texts = [
        b"good",
        b"\xff\xfe",
        b"x" * (CANONICAL_BYTES_MAX + 1),
        b"",
        b"bad{",
        b"m;t",
        b'm{a="1",a="2"}',
        b'open{a="1}',
    ]
    for kind in (wire.UTF8, wire.LARGE_UTF8, wire.VIEW):
        body = wire.Body()
        body.texts(kind, texts)
        body.numbers("q", range(8))
        body.numbers("d", [1.0] * 8)
        found, refused = stored(decode(plain(kind) + body.records(8), LIMITS))
        assert found == Counter(
            {(canonical_of("good"), 0, bits_of(1.0)): 1, (canonical_of("bad{"), 4, bits_of(1.0)): 1}
        )
        assert refused == {
            "invalid_utf8": 1,
            "name_too_long": 1,
            "empty_name": 1,
            "bad_tag": 1,
            "duplicate_label": 1,
            "bad_name": 1,
        }


def test_names_and_bytes_have_a_bound() -> None:
    body = wire.Body()
    views = struct.pack("<iiii", 200_000, 0, 0, 0) * 1_000
    body.column(1_000, None, views, b"x" * 200_000)
    body.variadic.append((1,))
    body.numbers("q", range(1_000))
    body.numbers("d", [1.0] * 1_000)
    with pytest.raises(RefusedSample, match="split the body"):  # 200 MB of text in 216 kB.
        decode(plain(wire.VIEW) + body.records(1_000), LIMITS)
    with pytest.raises(RefusedSample, match="more than 1 names"):
        decode(plain() + small(), replace(LIMITS, arrow_names_count_max=1))


PROMETHEUS_NAMES = {
    "up": {"__name__": "up"},
    "up{}": {"__name__": "up"},
    'up{job="a"}': {"__name__": "up", "job": "a"},
    'up{ job = "a" , b="c", }': {"__name__": "up", "job": "a", "b": "c"},
    '{"my metric","my label"="x"}': {"__name__": "my metric", "my label": "x"},
    '{__name__="up",job="a"}': {"__name__": "up", "job": "a"},
    r'm{a="q\"b\\c\nd"}': {"__name__": "m", "a": 'q"b\\c\nd'},
    'm{a="}{,=",empty=""}': {"__name__": "m", "a": "}{,="},
    "a.b;t=v;u=w": {"__name__": "a.b", "t": "v", "u": "w"},
    "servers.é.cpu": {"__name__": "servers.é.cpu"},
}
BAD_NAMES = (
    "",
    "}",
    "{}",
    "m{a}",
    'm{a="b"',
    'm{a="b}',
    "m{a=b}",
    'm{"a",b="c"}',
    r'm{a="\x"}',
    'm{a="b" c="d"}',
    'm{="b"}',
    "m;t",
    'm{__name__="n"}',
)


@pytest.mark.parametrize(("name", "labels"), PROMETHEUS_NAMES.items(), ids=PROMETHEUS_NAMES.keys())
def test_names_in_both_notations(name: str, labels: dict[str, str]) -> None:
    assert dict(labels_of(canonical_of(name))) == labels
    assert canonical_of(name) == canonical_bytes(labels_from(labels))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_are_refused(name: str) -> None:
    if name == 'm{a="b"':  # Graphite's paths may hold a brace.
        assert canonical_of(name) == canonical_bytes((("__name__", name),))
        return
    with pytest.raises(RefusedSample):
        canonical_of(name)


WILD = (0, 0x7F, 0x80, 0xFF) if settings.default and settings.default.max_examples > 50 else (0xFF,)


def samples_for_damage() -> list[bytes]:
    out = io.BytesIO()
    FRAME.with_columns(pl.col("series").cast(pl.Categorical)).write_ipc_stream(out, compression="zstd")
    views = plain(wire.VIEW) + small(views=[(13, 0, 0, 7), (1, 0, 0, 0)])
    return [plain() + small(), plain() + small(codec="lz4"), indexed(), views, out.getvalue()]


def test_a_stream_cut_or_flipped_at_any_byte_is_read_or_refused() -> None:
    rng = random.Random(11)
    for whole in samples_for_damage():
        for at in range(len(whole)):
            take_or_refuse(whole[:at])
            for byte in (*WILD, whole[at] ^ 1 << rng.randrange(8)):
                take_or_refuse(whole[:at] + bytes([byte]) + whole[at + 1 :])


@given(st.data())
def test_a_stream_with_several_wild_numbers_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(samples_for_damage())))
    for _ in range(data.draw(st.integers(1, 6))):
        size = data.draw(st.sampled_from([1, 2, 4, 8]))
        at = data.draw(st.integers(0, len(whole) - size))
        number = data.draw(st.sampled_from([0, 1, 2, 2**31 - 1, 2**31, 2**62, -1, -2, -8, -(2**31), 255, 65_535]))
        whole[at : at + size] = (number % 256**size).to_bytes(size, "little")
    take_or_refuse(bytes(whole))


def take_or_refuse(data: bytes) -> None:
    began_s = time.process_time()
    outcome = "stored"
    try:
        stored(decode(data, LIMITS))
    except RefusedSample as error:
        outcome = error.reason
    assert outcome in ("stored", "arrow_file", "arrow_schema", "arrow_delta_dictionary", "bad_arrow", "body_too_large")
    assert time.process_time() - began_s < 5
