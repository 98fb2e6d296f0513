"""What clients of Prometheus' API ask about the server itself: build, run, settings, series, life."""

from __future__ import annotations

import json
import os
import platform
import socket
import threading
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response

from appliance.version import version
from tsdb.errors import RefusedQuery
from web.api.prometheus import arguments
from web.api.prometheus.shape import success
from web.auth.guard import needs, open_to_all
from web.auth.roles import Role
from web.gathering import answers_by_service, ask_all
from web.services import services

API_VERSION = "3.5.0"  # Of Prometheus, whose interface this is: clients such as Grafana choose their requests by it.
TOP_COUNT = 10
TOP_COUNT_MAX = 10_000

bp = Blueprint("prometheus_status", __name__, url_prefix="/prometheus")


@bp.get("/api/v1/status/buildinfo")
def buildinfo() -> Response:
    return success(
        {
            "version": API_VERSION,
            "revision": version(),
            "branch": "henge",
            "buildUser": "",
            "buildDate": "",
            "goVersion": f"python{platform.python_version()}",
        }
    )


@bp.get("/api/v1/status/runtimeinfo")
def runtimeinfo() -> Response:
    status = ask_all(services(), "status", ("supervisor",))["supervisor"] or {}
    store = ask_all(services(), "stats", ("store",))["store"] or {}
    started = rfc3339(int(status.get("started_ms") or services().clock.now_ms()))
    damaged = sum(int(store.get(name, 0)) for name in ("quarantined_frames", "quarantined_blocks"))
    return success(
        {
            "startTime": started,
            "CWD": str(services().config.data_dir),
            "hostname": socket.gethostname(),
            "serverTime": rfc3339(services().clock.now_ms()),
            "reloadConfigSuccess": True,
            "lastConfigTime": started,
            "corruptionCount": damaged,
            "goroutineCount": threading.active_count(),
            "GOMAXPROCS": os.cpu_count() or 1,
            "GOMEMLIMIT": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": services().config.texts["store.retention"],
        }
    )


@bp.get("/api/v1/status/config")
@needs(Role.ADMIN)
def config() -> Response:
    """The settings as YAML, which Prometheus' clients expect; Henge's own file is TOML."""
    lines: list[str] = []
    section = ""
    for key, value in sorted(services().config.texts.items()):
        room, _, name = key.partition(".")
        if room != section:
            section = room
            lines.append(f"{section}:")
        lines.append(f"  {name}: {json.dumps(value)}")
    return success({"yaml": "\n".join(lines) + "\n"})


@bp.get("/api/v1/status/flags")
@needs(Role.ADMIN)
def flags() -> Response:
    texts = services().config.texts
    as_prometheus = {
        "query.lookback-delta": "5m",
        "query.max-concurrency": texts["query.concurrent_count_max"],
        "query.max-samples": texts["query.samples_count_max"],
        "query.timeout": texts["query.timeout"],
        "storage.tsdb.path": str(services().config.data_dir / "samples"),
        "web.enable-admin-api": "true",
        "web.enable-remote-write-receiver": "true",
        "web.listen-address": texts["web.listen"],
    }
    return success(dict(sorted({**texts, **as_prometheus}.items())))


@bp.get("/api/v1/status/tsdb")
def tsdb() -> Response:
    count = _top_count()
    found = services().tsdb.cardinality(count)
    store = ask_all(services(), "stats", ("store",))["store"] or {}
    names: list[dict[str, Any]] = found["label_names"]
    pairs = [(f"{row['name']}={row['value']}", row["series_count"]) for row in found["label_values"]]
    pairs += [(f"__name__={row['metric']}", row["series_count"]) for row in found["metrics"]]
    return success(
        {
            "headStats": {
                "numSeries": found["series_count"],
                "numLabelPairs": sum(row["value_count"] for row in names),
                "chunkCount": store.get("block_count", 0),
                "minTime": store.get("head_min_ms") or 0,
                "maxTime": store.get("head_max_ms") or 0,
            },
            "seriesCountByMetricName": _rows([(row["metric"], row["series_count"]) for row in found["metrics"]], count),
            "labelValueCountByLabelName": _rows([(row["name"], row["value_count"]) for row in names], count),
            "memoryInBytesByLabelName": [],
            "seriesCountByLabelValuePair": _rows(pairs, count),
        }
    )


def _top_count() -> int:
    given = arguments.text("limit") or str(TOP_COUNT)
    if not given.isdecimal() or len(given) > 9 or int(given) < 1:
        raise RefusedQuery("limit must be a positive number")
    if int(given) > TOP_COUNT_MAX:
        raise RefusedQuery(f"limit must not exceed {TOP_COUNT_MAX}")
    return int(given)


def _rows(pairs: list[tuple[str, int]], count: int) -> list[dict[str, Any]]:
    """The largest first; of equal ones by name."""
    best = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:count]
    return [{"name": name, "value": value} for name, value in best]


@bp.get("/api/v1/status/walreplay")
def walreplay() -> Response:
    """The store answers only once its log is replayed, so there is never anything left."""
    return success({"min": 0, "max": 0, "current": 0})


@bp.get("/")
def root() -> Response:
    """Where Prometheus has its page, and clients look whether there is one."""
    return Response("Henge speaks Prometheus' HTTP API below /prometheus/api/v1.\n", mimetype="text/plain")


@bp.get("/-/healthy")
@open_to_all()
def healthy() -> Response:
    return Response("Henge is Healthy.\n", mimetype="text/plain")


@bp.get("/-/ready")
@open_to_all()
def ready() -> Response:
    silent = [name for name, answers in answers_by_service(services()).items() if not answers]
    if silent:
        return Response(f"Henge is not ready: {', '.join(silent)} does not answer.\n", 503, mimetype="text/plain")
    return Response("Henge is Ready.\n", mimetype="text/plain")


def rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
