"""What waitress refuses before any view sees it: answered in the one shape, and in a way that the sender gets to read.

A connection that is closed with unread bytes is reset, and the answer is lost with it: whoever sends a body that is
far too large would read "connection reset" instead of the limit. So the rest is read and thrown away, within bounds.
"""

from __future__ import annotations

import select
import socket
import time
from functools import partial
from typing import Any

import msgspec
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

from web.body import Parser, WholeBody
from web.errors import Refusal, error_body

JOINED_BYTES_MAX = 256 * 1024  # Above it a copy costs more than a second call.
AGAIN_MS_MAX = 2  # Most clients that have a next question ask it sooner; a thread is kept for no longer.
READING_MS_MAX = 20  # Who takes nothing for so long is not waited for, but served from a buffer.
LINGER_S_MAX = 10.0
LINGER_BYTES_MAX = 2**30  # A second of loopback; it is read, never kept.
WORDS = {
    400: ("bad_request", "this is not an HTTP request that can be read"),
    413: ("too_large", "the body is larger than any request here may be; split it"),
    431: ("too_large", "the first line and the headers are too long"),
    501: ("not_implemented", "this transfer encoding is not understood"),
}


class Refused(ErrorTask):  # type: ignore[misc]  # waitress is untyped.
    """The answer to a request that could not even be read."""

    def execute(self) -> None:
        error = self.request.error
        code, message = WORDS.get(error.code, ("internal", "Henge failed at this request; the log names the reason"))
        detail = f" ({error.body})" if error.code in (400, 413, 431) else ""
        body = msgspec.json.encode(error_body(Refusal(error.code, code, message + detail)))
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.lingers = True
        self.write(body)


class Answer(WSGITask):  # type: ignore[misc]
    """The answer to a request; one without a body (204, 304) leaves the connection open.

    waitress closes it there, as it does wherever a length is missing, but these have none by definition: a sender that
    is told 204 a thousand times a second would connect as often.
    """

    _builds_head = False

    def service(self) -> None:
        """Answer one request, and those that the client sends as soon as it has the answer: no thread wakes another."""
        channel: Channel = self.channel
        channel.has_asked = True
        super().service()
        while not self.close_on_finish and (request := channel.asked_again()) is not None:
            self.__dict__.clear()  # The task of the next request from now on: so its failures are answered as its own.
            WSGITask.__init__(self, channel, request)
            super().service()

    def write(self, data: bytes) -> None:
        """The head and the first piece of the body go out by one call of the system, and in one packet."""
        if self.wrote_header:
            super().write(data)
            return
        channel: Channel = self.channel
        channel.kept = []
        try:
            super().write(data)
        finally:
            kept, channel.kept = channel.kept, None
        for piece in kept if len(data) > JOINED_BYTES_MAX else (b"".join(kept),):
            channel.write_soon(piece)

    def build_response_header(self) -> bytes:
        if self.channel.server.drains:
            super().set_close_on_finish()
        self._builds_head = True
        try:
            head: bytes = super().build_response_header()
        finally:
            self._builds_head = False
        return head

    def set_close_on_finish(self) -> None:
        wants_close = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self._builds_head and self.version == "1.1" and not self.has_body and not wants_close:
            return
        super().set_close_on_finish()


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection, which after a refusal reads on until the sender has read the answer."""

    parser_class = Parser
    task_class = Answer
    error_task_class = Refused
    lingers = False
    has_asked = False  # A first request has come.
    kept: list[bytes] | None = None  # What is written meanwhile, instead of being sent.
    _until_s: float | None = None
    _left_bytes = LINGER_BYTES_MAX

    def write_soon(self, data: Any) -> int:
        if self.kept is not None:
            self.kept.append(data)
        elif isinstance(data, bytes):
            sent = self._sent_at_once(memoryview(data))
            super().write_soon(data[sent:] if sent else data)
        else:
            super().write_soon(data)
        return len(data)

    def asked_again(self) -> Parser | None:
        """The next request, in place of the one that was answered, if it comes whole within a moment.

        None: the loop watches the connection again. Whatever is unusual (pieces, several requests at once, a body to be
        asked for, what cannot be read) is received as ever. Called by the thread that has answered; meanwhile the loop
        reads nothing, for a request is under way.
        """
        dispatcher, fileno = self.server.task_dispatcher, self._fileno
        is_free = self.connected and not self.will_close and not self.total_outbufs_len
        is_free = is_free and len(self.requests) == 1 and self.request is None
        if not is_free or dispatcher.queue or dispatcher.stop_count or not is_readable(fileno):
            return None
        try:
            data = self.socket.recv(self.adj.recv_bytes)
        except OSError:
            return None
        if not data:
            return None  # The loop meets the end of the stream too.
        self.last_activity = time.time()
        request = self.parser_class(self.adj)
        count = request.received(data)
        if count < len(data) or not request.completed or request.empty or request.error or request.expect_continue:
            request.close()
            self.received(data)
            return None
        answered, self.requests[0] = self.requests[0], request
        answered.close()
        return request

    def rests(self, *, waits_for_first: bool) -> bool:
        """Whether nothing is under way: no request, no part of one, no part of an answer, nothing that lies unread."""
        is_between = not self.requests and self.request is None
        is_between = is_between and not self.total_outbufs_len and self._until_s is None
        return is_between and (self.has_asked or not waits_for_first) and not is_readable(self._fileno, 0)

    def _sent_at_once(self, data: memoryview) -> int:
        """How much of a piece the client took from where it lies, as long as nothing stands before it and he reads.

        waitress copies each piece into a buffer first, which becomes a temporary file at 1 MiB. That is for clients who
        do not read: they must not keep a thread.
        """
        sent: int = 0
        while sent < len(data):
            with self.outbuf_lock:
                if not self.connected or self.will_close or self.total_outbufs_len:
                    return sent
                rest, fileno = data[sent:], self._fileno
                count, has_failed = self._flush_exception(partial(self.send, rest), False)
            if has_failed:
                return sent
            sent += int(count)
            if count < len(rest) and not takes_more(fileno):
                return sent
        return sent

    def writable(self) -> bool:
        if self._until_s is not None:
            return time.monotonic() > self._until_s  # Asked at every turn of the loop: the time is up.
        return bool(super().writable())

    def handle_write(self) -> None:
        if self._until_s is not None:
            self.handle_close()
        else:
            super().handle_write()

    def readable(self) -> bool:
        return self._until_s is not None or bool(super().readable())

    def handle_read(self) -> None:
        if self._until_s is None:
            body = self.request.body_rcv if self.request is not None else None
            if isinstance(body, WholeBody):
                self._fill(body)
            else:
                super().handle_read()
            return
        try:
            self._left_bytes -= len(self.recv(self.adj.recv_bytes))  # At the end of the stream it closes by itself.
        except OSError:
            self._left_bytes = -1
        if self._left_bytes < 0 and self.connected:
            self.handle_close()

    def _fill(self, body: WholeBody) -> None:
        """Read what there is of a large body to where it belongs."""
        try:
            count = self.socket.recv_into(body.rest)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.handle_close()
            return
        self.last_activity = time.time()
        if (last := body.filled(count)) is not None:
            self.received(last)  # The last byte goes the way of small bodies, which ends the request.

    def handle_close(self) -> None:
        if not self.lingers or not self.connected:
            super().handle_close()
            return
        self.lingers = False
        try:
            self.socket.shutdown(socket.SHUT_WR)  # The answer is complete; the sender reads to its end and closes.
        except OSError:
            super().handle_close()
            return
        self.will_close = False
        self._until_s = time.monotonic() + LINGER_S_MAX


def takes_more(fileno: int) -> bool:
    """Whether a socket, whose other side is still there, can be written to within a moment."""
    poll = select.poll()
    poll.register(fileno, select.POLLOUT)
    return [event for _, event in poll.poll(READING_MS_MAX)] == [select.POLLOUT]


def is_readable(fileno: int, wait_ms: int = AGAIN_MS_MAX) -> bool:
    """Whether something comes, or the end, within a moment."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return bool(poll.poll(wait_ms))
