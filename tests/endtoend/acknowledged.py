"""kill -9 under acknowledged load, with the record of what was acknowledged kept by a third process.

The sender posts bodies over HTTP; for each answer 200 it tells the recorder, which writes the number of the body into a
file. A body is made from its number alone, so the record is short and the comparison exact.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from tests.running import Appliance
from tests.tsdb.ingest import remote_write_bytes
from tests.waiting import wait_until
from tsdb.client import TsdbClient
from tsdb.errors import NotReady
from tsdb.sample import Matcher, MatchOp, Selection

SERIES_PER_BODY = 200
SAMPLES_PER_SERIES = 100
SAMPLES_PER_BODY = SERIES_PER_BODY * SAMPLES_PER_SERIES
SERIES_COUNT = 1_000  # Bodies share series, so that a body's samples lie among those of others.
METRIC = "acknowledged"


@dataclass(frozen=True)
class Body:
    """The samples of one body: series[i] has timestamp_ms[i] and value[i]."""

    series: np.ndarray[Any, Any]  # int64[SERIES_PER_BODY]
    timestamp_ms: np.ndarray[Any, Any]  # int64[SERIES_PER_BODY, SAMPLES_PER_SERIES]
    value: np.ndarray[Any, Any]  # float64, same shape.


def body_of(number: int, base_ms: int) -> Body:
    """Times are unique to the body: number * SAMPLES_PER_SERIES + 0, 1, … milliseconds after base_ms."""
    random = np.random.default_rng(number)
    series = random.choice(SERIES_COUNT, SERIES_PER_BODY, replace=False)
    times = base_ms + number * SAMPLES_PER_SERIES + np.arange(SAMPLES_PER_SERIES)
    value = random.standard_normal((SERIES_PER_BODY, SAMPLES_PER_SERIES))
    return Body(series, np.broadcast_to(times, value.shape), value)


def encoded(body: Body) -> bytes:
    return json.dumps(
        [
            {
                "labels": {"__name__": METRIC, "series": str(series)},
                "samples": list(zip(times, values, strict=True)),
            }
            for series, times, values in zip(
                body.series.tolist(), body.timestamp_ms.tolist(), body.value.tolist(), strict=True
            )
        ]
    ).encode()


def _as_arrow(body: Body) -> bytes:
    names = [f'{METRIC}{{series="{series}"}}' for series in body.series.tolist()]
    frame = pl.DataFrame(
        {
            "series": np.repeat(names, SAMPLES_PER_SERIES),
            "timestamp_ms": body.timestamp_ms.ravel(),
            "value": body.value.ravel(),
        }
    )
    out = io.BytesIO()
    frame.write_ipc_stream(out)
    return out.getvalue()


def _as_remote_write(body: Body) -> bytes:
    return remote_write_bytes.snappy(
        remote_write_bytes.request(
            [
                remote_write_bytes.series(
                    [("__name__", METRIC), ("series", str(series))], zip(times, values, strict=True)
                )
                for series, times, values in zip(
                    body.series.tolist(), body.timestamp_ms.tolist(), body.value.tolist(), strict=True
                )
            ]
        )
    )


@dataclass(frozen=True)
class Door:
    """A way in that answers when the samples are in the log."""

    path: str
    headers: dict[str, str]
    encoded: Callable[[Body], bytes]


DOORS = (
    Door("/api/v1/series", {"Content-Type": "application/json"}, encoded),
    Door("/api/v1/write/arrow", {"Content-Type": "application/vnd.apache.arrow.stream"}, _as_arrow),
    Door(
        "/prometheus/api/v1/write",
        {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
        _as_remote_write,
    ),
)
VICTIMS = ("store", "intake", "web", "query", "tree")


def record(told: Connection, file: Path) -> None:
    """The third process: writes down what the sender says was acknowledged."""
    with file.open("a") as out:
        while (number := told.recv()) is not None:
            out.write(f"{number}\n")
            out.flush()


def send(numbers: list[int], base_ms: int, url: str, token: str, tell: Connection) -> None:
    """The sender: every body once, by the doors in turn; one that was not acknowledged is not sent again."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
    for number in numbers:
        door = DOORS[number % len(DOORS)]
        body = door.encoded(body_of(number, base_ms))
        try:
            connection.request("POST", door.path, body, {"Authorization": f"Bearer {token}", **door.headers})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            continue
        if answer.status in (200, 204):
            tell.send(number)
    tell.send(None)


@dataclass
class Round:
    """What one round found."""

    acknowledged_bodies: int = 0
    acknowledged_samples: int = 0
    lost_samples: int = 0
    foreign_samples: int = 0  # Stored, but never sent so: another series, time or value.


class Rounds:
    """Rounds of load and kill -9 on one appliance."""

    def __init__(self, appliance: Appliance, folder: Path) -> None:
        self._appliance = appliance
        self._folder = folder
        self._next_number = 0
        self._acknowledged: list[int] = []
        self._base_ms = time.time_ns() // 1_000_000 - 1_800_000
        self._client = TsdbClient(appliance.data_dir / "run")

    def close(self) -> None:
        self._client.close()

    def run(self, victim: str, *, samples_count: int) -> Round:
        """Send samples_count samples, kill the victim in the middle, and compare what is stored with the record.

        victim: one of VICTIMS; `tree` is every process there is, the supervisor first.
        """
        numbers = [*range(self._next_number, self._next_number + samples_count // SAMPLES_PER_BODY)]
        self._next_number += len(numbers)
        file = self._folder / f"acknowledged-{numbers[0]}.txt"
        file.touch()
        context = multiprocessing.get_context("spawn")
        told, tell = context.Pipe(duplex=False)
        recorder = context.Process(target=record, args=(told, file))
        sender = context.Process(
            target=send, args=(numbers, self._base_ms, self._appliance.url, self._appliance.token, tell)
        )
        recorder.start()
        sender.start()
        tell.close()
        wait_until(lambda: len(file.read_text().split()) >= len(numbers) // 2, timeout_s=20, what="half of the bodies")
        old_pid = self._kill_tree() if victim == "tree" else self._appliance.kill(victim)
        sender.join(120)
        recorder.join(30)
        assert sender.exitcode == recorder.exitcode == 0, (sender.exitcode, recorder.exitcode)
        if victim == "tree":
            self._appliance.start()
        else:
            self._appliance.wait_restarted(victim, old_pid)
        acknowledged = [int(line) for line in file.read_text().split()]
        self._acknowledged += acknowledged
        return self._compare(numbers, acknowledged)

    def compare_all(self) -> Round:
        """What is left of all rounds at the end of the last one."""
        return self._compare([*range(self._next_number)], self._acknowledged)

    def _kill_tree(self) -> int:
        process = self._appliance.process
        assert process is not None
        for pid in (process.pid, *map(int, self._appliance.ready["processes"].values())):
            with contextlib.suppress(ProcessLookupError):  # It ends with its parent.
                os.kill(pid, signal.SIGKILL)
        process.wait()
        self._appliance.process = None
        return process.pid

    def _compare(self, sent: list[int], acknowledged: list[int]) -> Round:
        stored = rows_stored(self._stored(sent[0], sent[-1]))
        wanted, allowed = (rows_of(map(self._body, numbers)) for numbers in (acknowledged, sent))
        return Round(
            acknowledged_bodies=len(acknowledged),
            acknowledged_samples=wanted.height,
            lost_samples=count_without(wanted, stored),
            foreign_samples=count_without(stored, allowed),
        )

    def _body(self, number: int) -> Body:
        return body_of(number, self._base_ms)

    def _stored(self, first: int, last: int) -> Selection:
        """What queries find in the time range of these bodies."""
        start_ms = self._base_ms + first * SAMPLES_PER_SERIES
        end_ms = self._base_ms + (last + 1) * SAMPLES_PER_SERIES - 1

        def select() -> Selection | None:
            try:
                return self._client.select([Matcher("__name__", MatchOp.EQUAL, METRIC)], start_ms, end_ms)
            except NotReady:
                return None

        return wait_until(select, timeout_s=30, what="the store to answer")


def rows_of(bodies: Iterable[Body]) -> pl.DataFrame:
    """One comparable row a sample: (series, time, the bits of the value)."""
    parts = [
        _rows(np.repeat(body.series, SAMPLES_PER_SERIES), body.timestamp_ms.ravel(), body.value.ravel())
        for body in bodies
    ]
    return pl.concat(parts) if parts else _rows(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def rows_stored(found: Selection) -> pl.DataFrame:
    """The same rows of what a query found."""
    series = np.array([int(dict(labels)["series"]) for labels in found.labels], np.int64)
    return _rows(np.repeat(series, np.diff(found.offsets)), found.timestamp_ms, found.value)


def count_without(rows: pl.DataFrame, others: pl.DataFrame) -> int:
    """How many rows are not among the others."""
    return rows.join(others, on=rows.columns, how="anti").height


def _rows(
    series: np.ndarray[Any, Any], timestamp_ms: np.ndarray[Any, Any], value: np.ndarray[Any, Any]
) -> pl.DataFrame:
    bits = np.ascontiguousarray(value).view(np.uint64)
    return pl.DataFrame({"series": series, "timestamp_ms": timestamp_ms, "value_bits": bits})
