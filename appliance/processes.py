"""The process table of the appliance, and what one row of it says.

The rooms above are named only as strings here, resolved by the process that runs them: no arrow points up.
"""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.config import Config
from appliance.errors import CannotStart
from appliance.supervisor import Child, Subtree

MIB = 2**20
GIB = 2**30

# What children are forked with. A library that only one of them needs would be no cheaper here, and one more thing
# that each of the others has to copy when it is written to.
SHARED_MODULES = (
    "appliance.bus",
    "appliance.commands.run",
    "asyncio",
    "concurrent.futures.thread",
    "email.message",
    "numpy",
    "zmq.asyncio",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process(Child):
    """One process: the function it runs, what it inherits, and its limits."""

    entry: str  # "module:function"; the function takes a ChildContext and serves until context.stopping.
    sockets: tuple[str, ...] = ()  # Names of appliance.listeners.LISTENERS.
    # The settings that it reads at its start, or whole sections of them; None: any of them, so a change of any
    # restarts it. It inherits the listeners of its sockets as well.
    reads: tuple[str, ...] | None = None
    start_timeout_s: float = 20.0  # From the start to context.ready(); a fast machine needs 1 s, a loaded one 5 s.
    stop_timeout_s: float = 5.0  # From SIGTERM to SIGKILL.
    memory_bytes_max: int = GIB  # Private memory; pages of mapped files are the kernel's to take back.
    # What the kernel sends when the supervisor is gone. SIGKILL leaves no time for two owners of one folder; a
    # process with children of its own gets SIGTERM and a second to end them.
    orphan_signal: signal.Signals = signal.SIGKILL


def tree(config: Config) -> Subtree:
    """The appliance. `state` is the one that the others wait for; they start together and retry until they meet.

    Intensity: 20 ends in 60 s let somebody kill each child several times in a row, and stop a child that crashes
    as soon as it is ready within seconds; 5 failed starts in a row are a child that cannot start.
    """
    # The head is counted by what it stores; flushing it sorts and compresses copies of runs, and decoded batches
    # wait in between.
    store_bytes_max = 2 * GIB + 3 * config.store.head_bytes_max
    return Subtree(
        name="henge",
        members=(
            Process(
                name="state",
                entry="appliance.state.process:run_state",
                reads=("log",),
                others_wait=True,
                start_timeout_s=60,
            ),
            Process(
                name="store",
                entry="tsdb.node.store:run_store",
                reads=("store", "log"),
                start_timeout_s=300,  # Recovery reads the whole WAL: tens of millions of samples on a slow disk.
                stop_timeout_s=20,  # The last flush.
                memory_bytes_max=store_bytes_max,
            ),
            Process(
                name="intake",
                entry="tsdb.node.intake:run_intake",
                sockets=("graphite", "graphite_udp", "graphite_pickle", "statsd", "statsd_udp", "statsd_management"),
                reads=("graphite", "statsd", "log"),
                memory_bytes_max=2 * GIB,
            ),
            # All queries together hold twice query.bytes_max at most (3 GiB by default); the rest is for the index of
            # names, decoded tiles, and blocks of memory that are kept for the next query.
            Process(
                name="query",
                entry="tsdb.node.query:run_query",
                reads=("query", "store.schemas", "graphite.aggregation", "log"),
                overlaps=True,  # It writes nothing.
                memory_bytes_max=GIB + 2 * config.query.bytes_max,
            ),
            Process(
                name="spawner",
                entry="checks.nagios.spawner:run_spawner",
                reads=("log",),
                memory_bytes_max=256 * MIB,
                orphan_signal=signal.SIGTERM,
            ),
            Process(
                name="scheduler", entry="scheduler.process:run_scheduler", reads=("log",), memory_bytes_max=2 * GIB
            ),
            # scrypt takes 128 MiB for a moment, twice for each backup; pieces of 1 MiB go through.
            Process(
                name="backup",
                entry="tsdb.node.backup:run_backup",
                reads=("backup", "log"),
                memory_bytes_max=512 * MIB,
            ),
            Process(
                name="web",
                entry="web.process:run_web",
                sockets=("web",),
                overlaps=True,  # Both take connections from one socket, and write through state and intake alone.
                memory_bytes_max=2 * GIB,
            ),
        ),
    )


TREE = "appliance.processes:tree"


def resolved(target: str) -> Callable[..., object]:
    """The function that a "module:function" string names. Raises: ImportError, AttributeError."""
    module, _, function = target.partition(":")
    found: Callable[..., object] = getattr(importlib.import_module(module), function)
    return found


def load_tree(target: str, config: Config) -> Subtree:
    """The process tree that a string names; tests have trees of their own. Raises: CannotStart."""
    try:
        found = resolved(target)(config)
    except (ImportError, AttributeError) as error:
        raise CannotStart(f"the process table {target} cannot be loaded: {error}") from error
    assert isinstance(found, Subtree), target
    return found


def processes_of(subtree: Subtree) -> Iterator[Process]:
    """All processes below, in start order."""
    for member in subtree.members:
        if isinstance(member, Subtree):
            yield from processes_of(member)
        else:
            assert isinstance(member, Process), f"{member.name} is not a process"
            yield member
