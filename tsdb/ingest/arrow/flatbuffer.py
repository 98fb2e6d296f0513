"""FlatBuffers, read with every step checked: a place outside of the buffer is refused, whatever the bytes say.

A table begins with the distance to its vtable, which holds, for each field, where in the table its value lies.

Source: flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from typing import Final

_UINT16, _INT16, _UINT32, _INT32, _INT64 = (struct.Struct(f"<{kind}") for kind in "HhIiq")
_VTABLE_HEAD_BYTES: Final = 4
ABSENT: Final = -1


class BadArrow(Exception):
    """Bytes that no writer of Arrow streams makes."""


class Table:
    """One table of a buffer. All methods raise BadArrow where a place lies outside of the buffer."""

    __slots__ = ("_at", "_data", "_fields_at", "_fields_count")

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        vtable_at = at - self._number(_INT32, at)
        size = self._number(_UINT16, vtable_at)
        if size < _VTABLE_HEAD_BYTES or vtable_at + size > len(data):
            raise BadArrow(f"a vtable of {size} bytes at {vtable_at}")
        self._fields_at, self._fields_count = vtable_at + _VTABLE_HEAD_BYTES, (size - _VTABLE_HEAD_BYTES) // 2

    @staticmethod
    def root(data: bytes) -> Table:
        if len(data) < _UINT32.size:
            raise BadArrow(f"metadata of {len(data)} bytes")
        return Table(data, _UINT32.unpack_from(data)[0])

    def int16(self, field: int, default: int = 0) -> int:
        return self._scalar(_INT16, field, default)

    def int32(self, field: int, default: int = 0) -> int:
        return self._scalar(_INT32, field, default)

    def int64(self, field: int, default: int = 0) -> int:
        return self._scalar(_INT64, field, default)

    def uint8(self, field: int, default: int = 0) -> int:
        at = self._place(field)
        if at == ABSENT:
            return default
        if not 0 <= at < len(self._data):
            raise BadArrow(f"a byte at {at}")
        return self._data[at]

    def table(self, field: int) -> Table | None:
        at = self._place(field)
        return None if at == ABSENT else Table(self._data, at + self._number(_UINT32, at))

    def tables(self, field: int, count_max: int) -> list[Table]:
        """A vector of tables; empty where it is absent."""
        at, count = self._vector(field, _UINT32.size)
        if count > count_max:
            raise BadArrow(f"a vector of {count:,} tables, of at most {count_max:,}")
        places = range(at, at + count * _UINT32.size, _UINT32.size)
        return [Table(self._data, place + self._number(_UINT32, place)) for place in places]

    def int64s(self, field: int, width: int = 1) -> list[tuple[int, ...]]:
        """A vector of structs of so many int64."""
        at, count = self._vector(field, width * _INT64.size)
        return list(struct.iter_unpack(f"<{width}q", self._data[at : at + count * width * _INT64.size]))

    def text(self, field: int) -> str:
        at, count = self._vector(field, 1)
        return self._data[at : at + count].decode(errors="replace")

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Where the first item lies, and how many there are; all of them are inside of the buffer."""
        at = self._place(field)
        if at == ABSENT:
            return 0, 0
        at += self._number(_UINT32, at)
        count = self._number(_UINT32, at)
        if at + _UINT32.size + count * item_bytes > len(self._data):
            raise BadArrow(f"a vector of {count:,} items at {at} ends behind its buffer")
        return at + _UINT32.size, count

    def _place(self, field: int) -> int:
        if field >= self._fields_count:
            return ABSENT
        distance = self._number(_UINT16, self._fields_at + 2 * field)
        return self._at + distance if distance else ABSENT

    def _scalar(self, kind: struct.Struct, field: int, default: int) -> int:
        at = self._place(field)
        return default if at == ABSENT else self._number(kind, at)

    def _number(self, kind: struct.Struct, at: int) -> int:
        if not 0 <= at <= len(self._data) - kind.size:  # struct itself counts a negative place from the end.
            raise BadArrow(f"a number at {at} of {len(self._data)} bytes")
        number: int = kind.unpack_from(self._data, at)[0]
        return number
