"""The answering side: one thread owns the socket, workers run the handlers, a bounded queue lies between them."""

from __future__ import annotations

import collections
import difflib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from appliance.bus import wire
from appliance.bus.direct import Connections, Peer
from appliance.bus.errors import STOPPING, BusRefused, WireError
from appliance.bus.jobs import Job, Jobs
from appliance.bus.place import Place
from appliance.metrics import Metrics

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

MAIN_LANE = ""
POLL_MS = 100  # How soon a stop is seen; half of the 200 ms that a stop may take.
STOP_S = 0.05
STOP_POLL_MS = 5
FINISH_S = 2.0  # For services whose callers would be told to ask again; a stop is killed after 5 s at the earliest.
STOP_LOOKS_MIN = 20  # On a loaded machine the time may be over before callers had a turn: so often we look anyway.
STOP_QUIET_LOOKS = 4  # One alone may be the pause of a caller whose turn did not come.
RECEIVE_COUNT_MAX = 100  # Requests taken at once, so that answers do not wait behind a flood.
PEER_QUEUE_COUNT_MAX = 10_000  # ZeroMQ's own bound for one peer; beyond it ZeroMQ drops what goes to that peer.
QUEUE_BYTES_MAX = 512 * 2**20
LAST_ANSWERS_MS = 1_000  # Nobody waits for it: so long ZeroMQ tries, in a thread of its own, as the process lives.
LAST_ANSWERS_S = 0.05  # ZeroMQ writes in a thread of its own, which a hard exit would stop in the middle.
EXIT_STATUS_OF_A_CRASH = 70  # EX_SOFTWARE of sysexits.h.


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler is given. A uint8 column is raw bytes. Columns are read-only."""

    op: str
    body: Any  # Decoded to the body_type of the handler.
    columns: tuple[np.ndarray[Any, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler returns when it has columns; they must not change afterwards, for they are sent uncopied."""

    body: Any
    columns: wire.Columns = ()


Handler = Callable[[Request], Any]
"""Returns a body or an Answer. What it raises becomes a refusal with the exception's `code`, or "internal"."""


@dataclass(frozen=True, slots=True)
class _Operation:
    function: Handler
    lane: str
    decoder: msgspec.msgpack.Decoder[Any]


_Peer = bytes | Peer
_Outgoing = tuple[_Peer, list[bytes], list[Any]]


class Server:
    """A service of the bus. Handlers are added before serve().

    threads: how many handlers run at once; with 1, requests are handled one after the other.
    lanes: threads of their own, by name, for operations that must not keep the others waiting, nor wait for them.
    is_direct: clients may have connections of their own, see direct.py.
    finish_s: how long a stop waits for what is in hand; nothing is waited for when nothing is.
    """

    def __init__(
        self,
        run_dir: Path,
        name: str,
        *,
        metrics: Metrics,
        threads: int = 1,
        lanes: Mapping[str, int] | None = None,
        queue_count_max: int = 1_000,
        is_direct: bool = False,
        finish_s: float = STOP_S,
    ) -> None:
        self.name = name
        self._finish_s = finish_s
        self._is_direct = is_direct
        self._place = Place(run_dir, make=True)
        self._metrics = metrics
        self._threads_by_lane = {MAIN_LANE: threads, **(lanes or {})}
        assert min(self._threads_by_lane.values()) >= 1, self._threads_by_lane
        self._operations: dict[str, _Operation] = {}
        self._jobs_by_lane = {lane: Jobs(queue_count_max, QUEUE_BYTES_MAX) for lane in self._threads_by_lane}
        self._outgoing: collections.deque[_Outgoing] = collections.deque()
        self._wake_lock = threading.Lock()
        self._wake_fd = -1  # Only while it serves.
        self._op_counts: collections.Counter[str] = collections.Counter()
        self._is_stopping = False
        self._crash: BaseException | None = None
        self._requests_total = metrics.counter("henge_bus_requests_total", "Requests that a service has handled.")
        self._refused_total = metrics.counter("henge_bus_refused_total", "Requests that a service has refused.")
        self._seconds_total = metrics.counter("henge_bus_handler_seconds_total", "Time that handlers have taken.")
        self._queue_length = metrics.gauge("henge_bus_queue_length", "Requests that wait for a worker.")

    def handle(self, op: str, function: Handler, body_type: Any = Any, *, lane: str = MAIN_LANE) -> None:
        """Let function answer op. A body that is not a body_type is refused with "bad_request"."""
        assert op not in self._operations, f"{op} has a handler already"
        assert op not in _BUILT_IN, f"{op} is answered by every service"
        assert lane in self._jobs_by_lane, f"there is no lane {lane!r}"
        self._operations[op] = _Operation(function, lane, wire.decoder_for(body_type))

    def start_thread(
        self, stopping: threading.Event, *, on_crash: Callable[[BaseException], None] | None = None
    ) -> threading.Thread:
        """Serve in a thread of its own. A failed assertion in a handler ends the process, unless on_crash is given."""

        def run() -> None:
            try:
                self.serve(stopping)
            except BaseException as error:  # A thread cannot hand it on; a service that is half dead helps nobody.
                log.exception("service %s ended", self.name)
                (on_crash or _end_process)(error)

        thread = threading.Thread(target=run, name=f"bus-{self.name}", daemon=True)
        thread.start()
        return thread

    def serve(self, stopping: threading.Event, *, ready: Callable[[], object] | None = None) -> None:
        """Answer requests until stopping is set; returns within 200 ms of it, and refuses what still waits.

        ready: called once, when requests are taken.

        Raises: AssertionError of a handler, and whatever else ends a process: it has been answered and logged.
        """
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        connections = None
        try:
            router.setsockopt(zmq.MAXMSGSIZE, wire.FRAME_BYTES_MAX)
            router.setsockopt(zmq.SNDHWM, PEER_QUEUE_COUNT_MAX)
            router.setsockopt(zmq.RCVHWM, PEER_QUEUE_COUNT_MAX)
            if self._is_direct:  # First, so that who finds the service finds both ways to it.
                connections = Connections(self._place, self.name, self._take)
            inode = self._place.bind(router, self.name)
            workers = [
                threading.Thread(
                    target=self._work,
                    args=(self._jobs_by_lane[lane],),
                    name=f"bus-{self.name}-{lane}{index}",
                    daemon=True,
                )
                for lane, threads_count in self._threads_by_lane.items()
                for index in range(threads_count)
            ]
            for worker in workers:
                worker.start()
            if ready is not None:
                ready()
            self._serve_until(router, connections, stopping)
            self._is_stopping = True
            self._place.withdraw(self.name, inode)
            if connections is not None:
                connections.withdraw()
            self._end(router, workers)
        finally:
            if connections is not None:
                connections.close()
            router.close(linger=LAST_ANSWERS_MS)
            with self._wake_lock:  # A handler that is left behind must not write into whatever has this number next.
                os.close(self._wake_fd)
                self._wake_fd = -1
            self._place.close()
        if self._crash is not None:
            time.sleep(LAST_ANSWERS_S)
            raise self._crash

    def _serve_until(
        self, router: zmq.Socket[bytes], connections: Connections | None, stopping: threading.Event
    ) -> None:
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        poller.register(self._wake_fd, zmq.POLLIN)
        if connections is not None:
            poller.register(connections.fileno(), zmq.POLLIN)
        while not stopping.is_set() and self._crash is None:
            for ready, _ in poller.poll(POLL_MS):
                if ready is router:
                    self._receive(router, RECEIVE_COUNT_MAX)
                elif ready == self._wake_fd:
                    os.eventfd_read(self._wake_fd)
                elif connections is not None:
                    connections.accept()
            self._send_outgoing(router)

    def _end(self, router: zmq.Socket[bytes], workers: list[threading.Thread]) -> None:
        """Refuse what waits and what still comes; give what is in hand a moment, then leave it behind."""
        for lane, jobs in self._jobs_by_lane.items():
            for job in jobs.end(self._threads_by_lane[lane]):
                self._refuse_stopping(job.peer, job.head)
        deadline_s = time.monotonic() + STOP_S
        finish_s = deadline_s - STOP_S + max(STOP_S, self._finish_s)
        looks_left, quiet_looks, are_working = STOP_LOOKS_MIN, 0, True
        while looks_left > 0 or (now_s := time.monotonic()) < deadline_s or (are_working and now_s < finish_s):
            looks_left -= 1
            are_working = any(worker.is_alive() for worker in workers)
            self._receive(router, RECEIVE_COUNT_MAX)
            self._send_outgoing(router)
            if quiet_looks >= STOP_QUIET_LOOKS and not are_working:
                return
            # Who is told that this is the end asks the next server; so it becomes quiet soon.
            quiet_looks = 0 if router.poll(STOP_POLL_MS) else quiet_looks + 1

    def _receive(self, router: zmq.Socket[bytes], count_max: int) -> None:
        for _ in range(count_max):
            try:
                frames = wire.receive(router, 3)
            except zmq.Again:
                return
            peer = frames[0]
            assert isinstance(peer, bytes)
            if len(frames) < 2:
                self._count_refused("damaged")
                continue
            self._take(peer, frames[1:])

    def _take(self, peer: _Peer, frames: list[wire.Frame]) -> None:
        """A request by ZeroMQ, or by a connection, whose thread this is then."""
        try:
            head = wire.decode_request(frames)
        except WireError as error:
            self._count_refused("damaged")
            log.warning("service %s dropped a message: %s", self.name, error)
            if isinstance(peer, Peer):
                peer.end()
        else:
            self._admit(peer, head, frames)

    def _admit(self, peer: _Peer, head: wire.RequestHead, frames: list[wire.Frame]) -> None:
        """Answer a built-in op at once, put another one into the queue, or refuse it."""
        if (built_in := _BUILT_IN.get(head.op)) is not None:
            self._put(self._answer_frames(peer, head, built_in(self)))
            return
        if self._is_stopping:
            self._refuse_stopping(peer, head)
            return
        operation = self._operations.get(head.op)
        if operation is None:
            near = difflib.get_close_matches(head.op, [*self._operations, *_BUILT_IN], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self._refuse(peer, head, "unknown_op", f"{self.name} has no operation {head.op!r:.100}{hint}")
            return
        try:
            body, columns = wire.body_and_columns(frames, head.columns)
        except WireError as error:
            self._refuse(peer, head, "bad_request", f"{self.name}/{head.op}: {error}")
            return
        jobs, job = self._jobs_by_lane[operation.lane], Job(peer, head, body, columns)
        if isinstance(peer, Peer) and (seat := jobs.borrow()) is not None:
            try:
                self._run_or_crash(job)
            finally:
                jobs.give_back(seat)
        elif not jobs.offer(job):
            if self._is_stopping:  # A connection's thread may come here a moment after the end has begun.
                self._refuse_stopping(peer, head)
                return
            figures = jobs.figures()
            self._refuse(
                peer,
                head,
                "busy",
                f"{self.name} is busy: {figures['queue_count']:,} requests of {figures['queue_bytes']:,} bytes wait, "
                f"of at most {figures['queue_count_max']:,} and {QUEUE_BYTES_MAX:,}; try again in a moment",
            )

    def _work(self, jobs: Jobs) -> None:
        """A worker's life: handle jobs until a None."""
        while (job := jobs.take()) is not None:
            try:
                if not self._run_or_crash(job):
                    return
            finally:
                jobs.done()

    def _run_or_crash(self, job: Job) -> bool:
        """False, if a fault of ours has come to light: the serving thread raises it, so that the process ends."""
        try:
            self._run(job)
        except BaseException as error:
            log.exception("service %s: a handler of %s failed its own checks", self.name, job.head.op)
            self._refuse(job.peer, job.head, "crashed", f"{self.name} stopped on a fault of its own: {error!r:.300}")
            self._crash = error
            self._wake()
            return False
        return True

    def _run(self, job: Job) -> None:
        """Run the handler and leave its answer for the serving thread.

        Raises: AssertionError, and whatever is no Exception: faults of ours.
        """
        op = job.head.op
        started_ns = time.monotonic_ns()
        if started_ns > job.head.deadline_ns:
            self._count_refused("expired")  # The caller has given up: what it asked is not wanted any more.
            if isinstance(job.peer, Peer):
                job.peer.end()
            return
        try:
            outgoing = self._handled(job)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - The caller is told, and what has no code is logged with its trace.
            self._refuse(job.peer, job.head, *self._refusal(op, error))
        else:
            self._put(outgoing)
        self._op_counts[op] += 1
        self._requests_total.inc(service=self.name, op=op)
        self._seconds_total.inc((time.monotonic_ns() - started_ns) / 1e9, service=self.name, op=op)

    def _handled(self, job: Job) -> _Outgoing:
        """Raises: BusRefused, for a body of another type; what the handler raises, and encoding its answer."""
        operation = self._operations[job.head.op]
        try:
            body = operation.decoder.decode(job.body)
        except msgspec.MsgspecError as error:
            raise BusRefused("bad_request", f"{self.name}/{job.head.op}: {error}") from error
        return self._answer_frames(job.peer, job.head, operation.function(Request(job.head.op, body, job.columns)))

    def _refusal(self, op: str, error: Exception) -> tuple[str, str]:
        """The code and the message for what a handler raised."""
        if isinstance(code := getattr(error, "code", None), str):
            # Of another service that it asked; passed on as it is, the caller would take it for ours and ask again.
            return "not_ready" if code == STOPPING else code, str(error)
        log.error("service %s: the handler of %s failed", self.name, op, exc_info=error)
        return "internal", f"{self.name}/{op} failed: {type(error).__name__}: {error}; the log has the details"

    def _answer_frames(self, peer: _Peer, head: wire.RequestHead, answer: Any) -> _Outgoing:
        """Raises: what encoding raises, on a body or columns that cannot travel."""
        columns = answer.columns if isinstance(answer, Answer) else ()
        body = wire.encode(answer.body if isinstance(answer, Answer) else answer)
        if len(body) > wire.BODY_BYTES_MAX:
            raise BusRefused(
                "too_large",
                f"{self.name}/{head.op}: the answer has {len(body):,} bytes, of at most {wire.BODY_BYTES_MAX:,}; "
                f"ask for less at once",
            )
        heads, buffers = wire.column_heads(columns)
        return peer, [wire.encode(wire.ReplyHead(wire.VERSION, head.id, "", "", heads)), body], buffers

    def _refuse(self, peer: _Peer, head: wire.RequestHead, code: str, message: str) -> None:
        self._count_refused(code)
        reply = wire.encode(wire.ReplyHead(wire.VERSION, head.id, code, message))
        self._put((peer, [reply, wire.NIL], []))

    def _refuse_stopping(self, peer: _Peer, head: wire.RequestHead) -> None:
        self._refuse(peer, head, STOPPING, f"{self.name} is stopping")

    def _count_refused(self, code: str) -> None:
        self._refused_total.inc(service=self.name, code=code)

    def _put(self, outgoing: _Outgoing) -> None:
        """Answer on a connection, or leave it to the serving thread."""
        peer, prefix, buffers = outgoing
        if isinstance(peer, Peer):
            peer.answer(prefix, buffers)
            return
        self._outgoing.append(outgoing)
        self._wake()

    def _send_outgoing(self, router: zmq.Socket[bytes]) -> None:
        while self._outgoing:
            peer, prefix, buffers = self._outgoing.popleft()
            assert isinstance(peer, bytes), "a connection is answered at once"
            wire.send(router, [peer, *prefix], buffers)

    def _wake(self) -> None:
        """Let the serving thread look at what is to be sent."""
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def _ping(self) -> str:
        return "pong"

    def _snapshot(self) -> Any:
        self._queue_length.set(self._figures()["queue_count"], service=self.name)
        return self._metrics.snapshot()

    def _process(self) -> dict[str, Any]:
        return {
            "service": self.name,
            "pid": os.getpid(),
            "threads": sum(self._threads_by_lane.values()),
            "ops": dict(self._op_counts),
            **self._figures(),
        }

    def _figures(self) -> dict[str, int]:
        """Those of all lanes together."""
        total: collections.Counter[str] = collections.Counter()
        for jobs in self._jobs_by_lane.values():
            total.update(jobs.figures())
        return dict(total)


_BUILT_IN: dict[str, Callable[[Server], Any]] = {
    "ping": Server._ping,  # noqa: SLF001
    "metrics": Server._snapshot,  # noqa: SLF001
    "process": Server._process,  # noqa: SLF001
}
"""Answered by the serving thread itself, so also while every worker is busy."""


def _end_process(error: BaseException) -> None:
    """The supervisor starts it again; nothing that was acknowledged is in memory alone."""
    logging.shutdown()
    os._exit(EXIT_STATUS_OF_A_CRASH)
