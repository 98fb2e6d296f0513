"""What a StatsD metric costs: packets of many lines and of one, at a rate that a sender in another process keeps.

UDP has no back pressure, so a rate is asked for, and the figures are the CPU seconds of the intake process for a
million metrics and what was lost. How many came in is told by StatsD's own counter, asked for by query. Beside it
npm's statsd gets the same packets at the same rate, as long as it keeps up.
"""

from __future__ import annotations

import multiprocessing
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from appliance.bus import Client
from tests.bench import peer, statsd_peer
from tests.bench.figure import Figure, machine
from tests.bench.tree import usage
from tests.running import Appliance
from tests.udp_buffer import DEBIAN_RMEM_MAX, set_udp_buffer
from tests.waiting import wait_until

NAMES_COUNT = 1_000
PACKET_BYTES = 1_400  # A packet that a client fills for an Ethernet.
PACKETS_COUNT = 2_000  # Built once, sent in turn.
BURST_S = 0.002  # The sender's rhythm.
BURST_S_MAX = 0.004  # A sender that came late makes up for it bit by bit: one large burst would measure the sender.


@dataclass(frozen=True)
class Load:
    """Packets of so many bytes at most, at so many metrics a second.

    buffer_bytes: for the receiver's socket, as if net.core.rmem_max were that; None: what the kernel gives.
    """

    name: str
    packet_bytes: int
    rate: int
    buffer_bytes: int | None = None


LOADS = (
    Load("packets of 1,400 bytes", PACKET_BYTES, 300_000),
    Load("packets of one metric", 0, 50_000),
    Load("packets of one metric, a buffer of Debian's size", 0, 50_000, DEBIAN_RMEM_MAX),
)


def run(*, seconds: float, peers: Sequence[str] = ("statsd", peer.HENGE)) -> Iterator[Figure]:
    stats_js = statsd_peer.program() if "statsd" in peers else None
    for load in LOADS:
        peer.told(f"{load.name}, {load.rate:,} metrics a second for {seconds:g} s")
        with tempfile.TemporaryDirectory() as folder:
            if stats_js is not None and load.buffer_bytes is None:
                with statsd_peer.running(stats_js, Path(folder)) as statsd:
                    yield from _measured(
                        "statsd", load, seconds, statsd.address, lambda: statsd.received_count, statsd.cpu_s
                    )
            if peer.HENGE in peers:
                yield from _henge(load, Path(folder), seconds)


def packets_of(load: Load) -> list[bytes]:
    """Counters, timers and gauges of NAMES_COUNT names, from a fixed seed."""
    rng = random.Random(1)
    packets = []
    for _ in range(PACKETS_COUNT):
        packet = _line(rng)
        while len(packet) < load.packet_bytes - 50:
            packet += b"\n" + _line(rng)
        packets.append(packet)
    return packets


def _line(rng: random.Random) -> bytes:
    name = f"shop.web{rng.randrange(NAMES_COUNT // 20)}.requests.m{rng.randrange(20)}"
    return f"{name}:{rng.randrange(1_000)}|{rng.choice(('c', 'c', 'ms', 'g'))}".encode()


def _henge(load: Load, folder: Path, seconds: float) -> Iterator[Figure]:
    with Appliance(folder, settings=("statsd.listen=127.0.0.1:0", "statsd.flush_interval=1s")) as appliance:
        host, port = appliance.ready["statsd"].rsplit(":", 1)
        names = appliance.ready["processes"]
        if load.buffer_bytes is not None:
            set_udp_buffer(names["intake"], int(port), load.buffer_bytes)
        yield from _measured(
            *(peer.HENGE, load, seconds, (host, int(port)), lambda: _received(appliance)),
            cpu_s_of=lambda: usage(appliance.ready["pid"], names).cpu_s["intake"],
        )
        with Client(appliance.data_dir / "run", "intake") as intake:
            dropped = intake.call("stats").body["udp_dropped"].get("statsd_udp", 0)
            peer.told(f"the kernel says that it dropped {dropped:,} packets")


def _measured(
    name: str,
    load: Load,
    seconds: float,
    address: tuple[str, int],
    received: Callable[[], float],
    cpu_s_of: Callable[[], float],
) -> Iterator[Figure]:
    packets = packets_of(load)
    before_s = cpu_s_of()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    sender = context.Process(target=send, args=(address, packets, load.rate, seconds, queue))
    sender.start()
    sent_count, took_s = queue.get(timeout=seconds + 60)
    sender.join()
    got_count = 0.0

    def is_settled() -> bool:
        nonlocal got_count
        last, got_count = got_count, received()
        time.sleep(1.5)  # Longer than a flush interval: two equal answers mean that all is in.
        return got_count == last > 0

    wait_until(is_settled, what="the last flush", timeout_s=60)
    cpu_s = cpu_s_of() - before_s
    conditions = machine() | {
        "metrics_sent": sent_count,
        "metrics_received": got_count,
        "sent_per_s": round(sent_count / took_s),
        "names": NAMES_COUNT,
        "rmem_max": int(Path("/proc/sys/net/core/rmem_max").read_text()),
    }
    for metric, value, unit in (
        ("CPU", cpu_s / (got_count / 1e6), "s per million metrics"),
        ("metrics that one core takes", got_count / cpu_s, "metrics/s"),
        ("metrics lost", sent_count - got_count, "metrics"),
    ):
        yield Figure(
            bench="statsd",
            metric=f"{name}: {load.name}: {metric}",
            value=round(value, 3),
            unit=unit,
            conditions=conditions,
        )


def send(address: tuple[str, int], packets: Sequence[bytes], rate: int, seconds: float, told: object) -> None:
    """Send packets in turn at this rate of metrics; tell how many metrics went out, and in what time."""
    counts = [packet.count(b"\n") + 1 for packet in packets]
    sent_count, at = 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        since_s = time.monotonic()
        while (now_s := time.monotonic() - since_s) < seconds:
            until_count = min(rate * now_s, sent_count + rate * BURST_S_MAX)
            while sent_count < until_count:
                sock.send(packets[at])
                sent_count += counts[at]
                at = (at + 1) % len(packets)
            time.sleep(BURST_S)
    told.put((sent_count, time.monotonic() - since_s))  # type: ignore[attr-defined]


def _received(appliance: Appliance) -> float:
    query = 'sum_over_time({"stats_counts.statsd.metrics_received"}[10m])'
    status, body = appliance.call("GET", f"/prometheus/api/v1/query?{urlencode({'query': query})}")
    assert status == 200, body
    return sum(float(one["value"][1]) for one in body["data"]["result"])
