"""The asking and the listening side, for asyncio: many calls at once over one socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from appliance.bus import wire
from appliance.bus.client import (
    STOPPING_WAIT_S,
    event_of,
    monitor_address,
    open_dealer,
    reply_from,
    request_frames,
)
from appliance.bus.errors import STOPPING, BusAbsent, BusGone, BusRefused, BusTimeout, WireError
from appliance.bus.place import Place
from appliance.bus.publish import HINT_COUNT_MAX, Following, Hint, Resync, open_subscriber

_Waiting = asyncio.Future[tuple[wire.ReplyHead, list[wire.Frame]]]


class _Link:
    """One socket to one life of the service, and the calls that wait on it.

    When the service ends, so do this link and its calls: what lies unsent in the socket must not be done later.
    """

    def __init__(self, address: str) -> None:
        context: zmq.Context[Any] = zmq.Context.instance()
        self.is_closed = False
        self.is_retired = False  # The service is stopping: no new call comes here, and the last one closes it.
        self._waiting: dict[int, _Waiting] = {}
        self._dealer: zmq.Socket[bytes] = open_dealer(context)
        self._monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._monitor.connect(monitor_address(self._dealer))
        self._dealer.connect(address)
        self._up = asyncio.Event()  # Also set by close(), so that whoever waits for it looks again.
        self._loop = asyncio.get_running_loop()
        self._fds = (self._dealer.get(zmq.FD), self._monitor.get(zmq.FD))
        for fd in self._fds:
            self._loop.add_reader(fd, self._look)
        self._look_again: asyncio.Handle | None = None
        self._look_soon()

    def is_of_running_loop(self) -> bool:
        return self._loop is asyncio.get_running_loop()

    def is_idle(self) -> bool:
        return not self._waiting

    async def call(
        self, request_id: int, prefix: list[bytes], buffers: list[Any], timeout_s: float
    ) -> tuple[wire.ReplyHead, list[wire.Frame]]:
        """Raises: TimeoutError; ConnectionResetError, if the service ended meanwhile."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_writable()
                waiting: _Waiting = self._loop.create_future()
                self._waiting[request_id] = waiting
                wire.send(self._dealer, prefix, buffers)
                # Sending may have read the descriptor's edge: what came meanwhile would not be reported again.
                self._look_soon()
                return await waiting
        finally:
            self._waiting.pop(request_id, None)
            if self.is_retired and not self._waiting:
                self.close()

    async def _until_writable(self) -> None:
        """Raises: ConnectionResetError, if the link ends first."""
        # What waits for a service that is down waits here, not in the socket: given up, it is gone.
        await self._up.wait()
        # Not writable: 10,000 requests are on their way, for the service is far behind.
        while not self.is_closed and not wire.is_writable(self._dealer):  # noqa: ASYNC110 - ZeroMQ has no such event.
            await asyncio.sleep(0.005)
        if self.is_closed:
            raise ConnectionResetError

    def _look_soon(self) -> None:
        if self._look_again is None and not self.is_closed:
            self._look_again = self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Read what is there. ZeroMQ's descriptors report edges only, so each look reads until nothing is left."""
        self._look_again = None
        if self.is_closed:
            return
        is_lost = self._read_events()
        self._read_replies()
        if is_lost:
            self.close()

    def _read_replies(self) -> None:
        while True:
            try:
                frames = wire.receive(self._dealer, 2)
            except zmq.Again:
                return
            with contextlib.suppress(WireError):  # Its call ends by its time-out.
                head = wire.decode_reply(frames)
                waiting = self._waiting.pop(head.id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result((head, frames))

    def _read_events(self) -> bool:
        """Whether an established link has ended since the last look."""
        is_lost = False
        while wire.is_readable(self._monitor):
            event = event_of(self._monitor.recv_multipart(zmq.NOBLOCK))
            is_lost |= self._up.is_set() and event == zmq.EVENT_DISCONNECTED
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._up.set()
        return is_lost

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if not self._loop.is_closed():
            for fd in self._fds:
                self._loop.remove_reader(fd)
        self._dealer.disable_monitor()
        self._dealer.close()
        self._monitor.close(linger=0)
        self._up.set()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done() and not self._loop.is_closed():
                future.set_exception(ConnectionResetError())


class AsyncClient:
    """A handle on a service, for one event loop. A call made while the service is down waits for it."""

    def __init__(self, run_dir: Path, service: str) -> None:
        self.service = service
        self._place = Place(run_dir)
        self._ids = itertools.count(1)
        self._link: _Link | None = None
        self._retired: list[_Link] = []

    async def call(
        self,
        op: str,
        body: Any = None,
        columns: wire.Columns = (),
        *,
        timeout_s: float = 5.0,
        type: Any = Any,  # noqa: A002 - The type that the body of the reply is decoded to, as msgspec calls it.
    ) -> wire.Reply:
        """Ask, and wait for the answer. Raises: as Client.call."""
        deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            request_id = next(self._ids)
            prefix, buffers = request_frames(request_id, op, body, columns, deadline_ns)
            link = self._present_link()
            try:
                rest_s = (deadline_ns - time.monotonic_ns()) / 1e9
                head, frames = await link.call(request_id, prefix, buffers, rest_s)
                return reply_from(head, frames, type)
            except TimeoutError as error:
                raise BusTimeout(self.service, op, timeout_s) from error
            except ConnectionResetError as error:
                raise BusGone(self.service, op) from error
            except BusRefused as error:
                if error.code != STOPPING or time.monotonic_ns() > deadline_ns:
                    raise
                self._retire(link)
            await asyncio.sleep(STOPPING_WAIT_S)

    def _present_link(self) -> _Link:
        """The link, made anew when the service, or the event loop, is another one. Raises: BusAbsent."""
        if self._link is not None and not self._link.is_of_running_loop():
            self._link.close()
        if self._link is None or self._link.is_closed or self._link.is_retired:
            if not self._place.exists():
                raise BusAbsent(self.service, self._place.run_dir)
            self._link = _Link(self._place.address(self.service))
        return self._link

    def _retire(self, link: _Link) -> None:
        """Let the calls that wait on it have their answers, and no new one come."""
        link.is_retired = True
        if link.is_idle():
            link.close()
        elif not link.is_closed:
            self._retired = [one for one in self._retired if not one.is_closed and one is not link] + [link]

    def close(self) -> None:
        """Calls that still wait end with BusGone."""
        for link in self._retired:
            link.close()
        if self._link is not None:
            self._link.close()
        self._place.close()


class AsyncSubscriber:
    """As Subscriber, for one task of an event loop."""

    def __init__(self, run_dir: Path, name: str) -> None:
        """Raises: BusAbsent, if there is no run folder."""
        self._place = Place(run_dir)
        self._following = Following()
        self._socket: zmq.asyncio.Socket = open_subscriber(zmq.asyncio.Context.instance(), self._place, name)

    async def poll(self, timeout_s: float) -> list[Hint] | Resync:
        """What has come, after waiting at most timeout_s for the first; an empty list, if nothing has."""
        if not await self._socket.poll(int(timeout_s * 1000)):
            return []
        messages: list[list[bytes]] = []
        while len(messages) < HINT_COUNT_MAX and wire.is_readable(self._socket):
            messages.append(await self._socket.recv_multipart())
        return self._following.take(messages)

    def close(self) -> None:
        self._socket.close()
        self._place.close()
