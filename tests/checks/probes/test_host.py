"""This machine's own figures."""

from __future__ import annotations

import asyncio
import re

from checks.model import State
from checks.probes.host.measures import FileSystem
from tests.checks.probes.probing import bench

NAMES = {  # What dashboards for node_exporter ask for most.
    "node_cpu_seconds_total", "node_load1", "node_load5", "node_load15", "node_memory_MemTotal_bytes",
    "node_memory_MemAvailable_bytes", "node_memory_SwapTotal_bytes", "node_filesystem_size_bytes",
    "node_filesystem_avail_bytes", "node_filesystem_files_free", "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total", "node_boot_time_seconds", "node_time_seconds",
}  # fmt: skip


def test_it_works() -> None:
    async def main() -> None:
        async with bench() as b:
            result = await b.run("host", disk_critical_percent=100, disk_warning_percent=100)
            assert result.state is not State.UNKNOWN, result
            assert {metric.name for metric in result.metrics} >= NAMES
            keys = [(metric.name, tuple(sorted(metric.labels.items()))) for metric in result.metrics]
            assert len(keys) == len(set(keys))
            assert all(re.fullmatch(r"node_[a-zA-Z0-9_]+", metric.name) for metric in result.metrics)
            assert re.match(r".*memory \d+%, load \d+\.\d\d on \d+ cores, fullest disk /", result.output)
            assert {"memory", "load5_per_core"} < {item.label for item in result.perfdata}

    asyncio.run(main())


def test_limits() -> None:
    async def main() -> None:
        async with bench() as b:
            result = await b.run("host", memory_warning_percent=0, memory_critical_percent=100, mounts=["/"])
            assert result.state is State.WARNING
            assert re.match(r"memory in use \d+\.\d% is over 0%; memory", result.output)
            full = await b.run("host", disk_warning_percent=0, disk_critical_percent=0, mounts=["/"])
            assert full.state is State.CRITICAL
            assert re.match(r"/ \(\d+\.\d GiB free\) is full by \d+\.\d% is over 0%", full.output)
            missing = await b.run("host", mounts=["/no/such/mount"])
            assert missing.state is State.UNKNOWN
            assert missing.output.startswith("cannot look at /no/such/mount: No such file or directory")

    asyncio.run(main())


def test_used_space_is_counted_as_df_does() -> None:
    """10 blocks, 4 free, of which root keeps 1: 6 of the 9 that others may use."""
    system = FileSystem("/", "/dev/x", "ext4", 10, 4, 3, 0, 0)
    assert round(system.used_percent, 1) == 66.7
