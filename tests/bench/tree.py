"""What the tree of a running appliance uses: CPU seconds and memory, the supervisor included."""

from __future__ import annotations

from dataclasses import dataclass, field

import psutil

MIB = 2**20


@dataclass(frozen=True)
class Usage:
    cpu_s: dict[str, float]  # By process name; pids are the same all along, or the figure means nothing.
    rss_bytes: int
    pss_bytes: int  # Pages that are shared count once in all.
    pss_of: dict[str, int] = field(default_factory=dict)  # By process name.

    @property
    def cpu_total_s(self) -> float:
        return sum(self.cpu_s.values())


def usage(pid: int, names: dict[str, int]) -> Usage:
    """names: process name → pid, as in the ready file."""
    name_of = {process_pid: name for name, process_pid in names.items()} | {pid: "supervisor"}
    root = psutil.Process(pid)
    cpu_s: dict[str, float] = {}
    pss_of: dict[str, int] = {}
    rss_bytes = 0
    for process in [root, *root.children(recursive=True)]:
        times = process.cpu_times()
        name = name_of.get(process.pid, "other")
        cpu_s[name] = cpu_s.get(name, 0.0) + times.user + times.system
        memory = process.memory_full_info()
        rss_bytes += memory.rss
        pss_of[name] = pss_of.get(name, 0) + memory.pss
    return Usage(cpu_s, rss_bytes, sum(pss_of.values()), pss_of)
