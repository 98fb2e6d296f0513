"""Who is measured: the appliance on free ports in a folder of its own, or a peer of `shared/bench` beside it."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.generator import load

HENGE = "henge"
_PROGRAM_OF = {"vm": "victoria-metrics", "prom": "prometheus"}


def told(text: str) -> None:
    """What a long bench is at, on standard error, so that standard output holds figures alone."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def speaking(names: Sequence[str], protocol: str) -> list[str]:
    """Those of the named that take the protocol; the others are left out, and that is said."""
    known = load("peers").PEERS
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are {', '.join(known)}")
    silent = [name for name in names if protocol not in known[name].ports]
    if silent:
        told(f"{', '.join(silent)} do not speak {protocol} and are left out")
    return [name for name in names if name not in silent]


@contextmanager
def running(name: str, protocol: str, settings: Sequence[str] = ()) -> Iterator[Any]:
    """One peer on an empty folder, as `peers.Peer`; stopped and its folder removed at the end.

    settings: further `--set` values for the appliance.
    """
    made = _peer(name, protocol, settings)
    made.wipe()
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.dir, ignore_errors=True)


def _peer(name: str, protocol: str, settings: Sequence[str]) -> Any:
    peers = load("peers")
    if name == HENGE:
        return _henge(peers, protocol, settings)
    program = _PROGRAM_OF.get(name)
    if program is not None and shutil.which(program) is None:
        raise SystemExit(f"{program} is not installed: apt-get install {program}, or --peers henge")
    made = peers.PEERS[name](proto=protocol)
    for port in sorted(set(made.ports.values())):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):  # Its samples would go into that one, and its figures too.
                raise SystemExit(
                    f"port {port} of {name} is taken, perhaps by another bench: try again when it has ended"
                )
    return made


def _henge(peers: Any, protocol: str, settings: Sequence[str]) -> Any:
    class Henge(peers.Henge):  # type: ignore[misc, name-defined]
        """As there, but on free ports and in a new folder, so that two benches do not meet."""

        def cmd(self) -> list[str]:
            argv = [self.project + "/.venv/bin/henge", "up", "--data", self.dir, "--ready-file", self.dir + ".ready"]
            argv += ["--no-browser"]
            for one in (
                "web.listen=127.0.0.1:0",
                "graphite.listen=127.0.0.1:0",
                "graphite.pickle_listen=127.0.0.1:0",
                "statsd.listen=",
                *settings,
            ):
                argv += ["--set", one]
            return argv

        def post_start(self) -> None:
            ready = json.loads(Path(self.dir + ".ready").read_text())
            self.url = ready["web"]
            web_port = int(self.url.rsplit(":", 1)[1])
            self.ports = dict.fromkeys(self.ports, web_port) | {"graphite": int(ready["graphite"].rsplit(":", 1)[1])}
            self.processes = ready["processes"]
            super().post_start()

    made = Henge(proto=protocol)
    made.dir = tempfile.mkdtemp(prefix="henge-bench-")
    return made
