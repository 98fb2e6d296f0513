"""The sockets of one line protocol, or of frames: accept, read, cut, gather into batches; one thread, one selector.

A full pipeline is answered by not reading: TCP senders are slowed by their windows, datagrams that the kernel then
drops are counted. What is handed on is whole: a half line whose rest never comes is refused, because `cpu 1` of
`cpu 17` would be a wrong value.
"""

from __future__ import annotations

import errno
import logging
import select
import selectors
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.clock import Clock
from appliance.metrics import Metrics
from tsdb.ingest.batch import Batch, shown
from tsdb.ingest.cutter import Cutter
from tsdb.ingest.datagrams import PlainReader, Reader, reader_of
from tsdb.ingest.decoded import Refusals
from tsdb.ingest.ledger import Ledger
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.streams import Stream
from tsdb.ingest.udp_drops import dropped_count

READ_BYTES = 1024 * 1024
ACCEPTS_A_TURN = 128
UDP_BUFFER_BYTES = 8 * 2**20  # Asked for; without privileges the kernel gives at most net.core.rmem_max.
_SO_RCVBUFFORCE = 33  # Linux, asm-generic/socket.h.
# After datagrams, the next ones gather so long: of 50,000 a second 50; a buffer of Debian's net.core.rmem_max holds
# some 500. Waking up for each costs three times as much as reading it.
DATAGRAMS_PAUSE_MS = 1
UPKEEP_EVERY_S = 1.0
SELECT_S_MAX = 0.2  # So long may a stop go unnoticed.
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Submit = Callable[[Batch, float], bool]
"""Takes a batch if there is room within so many seconds; False if not."""


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    sender: str
    cutter: Cutter
    last_read_s: float


def widened(sock: socket.socket) -> int:
    """Give it the largest buffer that this process may: who may administer the network is not held to rmem_max.

    Returns: the bytes that were granted, of which the kernel keeps twice as many for its own account of packets.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, UDP_BUFFER_BYTES)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


class Listener:
    """Reads the sockets of one protocol until told to stop. Everything runs in the thread that calls run()."""

    def __init__(
        self,
        sockets: Mapping[str, socket.socket],
        submit: Submit,
        *,
        stream: Stream,
        ledger: Ledger,
        metrics: Metrics,
        clock: Clock,
        log: logging.Logger,
        limits: IntakeLimits,
    ) -> None:
        self._sockets = {name: sockets[name] for name in stream.sockets if name in sockets}
        self._submit = submit
        self._stream = stream
        self._protocol = stream.protocol
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._limits = limits
        self._connections_gauge = metrics.gauge("henge_ingest_connections", "Open connections that send samples.")
        self._turned_away = metrics.counter(
            "henge_ingest_connections_refused_total", "Connections closed at once, over the limit of their number."
        )
        self._paused = metrics.counter("henge_ingest_paused_seconds_total", "Time without reading: pipeline full.")
        self._dropped = metrics.counter("henge_udp_dropped_total", "Datagrams dropped by the kernel, by listener.")
        self._dropped_count = dict.fromkeys(self._sockets, 0)
        self._udp_buffer_bytes: dict[str, int] = {}
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._selector = selectors.DefaultSelector()
        self._idle = select.poll()  # Of nothing: it waits for a time, as the clocks of tests have it too.
        self._connections: set[_Connection] = set()
        self._batch = Batch()
        self._batch_since_s = 0.0
        self._waits_for_more = False
        self._is_stopped: Callable[[], bool] = lambda: False

    @property
    def connections_count(self) -> int:
        return len(self._connections)

    @property
    def udp_dropped(self) -> dict[str, int]:
        return dict(self._dropped_count)

    @property
    def udp_buffer_bytes(self) -> dict[str, int]:
        """What the kernel granted, of UDP_BUFFER_BYTES."""
        return dict(self._udp_buffer_bytes)

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Read until is_stopped(), then hand over what is whole and close the connections, but not the listeners."""
        self._is_stopped = is_stopped
        for name, sock in self._sockets.items():
            sock.setblocking(False)
            if sock.type == socket.SOCK_DGRAM:
                self._udp_buffer_bytes[name] = widened(sock)
            self._watch(name, sock)
        upkeep_s = 0.0
        while not is_stopped():
            for key, _ in self._selector.select(self._select_s()):
                key.data()
            if self._waits_for_more:
                self._waits_for_more = False
                self._idle.poll(DATAGRAMS_PAUSE_MS)
            self._submit_if_due()
            if (now_s := self._clock.monotonic_s()) - upkeep_s >= UPKEEP_EVERY_S:
                upkeep_s = now_s
                self._upkeep(now_s)
        self._finish()

    def _watch(self, name: str, sock: socket.socket) -> None:
        if sock.type == socket.SOCK_DGRAM:
            reader = reader_of(sock, self._log)
            self._selector.register(sock, selectors.EVENT_READ, lambda: self._read_datagrams(reader))
        else:
            self._selector.register(sock, selectors.EVENT_READ, lambda: self._accept(name, sock))

    # Connections.

    def _accept(self, name: str, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_FILES:  # Asking again at once would spin: upkeep does, a second later.
                    self._log.error("%s: cannot accept a connection: %s", name, error)
                    self._selector.unregister(listener)
                    return
                continue  # The sender has gone already.
            if len(self._connections) >= self._limits.connections_count_max:
                sock.close()
                self._turned_away.inc(protocol=self._protocol)
                continue
            self._open(sock, shown(address))

    def _open(self, sock: socket.socket, sender: str) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # A dead peer gives its place back some day.
        cutter = self._stream.cutter(lambda text: self._refuse(self._stream.too_long, text, sender))
        connection = _Connection(sock, sender, cutter, self._clock.monotonic_s())
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._read(connection))

    def _read(self, connection: _Connection) -> None:
        try:
            count = connection.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._close(connection, f"the connection ended in the middle of a {self._stream.unit}")
            return
        connection.last_read_s = self._clock.monotonic_s()
        self._take(connection.cutter.cut(bytes(self._view[:count])), connection.sender)
        if connection.cutter.is_lost:
            self._close(connection, "")

    def _close(self, connection: _Connection, why: str) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.sock)
        connection.sock.close()
        if half := connection.cutter.end():
            self._refuse(f"incomplete_{self._stream.unit}", half, connection.sender, why)

    def _refuse(self, reason: str, text: bytes, sender: str, message: str = "") -> None:
        refusals = Refusals()
        refusals.add(reason, text, message=message or self._stream.messages[reason])
        self._ledger.refused(self._protocol, refusals, lambda _: sender)

    # Datagrams.

    def _read_datagrams(self, reader: Reader | PlainReader) -> None:
        """One call: then the other sockets have their turn."""
        try:
            datagrams, is_more = reader.read()
        except BlockingIOError:
            return
        except OSError as error:  # An ICMP answer to nobody, for example: the next datagram is not concerned.
            self._log.debug("reading datagrams: %s", error)
            return
        self._waits_for_more |= not is_more
        if datagrams is not None:
            self._begin()
            self._batch.add_datagrams(datagrams)
            self._submit_if_full()

    # Batches.

    def _take(self, whole: bytes, sender: str) -> None:
        if whole:
            self._begin()
            self._batch.add(whole, sender)
            self._submit_if_full()

    def _begin(self) -> None:
        if not self._batch.bytes_count:
            self._batch_since_s = self._clock.monotonic_s()

    def _submit_if_full(self) -> None:
        if self._batch.bytes_count >= self._limits.batch_bytes_max:
            self._submit_full()

    def _select_s(self) -> float:
        if not self._batch.bytes_count:
            return SELECT_S_MAX
        age_s = self._clock.monotonic_s() - self._batch_since_s
        # At least a millisecond: an old batch without a place in the pipeline must not spin.
        return min(max(self._limits.batch_age_ms_max / 1000 - age_s, 0.001), SELECT_S_MAX)

    def _submit_if_due(self) -> None:
        age_ms = (self._clock.monotonic_s() - self._batch_since_s) * 1000
        if self._batch.bytes_count and age_ms >= self._limits.batch_age_ms_max and self._submit(self._batch, 0.0):
            self._batch = Batch()

    def _submit_full(self) -> None:
        """Wait for a place in the pipeline; nothing is read meanwhile."""
        if not self._submit(self._batch, 0.0):
            since_s = self._clock.monotonic_s()
            is_taken = False
            while not is_taken:
                if self._is_stopped():
                    return  # It stays, and _finish() has the last word.
                is_taken = self._submit(self._batch, SELECT_S_MAX)
                now_s = self._clock.monotonic_s()
                self._paused.inc(
                    now_s - since_s
                )  # While it lasts: a pause of an hour is to be seen in its first second.
                since_s = now_s
            for connection in self._connections:
                connection.last_read_s = since_s  # The silence was ours.
        self._batch = Batch()

    # Upkeep and the end.

    def _upkeep(self, now_s: float) -> None:
        for name, sock in self._sockets.items():
            if sock not in self._selector.get_map():
                self._watch(name, sock)
            if sock.type == socket.SOCK_DGRAM:
                # The count belongs to the socket, which outlives this process: a counter that starts at 0 and jumps
                # to it is read rightly as a restart by whoever computes a rate.
                dropped = max(dropped_count(sock), self._dropped_count[name])
                self._dropped.inc(dropped - self._dropped_count[name], listener=name)
                self._dropped_count[name] = dropped
        age_s_max = self._limits.half_line_age_ms_max / 1000
        for connection in [each for each in self._connections if each.cutter.half_bytes]:
            if now_s - connection.last_read_s > age_s_max:
                self._close(connection, f"nothing came for {age_s_max:g} s in the middle of a {self._stream.unit}")
        self._connections_gauge.set(len(self._connections), protocol=self._protocol)

    def _finish(self) -> None:
        for connection in list(self._connections):
            self._close(connection, f"the appliance stopped in the middle of a {self._stream.unit}")
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
        self._selector.close()
        wait_s = self._limits.stop_wait_ms_max / 1000
        if self._batch.bytes_count and not self._submit(self._batch, wait_s):
            lost = Refusals()
            lost.add(
                "store_away", count=self._stream.count(self._batch.data()), message="the store was away at the stop"
            )
            self._ledger.refused(self._protocol, lost, lambda _: "")
            self._batch = Batch()
