"""The line to paste that sends a first number by Graphite's protocol, and what has come of it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from appliance.bus import BusError
from tsdb.errors import TsdbError
from web.gathering import ask_all
from web.services import Services, services

PROTOCOLS = ("graphite", "graphite_pickle")
LABEL_OF_CHECKS = "check"  # Series that have it are the appliance's own.
LABEL_COUNT = 1_000
COUNTED_SERIES_MAX = 100_000  # Counting passes over every series of the store, every few seconds.
HOW_TO_OPEN = (
    'Write graphite.listen = "127.0.0.1:2003" into henge.toml, as [graphite] and listen, then run henge reload.'
)


@dataclass(frozen=True, slots=True)
class Sender:
    """line "": the listener is off. note: who reaches it, or what to do, in a sentence or two."""

    line: str
    note: str


def sender(listening: str, page_host: str) -> Sender:
    """listening: host:port of the listener of Graphite's text protocol, "" when it is off. page_host: as the browser
    wrote it, without port."""
    if not listening:
        return Sender("", f"Graphite's listener is off. {HOW_TO_OPEN}")
    host, _, port = listening.rpartition(":")
    host = host.strip("[]")
    kind = _kind(host)
    if kind == "loopback":
        note = (
            "Only programs on this machine reach it. To take lines of others, set graphite.listen to "
            f"0.0.0.0:{port} in henge.toml and run henge reload."
        )
    elif kind == "every":
        host, note = page_host, "It takes lines from every machine that reaches this one."
        if _kind(page_host) == "loopback":
            note += f" Elsewhere, write this machine's name instead of {page_host}."
    else:
        note = "It takes lines from every machine that reaches this address."
    return Sender(f'echo "hello.henge 1 $(date +%s)" | nc -w 1 {host} {port}', note)


def _kind(host: str) -> str:
    """ "loopback", "every" address, or "one"."""
    if host in ("", "localhost"):
        return "loopback" if host else "every"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "one"
    return "every" if address.is_unspecified else "loopback" if address.is_loopback else "one"


def listening() -> str:
    """Where the listener really is, port 0 resolved; as it is set, when the supervisor does not answer."""
    status = ask_all(services(), "status", ("supervisor",))["supervisor"]
    if status is None:
        return str(services().config.graphite.listen or "")
    return str((status.get("addresses") or {}).get("graphite") or "")


def received(found: Services) -> dict[str, Any]:
    """{"points", "series", "refusal"}: since the start of the intake; None for what cannot be said at the moment."""
    intake = ask_all(found, "stats", ("intake",))["intake"]
    if intake is None:
        return {"points": None, "series": None, "refusal": None}
    refusals = (one for one in intake["recent_refusals"] if one["protocol"] in PROTOCOLS)
    return {
        "points": sum(intake["accepted"].get(protocol, 0) for protocol in PROTOCOLS),
        "series": _series_count(found) if intake["series_count"] <= COUNTED_SERIES_MAX else None,
        "refusal": next(refusals, None),
    }


def _series_count(found: Services) -> int | None:
    """Of all senders; the series of checks and of hosts are not counted."""
    try:
        there = found.tsdb.cardinality(LABEL_COUNT)
    except (TsdbError, BusError) as error:
        found.log.info("series are not counted: %s", error)
        return None
    own = next((one["series_count"] for one in there["label_names"] if one["name"] == LABEL_OF_CHECKS), 0)
    return max(0, int(there["series_count"]) - int(own))
