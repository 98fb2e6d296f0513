"""What the appliance says of itself, for the System page and /api/v1/system."""

from __future__ import annotations

import shutil
from typing import Any

from appliance.doctor.disk import is_full
from appliance.metrics import Sample
from web.gathering import SERVICES, ask_all, gather_metrics
from web.services import Services

ACCEPTED = "henge_ingest_samples_total"
REFUSED = "henge_ingest_refused_total"
DROPPED = "henge_udp_dropped_total"


def report(services: Services) -> dict[str, Any]:
    """Every part is there also when a process is silent: then it is empty, and the process is named in `silent`."""
    status = ask_all(services, "status", ("supervisor",))["supervisor"] or {}
    stats = ask_all(services, "stats", ("store", "intake", "scheduler", "backup"))
    queues = ask_all(services, "process", (*SERVICES, "web"))
    samples = gather_metrics(services)
    processes = status.get("processes", [])
    for process in processes:
        process["queue"] = queues.get(process["name"])
    return {
        "pid": status.get("pid"),
        "version": status.get("version"),
        "started_ms": status.get("started_ms"),
        "now_ms": services.clock.now_ms(),
        "addresses": {k: v for k, v in (status.get("addresses") or {}).items() if k not in ("login_url", "processes")},
        "processes": processes,
        "accepted": by_label(samples, ACCEPTED, ("protocol",)),
        "refused": by_label(samples, REFUSED, ("protocol", "reason")),
        "dropped": by_label(samples, DROPPED, ("listener",)),
        "intake": stats["intake"],
        "store": stats["store"],
        "scheduler": stats["scheduler"],
        "backup": stats["backup"],
        "queries": {
            "asked": _sum(samples, "henge_query_total"),
            "running": _sum(samples, "henge_query_running"),
            "waiting": _sum(samples, "henge_query_waiting"),
            "refused": by_label(samples, "henge_query_refused_total", ("reason",)),
        },
        "disk": disk(services),
        "silent": [name for name, body in stats.items() if body is None] + ([] if status else ["supervisor"]),
    }


def by_label(samples: list[Sample], name: str, labels: tuple[str, ...]) -> dict[str, Any]:
    """The numbers of one metric as nested objects: refused → {"graphite": {"not_a_number": 3}}."""
    found: dict[str, Any] = {}
    for sample in samples:
        if sample.name != name:
            continue
        inner = found
        for label in labels[:-1]:
            inner = inner.setdefault(sample.labels.get(label, ""), {})
        key = sample.labels.get(labels[-1], "")
        inner[key] = inner.get(key, 0) + sample.value
    return found


def _sum(samples: list[Sample], name: str) -> float:
    return sum(sample.value for sample in samples if sample.name == name)


def disk(services: Services) -> dict[str, int | bool]:
    usage = shutil.disk_usage(services.config.data_dir)
    return {
        "total_bytes": usage.total,
        "used_bytes": usage.used,
        "free_bytes": usage.free,
        "is_full": is_full(usage.free, usage.total),
    }
