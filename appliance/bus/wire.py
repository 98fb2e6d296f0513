"""The frames of a request and its reply.

    request:  head | body | column …
    reply:    head | body | column …

head is a msgpack array (RequestHead, ReplyHead), body msgpack of anything, and a column the bytes of a
one-dimensional numpy array in this machine's order. Columns are sent from the array's own memory and read where
ZeroMQ received them; so the sender must not change an array that it has handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec
import zmq

from appliance.bus.errors import WireError

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
COLUMN_COUNT_MAX = 64
BODY_BYTES_MAX = 64 * 2**20
FRAME_BYTES_MAX = 2**30  # 128 M float64 in one column; ZeroMQ drops the link of a peer that sends more.
COPY_BYTES_MAX = 64 * 2**10  # Below this a copy is cheaper than ZeroMQ's book-keeping for a borrowed buffer.
_DTYPES = frozenset(("|b1", "|u1", "|i1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8"))

Column: TypeAlias = "np.ndarray[Any, Any] | bytes | bytearray | memoryview"
Columns: TypeAlias = "Sequence[Column]"
Frame: TypeAlias = "bytes | zmq.Frame | np.ndarray[Any, Any]"


class ColumnHead(msgspec.Struct, frozen=True, array_like=True):
    """What a column frame holds: count values of dtype (numpy's `dtype.str`)."""

    dtype: str
    count: int


class RequestHead(msgspec.Struct, frozen=True, array_like=True):
    """deadline_ns is on CLOCK_MONOTONIC, which all processes of a machine share: nobody waits after it."""

    version: int
    id: int
    op: str
    deadline_ns: int
    columns: tuple[ColumnHead, ...] = ()


class ReplyHead(msgspec.Struct, frozen=True, array_like=True):
    """code is empty for an answer; a refusal has a code and a message, and its body is nil."""

    version: int
    id: int
    code: str = ""
    message: str = ""
    columns: tuple[ColumnHead, ...] = ()


class Reply(NamedTuple):
    """The answer to a call. Columns are read-only views on the received frames."""

    body: Any
    columns: tuple[np.ndarray[Any, Any], ...] = ()


def _number_of_numpy(value: Any) -> Any:
    """Scalars of numpy become Python's; any other type is a mistake of the sender."""
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    raise TypeError(f"a body of the bus cannot hold {type(value).__name__}: {value!r:.100}")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_number_of_numpy)
_REQUEST_DECODER = msgspec.msgpack.Decoder(RequestHead)
_REPLY_DECODER = msgspec.msgpack.Decoder(ReplyHead)
NIL = _ENCODER.encode(None)
encode = _ENCODER.encode


@lru_cache(maxsize=512)
def decoder_for(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(type_)


def column_heads(columns: Columns) -> tuple[tuple[ColumnHead, ...], list[Any]]:
    """Describe columns, and give what to send for each. Raises: TypeError, ValueError, for what no column can hold."""
    if len(columns) > COLUMN_COUNT_MAX:
        raise ValueError(f"{len(columns)} columns in one message; at most {COLUMN_COUNT_MAX} travel together")
    heads: list[ColumnHead] = []
    buffers: list[Any] = []
    for column in columns:
        if isinstance(column, bytes | bytearray | memoryview):
            view = memoryview(column).cast("B")
            heads.append(ColumnHead("|u1", view.nbytes))
            buffers.append(view)
            continue
        if column.ndim != 1 or column.dtype.str not in _DTYPES:
            raise TypeError(f"a column is one-dimensional and of numbers, not {column.dtype} of shape {column.shape}")
        heads.append(ColumnHead(column.dtype.str, column.size))
        buffers.append(column if column.flags.c_contiguous else column.copy())
    for head, buffer in zip(heads, buffers, strict=True):
        if buffer.nbytes > FRAME_BYTES_MAX:
            raise ValueError(f"a column of {head.count:,} values; at most {FRAME_BYTES_MAX:,} bytes travel in one")
    return tuple(heads), buffers


def _bytes(frame: Frame) -> bytes:
    assert isinstance(frame, bytes), "heads and bodies are received as copies"
    return frame


def is_readable(socket: Any) -> bool:
    return bool(socket.get(zmq.EVENTS) & zmq.POLLIN)


def is_writable(socket: Any) -> bool:
    return bool(socket.get(zmq.EVENTS) & zmq.POLLOUT)


def send(socket: zmq.Socket[bytes], prefix: list[bytes], buffers: list[Any]) -> None:
    """Send one message: the prefix frames, then the columns from their own memory."""
    if not buffers:
        socket.send_multipart(prefix)
        return
    for frame in prefix:
        socket.send(frame, zmq.SNDMORE)
    last = len(buffers) - 1
    for index, buffer in enumerate(buffers):
        socket.send(buffer, zmq.SNDMORE if index < last else 0, copy=buffer.nbytes < COPY_BYTES_MAX)


def receive(socket: zmq.Socket[bytes], copied_count: int) -> list[Frame]:
    """One message that is there already: the first copied_count frames as bytes, the others where they are.

    Raises: zmq.Again, if there is none.
    """
    frames: list[Frame] = [socket.recv(zmq.NOBLOCK)]
    while socket.get(zmq.RCVMORE):
        frames.append(socket.recv() if len(frames) < copied_count else socket.recv(copy=False))
    return frames


def decode_request(frames: Sequence[Frame]) -> RequestHead:
    """The head of a request. Raises: WireError, if its sender cannot even be answered."""
    try:
        head = _REQUEST_DECODER.decode(_bytes(frames[0]))
    except msgspec.MsgspecError as error:
        raise WireError(f"a request without a head of ours: {error}") from error
    if head.version != VERSION:
        raise WireError(f"a request of version {head.version}; this is version {VERSION}")
    return head


def decode_reply(frames: Sequence[Frame]) -> ReplyHead:
    """The head of a reply. Raises: WireError."""
    try:
        head = _REPLY_DECODER.decode(_bytes(frames[0]))
    except msgspec.MsgspecError as error:
        raise WireError(f"a reply without a head of ours: {error}") from error
    if head.version != VERSION:
        raise WireError(f"a reply of version {head.version}; this is version {VERSION}")
    return head


def body_and_columns(
    frames: Sequence[Frame], heads: tuple[ColumnHead, ...]
) -> tuple[bytes, tuple[np.ndarray[Any, Any], ...]]:
    """What follows a head: the body's bytes, and the columns as its head describes them. Raises: WireError."""
    if len(frames) != 2 + len(heads):
        raise WireError(f"{len(frames)} frames where the head announces {2 + len(heads)}")
    if len(heads) > COLUMN_COUNT_MAX:
        raise WireError(f"{len(heads)} columns; at most {COLUMN_COUNT_MAX} travel together")
    body = _bytes(frames[1])
    if len(body) > BODY_BYTES_MAX:
        raise WireError(f"a body of {len(body):,} bytes; at most {BODY_BYTES_MAX:,} travel outside of columns")
    if not heads:
        return body, ()
    return body, tuple(_column(frame, head) for frame, head in zip(frames[2:], heads, strict=True))


def _column(frame: Frame, head: ColumnHead) -> np.ndarray[Any, Any]:
    import numpy as np

    if head.dtype not in _DTYPES:
        raise WireError(f"a column of dtype {head.dtype!r:.20}; only numbers travel")
    dtype = np.dtype(head.dtype)
    assert not isinstance(frame, bytes)
    if len(frame) != head.count * dtype.itemsize:
        raise WireError(f"a column of {len(frame):,} bytes where {head.count:,} of {dtype} are announced")
    column = np.frombuffer(frame.buffer if isinstance(frame, zmq.Frame) else frame, dtype=dtype)
    if not column.flags.aligned:
        column = column.copy()  # Only small frames lie in the middle of a receive buffer.
    column.flags.writeable = False
    return column
