"""Whole HTTP requests as Prometheus 3.5.3 answered them, sent in order to one appliance that holds the same samples.

Where the recorded answer speaks of the server itself (its own series, paths, targets), only the shape counts; see
compared(). Known exceptions stand in prometheus.known.
"""

from __future__ import annotations

import gzip
import http.client
import json
import math
import re
import tempfile
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.running import Appliance
from tests.scripts.report import Report
from tests.shared import shared

BASE = "/prometheus"
NOT_IN_THAT_BUILD = range(200, 208)  # Requests to a receiver that the recorded server had not switched on.
OTHER_PAGES = ("/", "/metrics", "/-/reload")  # Not Prometheus' API: its own page, metrics of itself, its life.
# What the recorded server answered about itself, or about series that only it had.
OF_THE_SERVER = re.compile(
    r"/api/v1/(metadata|targets|scrape_pools|rules|alerts|alertmanagers|notifications|status|labels|label/)|/federate"
)
OWN_SERIES = ("SERVER", "(folder)")
SHAPE_ONLY = {87, 211}  # The first three of an order that nobody promises; a name made of the time.
NOTES = {"warnings", "infos", "groupNextToken"}  # There only when there is something to say.
FREE_NAMES = re.compile(
    r"/(status/flags|metadata)\b.*\.data$|/series.*\.data\[\d+\]$"
    r"|\.(metric|labels|annotations|discoveredLabels|droppedTargetCounts)$"
)
RELATIVE_TOLERANCE = 1e-9
PRUNED = re.compile(r"^\.\.\. ")


def holding_demo(folder: Path) -> Appliance:
    """An appliance that keeps samples of 2023; start it, then load() it."""
    return Appliance(folder, settings=("store.retention=forever",))


def load(appliance: Appliance) -> None:
    """Send the samples over which Prometheus answered."""
    with gzip.open(shared("conformance/prometheus/demo_dataset.json.gz")) as file:
        found = json.load(file)["series"]
    series = [
        {"labels": labels, "samples": [[at_ms, value] for at_ms, value in samples if value != "stale"]}
        for labels, samples in found
    ]
    status, answer = appliance.call("POST", "/api/v1/series", series)
    assert status == 200, answer
    assert not answer["refused"], answer


def is_mine(content: Mapping[str, Any]) -> bool:
    return "requests" in content and "demo_data_base" in content


def run(content: Mapping[str, Any], path: Path) -> Report:
    """Against an appliance of its own."""
    with tempfile.TemporaryDirectory() as folder, holding_demo(Path(folder)) as appliance:
        load(appliance)
        return report_of(content, path.name, appliance)


def report_of(content: Mapping[str, Any], name: str, appliance: Appliance) -> Report:
    """Send every request. The appliance holds demo_dataset.json.gz and keeps samples of 2023."""
    report = Report(name)
    for request in content["requests"]:
        if request["id"] in NOT_IN_THAT_BUILD or request["path"].partition("?")[0] in OTHER_PAGES:
            report.skipped["what is not Prometheus' API"] += 1
            continue
        differs = _differs(appliance, request)
        what = f"{request['method']} {request['path']} as recorded"
        report.note(f"{name}:{request['id']}", what if differs else None, differs)
    return report


def _differs(appliance: Appliance, request: dict[str, Any]) -> str:
    address = urllib.parse.urlsplit(appliance.url)
    assert address.hostname is not None
    headers = {"Authorization": f"Bearer {appliance.token}", **request.get("headers", {})}
    body: bytes | None = None
    if "form" in request:
        body = urllib.parse.urlencode(request["form"]).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    elif "body_hex" in request:
        body = bytes.fromhex(request["body_hex"])
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    try:
        connection.request(request["method"], BASE + request["path"], body, headers)
        answer = connection.getresponse()
        raw = answer.read()
    finally:
        connection.close()
    return compared(request, answer.status, dict(answer.getheaders()), raw)


def compared(request: dict[str, Any], status: int, headers: dict[str, str], raw: bytes) -> str:
    """What of an answer is not as recorded; empty when all is well."""
    expected = request["expect"]
    if expected["status"] >= 500 and status >= 400:
        return ""
    if status != expected["status"]:
        return f"status {status} instead of {expected['status']}: {raw[:300]!r}"
    for name in ("content_type", "Content-Encoding", "Allow"):
        wanted = expected.get(name)
        got = headers.get("Content-Type" if name == "content_type" else name)
        if wanted is not None and not (_same_methods if name == "Allow" else _same_header)(wanted, got):
            return f"{name} {got!r} instead of {wanted!r}"
    for name, wanted in expected.items():
        if name.startswith(("X-Prometheus-", "Access-Control-")) and headers.get(name) != wanted:
            return f"{name} {headers.get(name)!r} instead of {wanted!r}"
    if "json" in expected:
        return _compared_json(request, expected["json"], json.loads(raw))
    return ""


def _same_methods(wanted: str, got: str | None) -> bool:
    """HEAD and OPTIONS are answered wherever GET is."""
    asked = [set((names or "").replace(" ", "").split(",")) - {"HEAD", "OPTIONS"} for names in (wanted, got)]
    return asked[0] == asked[1]


def _same_header(wanted: str, got: str | None) -> bool:
    if got is None:
        return False
    parts, got_parts = wanted.replace(" ", "").split(";"), got.replace(" ", "").split(";")
    return parts[0].lower() == got_parts[0].lower() and set(got_parts[1:]) <= set(parts[1:])


def _compared_json(request: dict[str, Any], wanted: dict[str, Any], got: dict[str, Any]) -> str:
    if wanted["status"] == "error":
        return "" if got == wanted else f"{got} instead of {wanted}"
    text = json.dumps(wanted)
    if request["id"] in SHAPE_ONLY or OF_THE_SERVER.search(request["path"]) or any(name in text for name in OWN_SERIES):
        return _shape(wanted, got, request["path"])
    return _same(wanted, got, "")


def _same(wanted: Any, got: Any, where: str) -> str:
    """Where `got` first differs; lists that the record cut short end in a word that says so."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        if "timings" in wanted:  # Of `stats`: seconds, which are nobody's to foretell.
            return _shape(wanted, got, where)
        if wanted.keys() != got.keys():
            return f"{where}: keys {sorted(got)} instead of {sorted(wanted)}"
        return next((text for key in wanted if (text := _same(wanted[key], got[key], f"{where}.{key}"))), "")
    if isinstance(wanted, list) and isinstance(got, list):
        if wanted and isinstance(wanted[-1], str) and PRUNED.match(wanted[-1]):
            wanted = wanted[:-1]
            got = got[: len(wanted)]
        if len(wanted) != len(got):
            return f"{where}: {len(got)} items instead of {len(wanted)}"
        pairs = enumerate(zip(wanted, got, strict=True))
        return next((text for index, pair in pairs if (text := _same(*pair, f"{where}[{index}]"))), "")
    if wanted == got or _same_number(wanted, got):
        return ""
    return f"{where}: {got!r} instead of {wanted!r}"


def _same_number(wanted: Any, got: Any) -> bool:
    if type(wanted) is not type(got):
        return isinstance(wanted, int | float) and isinstance(got, int | float) and float(wanted) == float(got)
    try:
        return math.isclose(float(wanted), float(got), rel_tol=RELATIVE_TOLERANCE)
    except (TypeError, ValueError):
        return False


def _shape(wanted: Any, got: Any, where: str) -> str:
    """Where the kinds of values first differ. Names that are data, such as labels, may be others."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        if FREE_NAMES.search(where):
            like = next(iter(wanted.values()), None)
            return next((text for key in got if (text := _shape(like, got[key], f"{where}.{key}"))), "")
        if missing := wanted.keys() - got.keys() - NOTES:
            return f"{where}: {sorted(missing)} missing"
        return next(
            (text for key in wanted.keys() & got if (text := _shape(wanted[key], got[key], f"{where}.{key}"))), ""
        )
    if isinstance(wanted, list) and isinstance(got, list):
        like = next(iter(wanted), None)
        return next((text for i, item in enumerate(got) if (text := _shape(like, item, f"{where}[{i}]"))), "")
    if wanted is None or got is None or _kind(wanted) == _kind(got):
        return ""
    return f"{where}: {got!r} is no {_kind(wanted)}"


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
