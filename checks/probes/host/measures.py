"""This machine's figures through psutil, under the names that node_exporter gives them.

Source: node_exporter 1.8, collectors cpu, loadavg, meminfo, filesystem, diskstats, netdev, stat, time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from checks.model import Metric

METRIC_COUNT_MAX = 2000  # A machine with hundreds of cores, disks and virtual interfaces stays below.
MEMORY_FIELDS = {  # node_exporter's name: psutil's field.
    "MemTotal": "total",
    "MemAvailable": "available",
    "MemFree": "free",
    "Buffers": "buffers",
    "Cached": "cached",
    "Shmem": "shared",
    "Slab": "slab",
    "Active": "active",
    "Inactive": "inactive",
}
CPU_MODES = {"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}
NETWORK_FIELDS = {
    "receive_bytes": "bytes_recv",
    "transmit_bytes": "bytes_sent",
    "receive_packets": "packets_recv",
    "transmit_packets": "packets_sent",
    "receive_errs": "errin",
    "transmit_errs": "errout",
    "receive_drop": "dropin",
    "transmit_drop": "dropout",
}
DISK_FIELDS = {  # node_exporter's name: psutil's field and the factor to node_exporter's unit (psutil gives ms).
    "reads_completed_total": ("read_count", 1.0),
    "writes_completed_total": ("write_count", 1.0),
    "read_bytes_total": ("read_bytes", 1.0),
    "written_bytes_total": ("write_bytes", 1.0),
    "read_time_seconds_total": ("read_time", 0.001),
    "write_time_seconds_total": ("write_time", 0.001),
    "io_time_seconds_total": ("busy_time", 0.001),
}


@dataclass(frozen=True, slots=True)
class FileSystem:
    mount: str
    device: str
    kind: str
    size_bytes: int
    free_bytes: int  # Also what only root may fill.
    available_bytes: int
    files_count: int
    files_free_count: int

    @property
    def used_percent(self) -> float:
        """As df prints it: of what is used and what others than root may still fill."""
        used = self.size_bytes - self.free_bytes
        return 100.0 * used / (used + self.available_bytes) if used + self.available_bytes else 0.0


@dataclass(frozen=True, slots=True)
class Measures:
    """One look at the machine."""

    metrics: tuple[Metric, ...]
    file_systems: tuple[FileSystem, ...]
    unreadable: tuple[str, ...]  # Mount points that could not be looked at, with the reason.
    memory_used_percent: float
    load5: float
    cpu_count: int


def look(mounts: list[str], now_ms: int) -> Measures:
    """Read everything. Blocks for some milliseconds, or for long on a file system whose server is gone."""
    found: list[Metric] = []
    file_systems, unreadable = _file_systems(mounts)
    memory = psutil.virtual_memory()
    load = os.getloadavg()
    found += _cpu() + _memory(memory) + _network() + _disks()
    for name, value in zip(("node_load1", "node_load5", "node_load15"), load, strict=True):
        found.append(Metric(name=name, value=value))
    found.append(Metric(name="node_boot_time_seconds", value=psutil.boot_time()))
    found.append(Metric(name="node_time_seconds", value=now_ms / 1000))
    for file_system in file_systems:
        found += _file_system(file_system)
    return Measures(
        metrics=tuple(found[:METRIC_COUNT_MAX]),
        file_systems=tuple(file_systems),
        unreadable=tuple(unreadable),
        memory_used_percent=100.0 * (1 - memory.available / memory.total),
        load5=load[1],
        cpu_count=os.cpu_count() or 1,
    )


def _cpu() -> list[Metric]:
    return [
        Metric(name="node_cpu_seconds_total", value=value, labels={"cpu": str(index), "mode": mode})
        for index, times in enumerate(psutil.cpu_times(percpu=True))
        for mode, value in times._asdict().items()
        if mode in CPU_MODES
    ]


def _memory(memory: object) -> list[Metric]:
    found = [
        Metric(name=f"node_memory_{name}_bytes", value=float(getattr(memory, field)))
        for name, field in MEMORY_FIELDS.items()
        if hasattr(memory, field)
    ]
    swap = psutil.swap_memory()
    found.append(Metric(name="node_memory_SwapTotal_bytes", value=float(swap.total)))
    found.append(Metric(name="node_memory_SwapFree_bytes", value=float(swap.free)))
    return found


def _network() -> list[Metric]:
    return [
        Metric(name=f"node_network_{name}_total", value=float(getattr(counters, field)), labels={"device": device})
        for device, counters in psutil.net_io_counters(pernic=True).items()
        for name, field in NETWORK_FIELDS.items()
    ]


def _disks() -> list[Metric]:
    return [
        Metric(name=f"node_disk_{name}", value=getattr(counters, field) * factor, labels={"device": device})
        for device, counters in (psutil.disk_io_counters(perdisk=True) or {}).items()
        if not device.startswith(("loop", "ram"))
        for name, (field, factor) in DISK_FIELDS.items()
        if hasattr(counters, field)
    ]


def _file_systems(mounts: list[str]) -> tuple[list[FileSystem], list[str]]:
    """The chosen file systems, or all that lie on disks, one for each device."""
    known = {partition.mountpoint: partition for partition in psutil.disk_partitions(all=bool(mounts))}
    chosen = mounts or list(known)
    if not chosen:
        chosen = ["/"]  # In a container nothing lies on a disk of its own.
    found: list[FileSystem] = []
    unreadable: list[str] = []
    devices: set[str] = set()
    for mount in chosen:
        partition = known.get(mount)
        device = partition.device if partition else ""
        kind = partition.fstype if partition else ""
        if not mounts and (device in devices or kind in ("squashfs", "iso9660") or Path(mount).is_file()):
            continue  # A bind mount shows the same space again; an image is always full.
        devices.add(device)
        try:
            status = os.statvfs(mount)
        except OSError as error:
            unreadable.append(f"{mount}: {error.strerror}")
            continue
        found.append(
            FileSystem(
                mount=mount,
                device=device,
                kind=kind,
                size_bytes=status.f_blocks * status.f_frsize,
                free_bytes=status.f_bfree * status.f_frsize,
                available_bytes=status.f_bavail * status.f_frsize,
                files_count=status.f_files,
                files_free_count=status.f_ffree,
            )
        )
    return found, unreadable


def _file_system(found: FileSystem) -> list[Metric]:
    labels = {"device": found.device, "fstype": found.kind, "mountpoint": found.mount}
    values = {
        "size_bytes": found.size_bytes,
        "free_bytes": found.free_bytes,
        "avail_bytes": found.available_bytes,
        "files": found.files_count,
        "files_free": found.files_free_count,
    }
    return [Metric(name=f"node_filesystem_{name}", value=float(value), labels=labels) for name, value in values.items()]
