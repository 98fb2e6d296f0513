"""http.json: whole requests to graphite-web with their answers, sent in order to one appliance with the same samples.

Not compared: the words of errors, what a picture shows beside its kind and size, pages of graphite-web's own, the
descriptions of functions (they are ours), the numbers by which tags and events are counted, the order of a completer's
list (that of a folder there).
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import pickle
import re
import struct
import tempfile
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.running import Appliance
from tests.scripts.graphite_render import labels_of_name
from tests.scripts.report import Report
from tests.shared import shared

BASE = "/graphite"
PDF = "application/x-pdf"
PNG_HEAD = struct.Struct(">8s8xII")  # The signature, and of the first chunk the width and the height.
OTHER_PAGES = re.compile(r"/(\?|$)|/dashboard")
CALL = re.compile(r"cb\((.*)\)", re.DOTALL)
OURS = {"description", "function", "module"}  # Of a function: words, and where it lies.
# Whatever else runs on this machine may send to the usual ports, and what there is is counted.
NO_OTHER_DOORS = ("graphite.listen=", "graphite.pickle_listen=", "statsd.listen=")
SCHEMAS = """
[[store.schemas]]
pattern = '^gap[.]'
retention = "forever"
resolution = "1m"
"""
COUNTED = re.compile(r"/(tags|events)\b")  # Answers in which an id is a number of the server's own.
EVENT = re.compile(r"/events/(\d+)/")
RELATIVE_TOLERANCE = 1e-9


def is_mine(content: Mapping[str, Any]) -> bool:
    return "requests" in content and "graphite_version" in content


def holding_datasets(folder: Path) -> Appliance:
    """An appliance that keeps samples of 2023; start it, then load() it.

    Steps are told by the samples, but of those that come with gaps."""
    appliance = Appliance(folder, settings=("store.retention=forever", *NO_OTHER_DOORS))
    appliance.data_dir.mkdir()
    appliance.data_dir.joinpath("henge.toml").write_text(SCHEMAS)
    return appliance


def load(appliance: Appliance) -> None:
    """Send the series over which graphite-web answered."""
    datasets = json.loads(shared("conformance/graphite/render.json").read_bytes())["datasets"]
    series = [
        {
            "labels": dict(labels_of_name(name)),
            "samples": [
                [(one["start"] + index * one["step"]) * 1_000, value]
                for index, value in enumerate(one["values"])
                if value is not None
            ],
        }
        for dataset in datasets.values()
        for name, one in dataset.items()
    ]
    status, answer = appliance.call("POST", "/api/v1/series", series)
    assert status == 200, answer
    assert not answer["refused"], answer


def run(content: Mapping[str, Any], path: Path) -> Report:
    """Against an appliance of its own."""
    with tempfile.TemporaryDirectory() as folder, holding_datasets(Path(folder)) as appliance:
        load(appliance)
        return report_of(content, path.name, answered(content, appliance))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes


def answered(content: Mapping[str, Any], appliance: Appliance) -> dict[int, Answer]:
    """Send every request that is not skipped. The appliance holds the datasets, and no events yet."""
    return {request["id"]: _sent(appliance, request) for request in content["requests"] if not _skipped(request)}


def report_of(content: Mapping[str, Any], name: str, answers: Mapping[int, Answer]) -> Report:
    """Compare what was answered, by the request's id."""
    report = Report(name)
    for request in content["requests"]:
        if skipped := _skipped(request):
            report.skipped[skipped] += 1
            continue
        differs = _differs(request, answers[request["id"]])
        what = f"{request['method']} {request['url']} as recorded"
        report.note(f"{name}:{request['id']}", what if differs else None, differs)
    return report


def _skipped(request: Mapping[str, Any]) -> str:
    expected = request["expect"]
    if OTHER_PAGES.match(request["url"]) or (EVENT.match(request["url"]) and "html_bytes" in expected):
        return "a page of graphite-web's own"
    return "PDF" if expected.get("content_type") == PDF else ""


def _sent(appliance: Appliance, request: Mapping[str, Any]) -> Answer:
    address = urllib.parse.urlsplit(appliance.url)
    assert address.hostname is not None
    headers = {"Authorization": f"Bearer {appliance.token}", **request.get("headers", {})}
    body: bytes | None = None
    if "form" in request:
        body = urllib.parse.urlencode(request["form"], doseq=True).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    elif "body" in request:
        body = request["body"].encode()
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    try:
        connection.request(request["method"], BASE + _with_our_id(appliance, request["url"]), body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def _differs(request: Mapping[str, Any], answer: Answer) -> str:
    try:
        return compared(request, answer)
    except (ValueError, KeyError, TypeError, pickle.UnpicklingError, msgspec.DecodeError) as error:
        return f"cannot be read: {error!r}: {answer.raw[:200]!r}"


def _with_our_id(appliance: Appliance, url: str) -> str:
    """An event is asked for by its number: by ours, then, for the event of that place."""
    found = EVENT.match(url)
    if found is None:
        return url
    _, events = appliance.call("GET", f"{BASE}/events/get_data")
    place = int(found[1]) - 1
    return f"/events/{events[place]['id']}/" if isinstance(events, list) and place < len(events) else url


def compared(request: Mapping[str, Any], answer: Answer) -> str:
    """What of an answer is not as recorded; empty when all is well."""
    expected, status, headers, raw = request["expect"], answer.status, answer.headers, answer.raw
    if expected["status"] >= 500 and status >= 400:
        return ""
    if status != expected["status"]:
        return f"status {status} instead of {expected['status']}: {raw[:200]!r}"
    is_json = expected["content_type"] == "application/json"
    if status >= 400:
        return "" if not is_json or isinstance(json.loads(raw).get("error"), str) else f"{raw[:200]!r} names no error"
    for name in ("cache-control", "pragma"):
        if not _directives(expected.get(name, "")) <= _directives(headers.get(name.title(), "")):
            return f"{name} {headers.get(name.title())!r} instead of {expected[name]!r}"
    if "html_bytes" in expected:
        return "" if bool(raw) == bool(expected["html_bytes"]) else f"{raw[:200]!r} instead of the recorded text"
    given, wanted = (one.partition(";")[0] for one in (headers.get("Content-Type", ""), expected["content_type"]))
    if given != wanted:
        return f"content_type {given!r} instead of {wanted!r}"
    return _compared_body(request["url"], expected, raw)


def _directives(text: str) -> set[str]:
    """Of a header, without the numbers."""
    return {one.strip().partition("=")[0] for one in text.split(",")} - {""}


def _compared_body(url: str, expected: Mapping[str, Any], raw: bytes) -> str:
    if "magic" in expected:
        return _compared_picture(expected, raw)
    if "base64" in expected:
        recorded = base64.b64decode(expected["base64"])
        read = pickle.loads if "pickle" in expected["content_type"] else msgspec.msgpack.decode
        return _same(read(recorded), read(raw), "")
    if "json" in expected:
        return _same(_comparable(url, expected["json"]), _comparable(url, json.loads(raw)), "")
    text = raw.decode()
    call, wanted = CALL.fullmatch(text), CALL.fullmatch(expected.get("body", ""))
    if call is not None and wanted is not None:
        return _same(_comparable(url, json.loads(wanted[1])), _comparable(url, json.loads(call[1])), "")
    body = expected.get("body", "")
    same = text == body
    if expected.get("truncated"):  # The record is cut short: of what it begins with, the first name is compared.
        same = set(re.findall(r'^\{"([^"]*)"', body)) <= set(json.loads(text))
    return "" if same else f"{text[:300]!r} instead of {body[:300]!r}"


def _compared_picture(expected: Mapping[str, Any], raw: bytes) -> str:
    magic = bytes.fromhex(expected["magic"])
    if raw[: len(magic)] != magic:
        return f"it begins with {raw[:16]!r} instead of {magic!r}"
    if expected["content_type"] != "image/png":
        return ""
    _, width, height = PNG_HEAD.unpack_from(raw)
    size = (expected["width"], expected["height"])
    return "" if (width, height) == size else f"{width} x {height} pixels instead of {size[0]} x {size[1]}"


def _comparable(url: str, found: Any) -> Any:
    """Without what is nobody's to foretell."""
    if isinstance(found, dict):
        if "metrics" in found:
            return {"metrics": sorted(found["metrics"], key=lambda one: str(one.get("path", "~")))}
        left_out = OURS if url.startswith("/functions") else {"id"} if COUNTED.match(url) else set()
        return {key: _comparable(url, value) for key, value in found.items() if key not in left_out}
    return [_comparable(url, one) for one in found] if isinstance(found, list) else found


def _same(wanted: Any, got: Any, where: str) -> str:
    """Where `got` first differs."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        if wanted.keys() != got.keys():
            return f"{where}: keys {sorted(got)[:50]} instead of {sorted(wanted)[:50]}"
        return next((text for key in wanted if (text := _same(wanted[key], got[key], f"{where}.{key}"))), "")
    if isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            return f"{where}: {len(got)} items instead of {len(wanted)}: {str(got)[:300]}"
        pairs = enumerate(zip(wanted, got, strict=True))
        return next((text for index, pair in pairs if (text := _same(*pair, f"{where}[{index}]"))), "")
    if type(wanted) is not bool and isinstance(wanted, int | float) and isinstance(got, int | float):
        return "" if math.isclose(wanted, got, rel_tol=RELATIVE_TOLERANCE) else f"{where}: {got} instead of {wanted}"
    return "" if wanted == got else f"{where}: {got!r} instead of {wanted!r}"
