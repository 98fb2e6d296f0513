"""Whether the kernel gives the UDP listeners the buffer that they ask for, and what it has thrown away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.doctor.finding import Finding, advice, ok, size
from appliance.doctor.patient import Patient
from tsdb.ingest.listen import UDP_BUFFER_BYTES

RMEM_MAX = Path("/proc/sys/net/core/rmem_max")


@dataclass(frozen=True, slots=True)
class Reading:
    is_listening: bool  # By the settings.
    given_bytes: int | None  # At most, for a socket; None: the kernel does not tell.
    dropped_by_listener: Mapping[str, int]  # Since the start of the appliance that runs.


def examine(patient: Patient) -> Iterator[Finding]:
    return judge(read(patient))


def read(patient: Patient) -> Reading:
    try:
        given_bytes = int(RMEM_MAX.read_text())
    except (OSError, ValueError):
        given_bytes = None
    config = patient.config
    is_listening = config.graphite.listen is not None or config.statsd.listen is not None
    dropped = (patient.stats.get("intake") or {}).get("udp_dropped") or {}
    return Reading(is_listening, given_bytes, {name: int(count) for name, count in dropped.items() if count})


def judge(reading: Reading) -> Iterator[Finding]:
    what = "buffers of UDP listeners"
    if not reading.is_listening:
        yield ok(what, "no listener takes UDP")
        return
    if reading.given_bytes is None:
        yield ok(what, "the kernel does not tell")
    elif reading.given_bytes < UDP_BUFFER_BYTES:
        value = f"net.core.rmem_max is {size(reading.given_bytes)}, of {size(UDP_BUFFER_BYTES)} asked for"
        way_out = f"sudo sysctl -w net.core.rmem_max={UDP_BUFFER_BYTES}, then restart; a burst is lost otherwise"
        yield advice(what, value, way_out)
    else:
        yield ok(what, f"{size(UDP_BUFFER_BYTES)} each")
    for name, count in reading.dropped_by_listener.items():
        way_out = "send more values in a datagram, or over TCP; raise net.core.rmem_max if it is the smaller one"
        yield advice(f"datagrams that {name} has lost", f"{count:,} since the start", way_out)
