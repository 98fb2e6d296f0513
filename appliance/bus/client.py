"""The asking side, for threads."""

from __future__ import annotations

import itertools
import secrets
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import zmq

from appliance.bus import wire
from appliance.bus.direct import OPEN_TIMEOUT_S, DirectLink
from appliance.bus.errors import STOPPING, BusAbsent, BusGone, BusRefused, BusTimeout, WireError
from appliance.bus.place import Place

RECONNECT_MS = 20
RECONNECT_MS_MAX = 200
STOPPING_WAIT_S = 0.02  # A service that is stopping closes its socket in less; then the next one is awaited.
_EVENT_BYTES = 2  # A monitor event starts with its number, a native uint16.


def open_dealer(context: zmq.Context[Any]) -> Any:
    """A socket that asks. Closing it drops what it has not sent: nobody waits for it any more."""
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    dealer.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
    dealer.setsockopt(zmq.MAXMSGSIZE, wire.FRAME_BYTES_MAX)
    dealer.setsockopt(zmq.SNDHWM, 10_000)
    dealer.setsockopt(zmq.RCVHWM, 10_000)
    return dealer


def monitor_address(dealer: Any) -> str:
    """Let ZeroMQ report when the link comes and goes, and give the address where it does."""
    address = f"inproc://bus-{secrets.token_hex(8)}"
    dealer.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    return address


def event_of(frames: list[bytes]) -> int:
    return int.from_bytes(frames[0][:_EVENT_BYTES], sys.byteorder)


def request_frames(
    request_id: int, op: str, body: Any, columns: wire.Columns, deadline_ns: int
) -> tuple[list[bytes], list[Any]]:
    """Raises: BusRefused "too_large"; TypeError or ValueError, for what cannot travel."""
    heads, buffers = wire.column_heads(columns)
    encoded = wire.encode(body)
    if len(encoded) > wire.BODY_BYTES_MAX:
        raise BusRefused(
            "too_large",
            f"{op}: the request has {len(encoded):,} bytes, of at most {wire.BODY_BYTES_MAX:,}; ask for less",
        )
    return [wire.encode(wire.RequestHead(wire.VERSION, request_id, op, deadline_ns, heads)), encoded], buffers


def reply_from(head: wire.ReplyHead, frames: list[wire.Frame], type_: Any) -> wire.Reply:
    """Raises: BusRefused, also when the service answered what the caller cannot read."""
    if head.code:
        raise BusRefused(head.code, head.message)
    try:
        body, columns = wire.body_and_columns(frames, head.columns)
        return wire.Reply(wire.decoder_for(type_).decode(body), columns)
    except (WireError, msgspec.MsgspecError) as error:
        raise BusRefused("bad_reply", f"an answer that cannot be read: {error}") from error


class _Link:
    """One socket to the service, used by one call at a time, and what ZeroMQ reports about it."""

    def __init__(self, address: str) -> None:
        context: zmq.Context[Any] = zmq.Context.instance()
        self._dealer: zmq.Socket[bytes] = open_dealer(context)
        self._monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._monitor.connect(monitor_address(self._dealer))
        self._dealer.connect(address)
        self._is_up = False
        self._poller = zmq.Poller()
        self._poller.register(self._dealer, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    def send(self, prefix: list[bytes], buffers: list[Any], deadline_ns: int) -> None:
        del deadline_ns  # ZeroMQ takes it at once, and wait() looks at the clock.
        self._lost()  # What happened between two calls concerns neither of them.
        wire.send(self._dealer, prefix, buffers)

    def wait(self, request_id: int, deadline_ns: int) -> tuple[wire.ReplyHead, list[wire.Frame]] | None:
        """The reply to this request, or None at the deadline; late replies to earlier ones are dropped.

        Raises: ConnectionResetError, if the service ended meanwhile.
        """
        while (rest_ms := (deadline_ns - time.monotonic_ns()) / 1e6) > 0:
            ready = dict(self._poller.poll(int(rest_ms) + 1))  # Plus one: without it the last fraction would spin.
            if self._dealer in ready and (found := self._read(request_id)) is not None:
                return found
            if self._monitor in ready and self._lost():
                if (found := self._read(request_id)) is not None:
                    return found
                raise ConnectionResetError
        return None

    def _read(self, request_id: int) -> tuple[wire.ReplyHead, list[wire.Frame]] | None:
        while True:
            try:
                frames = wire.receive(self._dealer, 2)
            except zmq.Again:
                return None
            head = wire.decode_reply(frames)
            if head.id == request_id:
                return head, frames

    def _lost(self) -> bool:
        """Whether an established link has ended since the last look."""
        is_lost = False
        while wire.is_readable(self._monitor):
            event = event_of(self._monitor.recv_multipart(zmq.NOBLOCK))
            is_lost |= self._is_up and event == zmq.EVENT_DISCONNECTED
            self._is_up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        return is_lost

    def close(self) -> None:
        self._dealer.disable_monitor()
        self._dealer.close()
        self._monitor.close(linger=0)


class Client:
    """A handle on a service, for any number of threads. A call made while the service is down waits for it.

    Each call has a socket for itself while it lasts; idle sockets are kept for the next ones.

    is_direct: ask by connections of our own, as long as the service has them; see direct.py.
    """

    def __init__(self, run_dir: Path, service: str, *, is_direct: bool = False) -> None:
        self.service = service
        self._is_direct = is_direct
        self._place = Place(run_dir)
        self._ids = itertools.count(1)  # next() of it is atomic.
        self._lock = threading.Lock()
        self._idle: list[_Link | DirectLink] = []
        self._is_closed = False

    def call(
        self,
        op: str,
        body: Any = None,
        columns: wire.Columns = (),
        *,
        timeout_s: float = 5.0,
        type: Any = Any,  # noqa: A002 - The type that the body of the reply is decoded to, as msgspec calls it.
    ) -> wire.Reply:
        """Ask, and wait for the answer.

        Raises: BusTimeout, if no answer came in timeout_s; BusGone, if the service ended meanwhile: in both cases it
        may have been done. BusAbsent, if there is no run folder. BusRefused, with the code and text of the service.
        """
        deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            try:
                head, frames = self._call_once(op, body, columns, deadline_ns, timeout_s)
                return reply_from(head, frames, type)
            except BusRefused as error:
                # It was not done, and the service comes back: as good as a service that is down.
                if error.code != STOPPING or time.monotonic_ns() > deadline_ns:
                    raise
            time.sleep(STOPPING_WAIT_S)

    def _call_once(
        self, op: str, body: Any, columns: wire.Columns, deadline_ns: int, timeout_s: float
    ) -> tuple[wire.ReplyHead, list[wire.Frame]]:
        request_id = next(self._ids)
        prefix, buffers = request_frames(request_id, op, body, columns, deadline_ns)
        try:
            link = self._sent(prefix, buffers, deadline_ns)
        except TimeoutError as error:
            raise BusTimeout(self.service, op, timeout_s) from error
        is_usable = False
        try:
            found = link.wait(request_id, deadline_ns)
            if found is None:
                raise BusTimeout(self.service, op, timeout_s)
            if found[0].code == STOPPING:
                self._drop_idle()  # They lead to the same end, and what is sent there now may not be read any more.
            else:
                is_usable = True
            return found
        except ConnectionResetError as error:
            raise BusGone(self.service, op) from error
        except WireError as error:
            raise BusRefused("bad_reply", f"{self.service} sent an answer that cannot be read: {error}") from error
        finally:
            # Without an answer the request may still lie in the socket; closing it takes it back.
            self._give(link, is_usable=is_usable)

    def _sent(self, prefix: list[bytes], buffers: list[Any], deadline_ns: int) -> _Link | DirectLink:
        """The link by which the request has gone out. Raises: BusAbsent, TimeoutError."""
        while True:
            link = self._take(deadline_ns)
            try:
                link.send(prefix, buffers, deadline_ns)
            except ConnectionError:
                link.close()
                self._drop_idle()  # The service they led to has ended, and has not seen the request.
            except BaseException:
                link.close()
                raise
            else:
                return link

    def _take(self, deadline_ns: int) -> _Link | DirectLink:
        with self._lock:
            assert not self._is_closed, f"the client of {self.service} is closed"
            if self._idle:
                return self._idle.pop()
        if not self._place.exists():
            raise BusAbsent(self.service, self._place.run_dir)
        rest_s = min(OPEN_TIMEOUT_S, (deadline_ns - time.monotonic_ns()) / 1e9)
        direct = DirectLink.open(self._place, self.service, rest_s) if self._is_direct else None
        return direct or _Link(self._place.address(self.service))

    def _give(self, link: _Link | DirectLink, *, is_usable: bool) -> None:
        # The other way was for while the service was down.
        is_kept = is_usable and isinstance(link, DirectLink) == self._is_direct
        with self._lock:
            if is_kept and not self._is_closed:
                self._idle.append(link)
                return
        link.close()

    def _drop_idle(self) -> None:
        with self._lock:
            links, self._idle = self._idle, []
        for link in links:
            link.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
        self._drop_idle()
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
