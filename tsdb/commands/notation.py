"""Series as PromQL writes them, names in any script included: `{"grün.load", "my.label"="x"}`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def series_text(labels: Mapping[str, str]) -> str:
    """A series as PromQL reads it; names that need it are quoted, as in Prometheus 3."""
    rest = dict(labels)
    name = rest.pop("__name__", "")
    is_plain = _METRIC_NAME.fullmatch(name) is not None
    inside = [] if is_plain or not name else [_quoted(name)]
    inside += [f"{_label_name(key)}={_quoted(value)}" for key, value in sorted(rest.items())]
    return (name if is_plain else "") + ("{" + ", ".join(inside) + "}" if inside or not is_plain else "")


def _label_name(name: str) -> str:
    return name if _LABEL_NAME.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # What JSON escapes, PromQL escapes alike.
