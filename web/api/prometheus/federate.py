"""The latest sample of each series that a selector names, as text: for another Prometheus that scrapes this one.

Source of the form: Prometheus documentation, "Federation" and "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import re

import numpy as np
from flask import Blueprint, Response

from tsdb.sample import METRIC_NAME, Labels, Matcher, is_stale
from web.api.prometheus import arguments
from web.api.prometheus.numbers import number_texts
from web.services import services

LOOKBACK_MS = 300_000
MIMETYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")

bp = Blueprint("prometheus_federate", __name__, url_prefix="/prometheus")


@bp.get("/federate")
def federate() -> Response:
    now_ms = services().clock.now_ms()
    selectors = arguments.match_arguments()
    lines: dict[Labels, tuple[str, int]] = {}
    for selector in selectors:
        lines.update(_latest(selector, now_ms))
    return Response(_text(lines), content_type=MIMETYPE)


def _latest(selector: list[Matcher], now_ms: int) -> dict[Labels, tuple[str, int]]:
    """The text and the time of each series' last sample that is not a stale marker."""
    found = services().tsdb.select(selector, now_ms - LOOKBACK_MS + 1, now_ms)
    last = found.offsets[1:] - 1
    is_alive = ~is_stale(found.value[last])
    texts = number_texts(found.value[last]).listed()
    times = found.timestamp_ms[last].tolist()
    return {found.labels[i]: (texts[i].decode(), times[i]) for i in np.flatnonzero(is_alive).tolist()}


def _text(lines: dict[Labels, tuple[str, int]]) -> str:
    """By metric, as the format demands; names that it cannot write have `_` for what it does not know."""
    parts: list[str] = []
    metric_before = None
    for labels in sorted(lines, key=lambda labels: (dict(labels).get(METRIC_NAME, ""), labels)):
        value, at_ms = lines[labels]
        metric = _escaped(_NOT_IN_NAMES, dict(labels).get(METRIC_NAME, ""))
        if not metric:
            continue  # The format has no series without a metric name.
        if metric != metric_before:
            parts.append(f"# TYPE {metric} untyped\n")
            metric_before = metric
        pairs = ",".join(
            f'{_escaped(_NOT_IN_LABELS, name)}="{_quoted(text)}"' for name, text in labels if name != METRIC_NAME
        )
        parts.append(f"{metric}{{{pairs}}} {value} {at_ms}\n" if pairs else f"{metric} {value} {at_ms}\n")
    return "".join(parts)


def _escaped(unknown: re.Pattern[str], name: str) -> str:
    found = unknown.sub("_", name)
    return f"_{found}" if found[:1].isdigit() else found


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
