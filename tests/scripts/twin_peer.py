"""Two programs with the same samples: an appliance, and a Prometheus on a free port that takes remote-write."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import shutil
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.running import Appliance
from tests.scripts.twin_samples import Series
from tests.tsdb.ingest import remote_write_bytes as wire
from tests.waiting import wait_until

LOOKBACK_MS = 300_000
# Prometheus has taken the start of a window out of it since release 3, as we do; older ones look 1 ms less far back.
PEERS_LOOKBACK = f"--query.lookback-delta={LOOKBACK_MS - 1}ms"
STAGE_S = 1_800  # Sent at once: a Prometheus refuses what is an hour older than its newest sample.
WRITTEN = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
ASKED = {"Content-Type": "application/x-www-form-urlencoded"}
# Releases since 3 refuse an ambiguous match also where a comparison keeps none of its rows.
AMBIGUOUS = "multiple matches for labels"
RELATIVE_TOLERANCE = 1e-6  # As in the harness of Prometheus: the variance of times of day loses 1e-8 of itself.


class Client:
    """One connection, kept open."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        where = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
        self._base, self._headers = where.path, dict(headers)

    def write(self, body: bytes) -> None:
        status, answer = self._send("POST", "/api/v1/write", body, WRITTEN)
        assert status in (200, 204), (status, answer)

    def ask(self, path: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        _, answer = self._send("POST", f"/api/v1/{path}", urllib.parse.urlencode(arguments).encode(), ASKED)
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        self._connection.close()

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self._connection.request(method, self._base + path, body, {**self._headers, **headers})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


@dataclass
class Twins:
    """Ours and theirs, with the same samples up to a time."""

    appliance: Appliance
    ours: Client
    theirs: Client

    def write(self, series: list[Series], start_s: int, end_s: int) -> None:
        """Send both the samples of start_s <= t < end_s. Times after those of the calls before."""
        for at_s in range(start_s, end_s, STAGE_S):
            body = _body(series, at_s * 1_000, min(at_s + STAGE_S, end_s) * 1_000)
            self.ours.write(body)
            self.theirs.write(body)


def _body(series: list[Series], start_ms: int, end_ms: int) -> bytes:
    rows = []
    for labels, samples in series:
        if within := [sample for sample in samples if start_ms <= sample[0] < end_ms]:
            rows.append(wire.series(labels, within))
    return wire.snappy(wire.request(rows))


@contextlib.contextmanager
def twins(folder: Path) -> Iterator[Twins]:
    """Both started, without samples. Raises: FileNotFoundError, where there is no Prometheus."""
    if shutil.which("prometheus") is None:
        raise FileNotFoundError("prometheus is missing: `make test-tools` installs Debian's")
    with Appliance(folder, settings=("store.retention=forever",)) as appliance, _prometheus(folder) as url:
        ours = Client(f"{appliance.url}/prometheus", {"Authorization": f"Bearer {appliance.token}"})
        theirs = Client(url, {})
        try:
            yield Twins(appliance, ours, theirs)
        finally:
            ours.close()
            theirs.close()


@contextlib.contextmanager
def _prometheus(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    (folder / "prometheus.yml").write_text("{}")
    argv = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        PEERS_LOOKBACK,
    ]
    with (folder / "prometheus.out").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            wait_until(lambda: _is_ready(process, port, folder / "prometheus.out"), what="prometheus to be ready")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _is_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-2_000:]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """In what our answer is not theirs; empty when it is the same. Texts of errors are not compared."""
    if ours["status"] != theirs["status"]:
        if AMBIGUOUS in ours.get("error", ""):
            return ""
        return f"{_told(ours)} instead of {_told(theirs)}"
    if theirs["status"] == "error":
        same = ours["errorType"] == theirs["errorType"]
        return "" if same else f"{_told(ours)} instead of {_told(theirs)}"
    if ours["data"]["resultType"] != theirs["data"]["resultType"]:
        return f"a {ours['data']['resultType']} instead of a {theirs['data']['resultType']}"
    if theirs["data"]["resultType"] == "scalar":
        return _rows_difference({"": [ours["data"]["result"]]}, {"": [theirs["data"]["result"]]})
    return _rows_difference(_rows(ours), _rows(theirs))


def _told(answer: dict[str, Any]) -> str:
    return f"{answer['errorType']}: {answer['error']}" if answer["status"] == "error" else "an answer"


def _rows(answer: dict[str, Any]) -> dict[str, list[list[Any]]]:
    return {
        json.dumps(row["metric"], sort_keys=True, ensure_ascii=False): row.get("values") or [row["value"]]
        for row in answer["data"]["result"]
    }


def _rows_difference(ours: dict[str, list[list[Any]]], theirs: dict[str, list[list[Any]]]) -> str:
    if more := sorted(ours.keys() - theirs.keys()):
        return f"{len(more)} rows too many, such as {more[0]} {ours[more[0]][:3]}"
    if less := sorted(theirs.keys() - ours.keys()):
        return f"{len(less)} rows missing, such as {less[0]} {theirs[less[0]][:3]}"
    for labels, wanted in theirs.items():
        found = ours[labels]
        if (times := [time for time, _ in found]) != (times_wanted := [time for time, _ in wanted]):
            odd = sorted(set(times) ^ set(times_wanted))
            return f"{labels}: {len(times)} steps instead of {len(times_wanted)}, they differ at {odd[:3]}"
        largest = max((abs(float(text)) for _, text in wanted if math.isfinite(float(text))), default=0.0)
        for (time, text), (_, text_wanted) in zip(found, wanted, strict=True):
            if not is_close(float(text), float(text_wanted), largest):
                return f"{labels} at {time}: {text} instead of {text_wanted}"
    return ""


def is_close(ours: float, theirs: float, largest: float) -> bool:
    """largest: of the row; what is left where figures of that size have cancelled each other is no difference."""
    if ours == theirs or (math.isnan(ours) and math.isnan(theirs)):
        return True
    return math.isclose(ours, theirs, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-9 * max(1.0, min(largest, 1e9)))
