"""Whether the kernel gives the UDP listeners the buffer that they ask for, and what it has thrown away."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.doctor.finding import Finding, advice, ok, size
from appliance.doctor.patient import Patient
from tsdb.ingest.listen import UDP_BUFFER_BYTES, widened


@dataclass(frozen=True, slots=True)
class Reading:
    is_listening: bool  # By the settings.
    # What the listeners of the appliance that runs have, the smallest; without one, what a socket of this command gets:
    # who may administer the network is not held to net.core.rmem_max.
    given_bytes: int | None  # None: not even a socket can be had.
    dropped_by_listener: Mapping[str, int]  # Since the start of the appliance that runs.


def examine(patient: Patient) -> Iterator[Finding]:
    return judge(read(patient))


def read(patient: Patient) -> Reading:
    config = patient.config
    is_listening = config.graphite.listen is not None or config.statsd.listen is not None
    intake = patient.stats.get("intake") or {}
    granted = intake.get("udp_buffer_bytes") or {}
    dropped = intake.get("udp_dropped") or {}
    given_bytes = min(map(int, granted.values())) if granted else _tried()
    return Reading(is_listening, given_bytes, {name: int(count) for name, count in dropped.items() if count})


def _tried() -> int | None:
    try:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            return widened(sock)
    except OSError:
        return None


def judge(reading: Reading) -> Iterator[Finding]:
    what = "buffers of UDP listeners"
    if not reading.is_listening:
        yield ok(what, "no listener takes UDP")
        return
    if reading.given_bytes is None:
        yield ok(what, "the kernel does not tell")
    elif reading.given_bytes < UDP_BUFFER_BYTES:
        value = f"the kernel gives {size(reading.given_bytes)}, of {size(UDP_BUFFER_BYTES)} asked for"
        way_out = (
            f"sudo sysctl -w net.core.rmem_max={UDP_BUFFER_BYTES}, then henge reload --all; a burst is lost otherwise"
        )
        yield advice(what, value, way_out)
    else:
        yield ok(what, f"{size(UDP_BUFFER_BYTES)} each")
    for name, count in reading.dropped_by_listener.items():
        way_out = "send more values in a datagram, or over TCP; raise net.core.rmem_max if it is the smaller one"
        yield advice(f"datagrams that {name} has lost", f"{count:,} since the start", way_out)
