"""A sender in a process of its own, which sends at a pace as often as it is told and says what came of it."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, Self

from tests.bench.cycle import Chunk, Cycle, paced
from tests.bench.generator import load

# One at a time on each: bodies of 200,000 samples, and of 2,000, of which one connection carries too few.
CONNECTIONS_OF = {"arrow": 2, "remote_write": 8}
# A sender that does not answer so long after it should have ended is stuck.
PATIENCE_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is sent where. The workload is that of so many samples at least, ten seconds from step to step."""

    protocol: str
    hosts: int
    samples_count: int
    target: tuple[str, int]
    path: str | None
    token: str


@dataclass(frozen=True, kw_only=True)
class Sent:
    acked_count: int
    retries_count: int
    errors_count: int
    last_error: str
    seconds: float
    cpu_s: float
    took_s: list[float]  # From the first byte of a request to its acknowledgement.


class Sender:
    """Use it as a context manager. start() and result() in turn; reached_s at any time."""

    def __init__(self, load: Load) -> None:
        context = multiprocessing.get_context("spawn")  # Threads of whoever asks are none of its business.
        self._reached = context.Value("q", 0)
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(load, other, self._reached), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    @property
    def reached_s(self) -> int:
        """The newest time, in seconds since the epoch, that was sent."""
        return int(self._reached.value)

    def start(self, *, samples_count: int = 0, samples_per_s: float = math.inf, seconds: float = math.inf) -> None:
        """Send for so long, or so many samples when they are more than 0, no faster than said."""
        self._seconds = seconds
        self._pipe.send((samples_count, samples_per_s, seconds))

    def result(self) -> Sent:
        patience_s = PATIENCE_S if math.isinf(self._seconds) else self._seconds + PATIENCE_S
        if not self._pipe.poll(patience_s):
            raise SystemExit(f"the sender gave no answer within {patience_s:.0f} s")
        return Sent(**self._pipe.recv())


def _serve(load_: Load, pipe: Connection[Any, Any], reached: Any) -> None:
    """What the process does: for each command that comes, send, and answer."""
    bench = load("bench")
    bench.TOKEN = load_.token
    head = bench.post_head(load_.protocol, load_.path)
    chunks = _chunks(bench, load_, reached)
    while True:
        samples_count, samples_per_s, seconds = pipe.recv()
        took_s: list[float] = []
        until_s = time.monotonic() + seconds
        some = [_of_count(one, samples_count / len(chunks)) if samples_count else one for one in chunks]
        payload = [paced(one, samples_per_s / len(chunks), took_s, until_s) for one in some]
        longest_s = PATIENCE_S if math.isinf(seconds) else seconds + PATIENCE_S
        sent_s, stats, cpu_s, _ = bench.blast(load_.target, payload, head, longest_s)
        pipe.send(
            {
                "acked_count": stats["acked"],
                "retries_count": stats["retries"],
                "errors_count": stats["errors"],
                "last_error": stats["last_error"],
                "seconds": sent_s,
                "cpu_s": cpu_s,
                "took_s": took_s,
            }
        )


def _of_count(chunks: Iterator[Chunk], samples_count: float) -> Iterator[Chunk]:
    """As many pieces as have so many samples; the next one stays where it is."""
    done_count = 0
    while done_count < samples_count:
        for chunk in islice(chunks, 1):
            done_count += chunk[1]
            yield chunk
            break
        else:
            return


def _chunks(bench: Any, load_: Load, reached: Any) -> list[Iterator[Chunk]]:
    """For each connection its requests in the order of time."""
    count = CONNECTIONS_OF[load_.protocol]
    if load_.protocol == "remote_write":
        cuts = [range(at, load_.hosts, count) for at in range(min(count, load_.hosts))]
        steps = math.ceil(load_.samples_count / (load_.hosts * bench.NM))
        end_s = bench.Devops(1, 1).t_end
        return [_remote_write(bench, cut, steps, end_s, reached) for cut in cuts]
    cycle = Cycle(bench, load_.protocol, hosts=load_.hosts, samples_count=load_.samples_count, connections=count)

    def noted(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            reached.value = cycle.reached_s
            yield chunk

    return [noted(chunks) for chunks in cycle.chunks()]


def _remote_write(bench: Any, hosts: range, steps: int, end_s: int, reached: Any) -> Iterator[Chunk]:
    """The requests of some hosts, each made as it is sent: a body is compressed, so that its times cannot be moved."""
    work = bench.Devops(len(hosts), steps, t_end=end_s, seed=1 + hosts[0])
    encoder = bench.RemoteWrite()
    cuts = [slice(at, at + encoder.default_batch) for at in range(0, len(hosts), encoder.default_batch)]
    templates = [encoder.template(hosts[cut]) for cut in cuts]
    for step in range(steps):
        values, at_s = work.step(), work.t0 + step * work.step_s
        for template, cut in zip(templates, cuts, strict=True):
            reached.value = max(reached.value, at_s)
            yield encoder.encode(template, values[cut], at_s), values[cut].size
