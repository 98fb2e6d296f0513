"""What the keys of a statsd's config.js become here, and what is not taken, in words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from appliance.config import SETTINGS, duration_text
from tsdb.configjs.literal import Value

_PARSE = {setting.key: setting.parse for setting in SETTINGS}


@dataclass(slots=True)
class Import:
    """settings: of the table [statsd], by key."""

    settings: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    not_taken: list[str] = field(default_factory=list)

    def as_toml(self) -> str:
        """Values are JSON's texts, which are TOML's as well."""
        lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in self.settings.items())
        return "[statsd]\n" + "".join(lines)


def _text(value: Value) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    raise ValueError("is not a text")


def _truth(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    raise ValueError("is neither true nor false")


def _number_text(value: Value) -> str:
    if isinstance(value, bool) or not isinstance(value, float | str):
        raise ValueError("is not a number")
    number = float(value)
    return str(int(number)) if math.isfinite(number) and number == int(number) else str(number)


def _listed(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]


def _histograms(value: Value) -> str:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("is not a list of { metric, bins }")
    return "; ".join(
        f"{_text(one.get('metric'))}={','.join(b if b == 'inf' else _number_text(b) for b in _listed(one.get('bins')))}"
        for one in value
        if isinstance(one, dict)
    )


Write = Callable[[Value], str]
_TAKEN: Mapping[str, tuple[str, Write]] = {
    "flushInterval": ("flush_interval", lambda value: duration_text(int(_number_text(value)))),
    "percentThreshold": ("percentiles", lambda value: ",".join(map(_number_text, _listed(value)))),
    "prefixStats": ("prefix_stats", _text),
    "deleteIdleStats": ("delete_idle", _truth),
    "deleteCounters": ("delete_counters", _truth),
    "deleteTimers": ("delete_timers", _truth),
    "deleteGauges": ("delete_gauges", _truth),
    "deleteSets": ("delete_sets", _truth),
    "gaugesMaxTTL": ("gauges_ttl_max", _number_text),
    "histogram": ("histograms", _histograms),
    "calculatedTimerMetrics": ("timer_metrics", lambda value: ",".join(map(_text, _listed(value)))),
    "graphite.legacyNamespace": ("legacy_namespace", _truth),
    "graphite.globalPrefix": ("global_prefix", _text),
    "graphite.globalSuffix": ("global_suffix", _text),
    "graphite.prefixCounter": ("prefix_counter", _text),
    "graphite.prefixTimer": ("prefix_timer", _text),
    "graphite.prefixGauge": ("prefix_gauge", _text),
    "graphite.prefixSet": ("prefix_set", _text),
}
_NOTHING_TO_TAKE = {
    "graphiteHost": "the rows are stored here, nothing is sent on",
    "graphitePort": "the rows are stored here, nothing is sent on",
    "graphitePicklePort": "the rows are stored here, nothing is sent on",
    "graphiteProtocol": "the rows are stored here, nothing is sent on",
    "backends": "the rows are stored here; there are no other backends",
    "server": "UDP and TCP are both taken",
    "servers": "UDP and TCP are both taken, at statsd.listen",
    "repeater": "packets are not passed on",
    "repeaterProtocol": "packets are not passed on",
    "keyFlush": "there is no log of frequent keys; topk() of a query shows them",
    "flush_counts": "counts are always stored",
    "keyNameSanitize": "names are always sanitized",
    "address_ipv6": "an IPv6 address is written as [::1]:8125 in statsd.listen",
    "healthStatus": "the health is up at each start",
    "debug": "log.level says how much is logged",
    "log": "log.level says how much is logged",
    "dumpMessages": "henge trace shows what comes in",
}


def settings_of(config: Mapping[str, Value]) -> Import:
    found = Import()
    flat = dict(config)
    graphite = flat.pop("graphite", None)
    if isinstance(graphite, dict):
        flat |= {f"graphite.{key}": value for key, value in graphite.items()}
    elif graphite is not None:
        found.not_taken.append("graphite: is not an object")
    _take_address(flat, found, ("address", "port", 8125), "listen")
    _take_address(flat, found, ("mgmt_address", "mgmt_port", 8126), "management_listen")
    for key, value in flat.items():
        if key not in _TAKEN:
            found.not_taken.append(f"{key[:80]}: {_NOTHING_TO_TAKE.get(key, 'Henge has no such setting')}")
            continue
        name, write = _TAKEN[key]
        try:
            _note(found, key, name, write(value))
        except (ValueError, OverflowError) as error:
            found.not_taken.append(f"{key}: {json.dumps(value)[:80]} {error}")
    return found


def _take_address(flat: dict[str, Value], found: Import, keys: tuple[str, str, int], name: str) -> None:
    """statsd listens on all addresses where none is given; here that has to be said."""
    host_key, port_key, port_default = keys
    if host_key not in flat and port_key not in flat:
        return
    host, port = flat.pop(host_key, None), flat.pop(port_key, None)
    try:
        host_text = "0.0.0.0" if host is None else _text(host)
        host_text = f"[{host_text}]" if ":" in host_text else host_text
        _note(
            found,
            f"{host_key}, {port_key}",
            name,
            f"{host_text}:{_number_text(float(port_default) if port is None else port)}",
        )
    except (ValueError, OverflowError) as error:
        found.not_taken.append(f"{host_key}, {port_key}: {json.dumps([host, port])[:80]} {error}")


def _note(found: Import, key: str, name: str, text: str) -> None:
    """Only what the table of settings takes. Raises: ValueError."""
    _PARSE[f"statsd.{name}"](text)
    found.settings[name] = text
    found.taken.append(f"{key} as statsd.{name} = {text}")
