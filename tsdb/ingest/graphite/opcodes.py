"""A reader of pickles of protocols 0 to 5 that knows only plain data: lists, tuples, texts, numbers, booleans, None.

What names a class, calls, builds or asks the outside has no code here, so it cannot run. Each opcode takes at least a
byte and makes at most one object and one entry of the memo, so a pickle costs at most about 150 times its own size; and
what it makes is never hashed, compared or walked to its depth.

Source: CPython, Lib/pickletools.py (what each opcode does); docs/decisions/0014-reading-pickles.md (why not pickle).
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable

from tsdb.errors import RefusedSample

PROTOCOL_MAX = 5
MARKS_COUNT_MAX = 16  # Lists and tuples that are open at once; metrics need three.
LINE_BYTES_MAX = 64 * 1024  # Of protocol 0's texts and numbers.
_UNSAFE = {
    0x63: "GLOBAL",
    0x93: "STACK_GLOBAL",
    0x52: "REDUCE",
    0x62: "BUILD",
    0x69: "INST",
    0x6F: "OBJ",
    0x81: "NEWOBJ",
    0x92: "NEWOBJ_EX",
    0x50: "PERSID",
    0x51: "BINPERSID",
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
}
_INT32, _UINT32, _UINT64 = struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<Q")
_UINT16, _FLOAT64 = struct.Struct("<H"), struct.Struct(">d")


def read_pickle(data: bytes) -> object:
    """The object of one pickle; texts that are not UTF-8 stay bytes.

    Raises: RefusedSample, bad_pickle or unsafe_pickle.
    """
    reader = _Reader(data)
    try:
        return reader.read()
    except RefusedSample:
        raise
    except (IndexError, KeyError, struct.error) as error:
        raise _bad(f"it ends too early, or refers to what is not there, before byte {reader.at:,}") from error
    except (ValueError, OverflowError) as error:
        raise _bad(f"byte {reader.at:,}: {error}") from error


def _bad(why: str) -> RefusedSample:
    return RefusedSample("bad_pickle", f"not a pickle of plain metrics: {why}")


class _Reader:
    """One pickle, its stack and its memo."""

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data
        self._stack: list[object] = []
        self._marks: list[int] = []  # How long the stack was at each mark.
        self._memo: dict[int, object] = {}

    def read(self) -> object:
        data, codes = self._data, _CODES
        while True:
            code = data[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                if len(self._stack) != 1:
                    raise _bad(f"it ends with {len(self._stack):,} objects, not one")
                return self._stack[0]
            act = codes.get(code)
            if act is None:
                if code in _UNSAFE:
                    raise RefusedSample(
                        "unsafe_pickle", f"the pickle wants to run code ({_UNSAFE[code]}); only plain data are read"
                    )
                raise _bad(f"opcode 0x{code:02x} at byte {self.at - 1:,}")
            act(self)

    # What lies in the bytes.

    def _bytes(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise IndexError
        found = self._data[self.at : end]
        self.at = end
        return found

    def _number(self, kind: struct.Struct) -> int:
        (found,) = kind.unpack_from(self._data, self.at)
        self.at += kind.size
        return int(found)

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self.at, self.at + LINE_BYTES_MAX)
        if end < 0:
            raise IndexError
        found = self._data[self.at : end]
        self.at = end + 1
        return found

    # Frame and structure.

    def protocol(self) -> None:
        if (found := self._byte()) > PROTOCOL_MAX:
            raise _bad(f"protocol {found} of at most {PROTOCOL_MAX}")

    def frame(self) -> None:
        self._number(_UINT64)  # Only a hint for readers of streams.

    def mark(self) -> None:
        if len(self._marks) >= MARKS_COUNT_MAX:
            raise _bad(f"more than {MARKS_COUNT_MAX} lists within lists")
        self._marks.append(len(self._stack))

    def _since_mark(self) -> list[object]:
        start = self._marks.pop()
        found = self._stack[start:]
        del self._stack[start:]
        return found

    def empty_list(self) -> None:
        self._stack.append([])

    def marked_list(self) -> None:
        self._stack.append(self._since_mark())

    def append(self) -> None:
        one = self._stack.pop()
        self._list().append(one)

    def appends(self) -> None:
        found = self._since_mark()
        self._list().extend(found)

    def _list(self) -> list[object]:
        found = self._stack[-1]
        if not isinstance(found, list):
            raise _bad(f"something is added to what is no list, before byte {self.at:,}")
        return found

    def empty_tuple(self) -> None:
        self._stack.append(())

    def marked_tuple(self) -> None:
        self._stack.append(tuple(self._since_mark()))

    def tuple_of_2(self) -> None:
        stack = self._stack
        second = stack.pop()
        stack[-1] = (stack[-1], second)

    def tuple_of_1(self) -> None:
        self._stack[-1] = (self._stack[-1],)

    def tuple_of_3(self) -> None:
        stack = self._stack
        third, second = stack.pop(), stack.pop()
        stack[-1] = (stack[-1], second, third)

    # Texts.

    def _text(self, count: int) -> None:
        self._stack.append(_decoded(self._bytes(count)))

    def text_8(self) -> None:
        self._text(self._byte())

    def text_32(self) -> None:
        self._text(self._number(_UINT32))

    def text_64(self) -> None:
        self._text(self._number(_UINT64))

    def text_line(self) -> None:
        text = self._line().decode("raw-unicode-escape")  # Half of a surrogate pair can be written so, but not kept.
        self._stack.append(_decoded(text.encode(errors="surrogatepass")))

    def quoted_line(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise _bad(f"a text without quotes before byte {self.at:,}")
        self._stack.append(_decoded(codecs.escape_decode(line[1:-1])[0]))

    # Numbers.

    def float_64(self) -> None:
        self._stack.append(_FLOAT64.unpack_from(self._data, self.at)[0])
        self.at += 8

    def float_line(self) -> None:
        self._stack.append(float(self._line()))

    def int_32(self) -> None:
        self._stack.append(_INT32.unpack_from(self._data, self.at)[0])
        self.at += 4

    def int_8(self) -> None:
        self._stack.append(self._byte())

    def int_16(self) -> None:
        self._stack.append(self._number(_UINT16))

    def long(self) -> None:
        self._stack.append(int.from_bytes(self._bytes(self._byte()), "little", signed=True))

    def int_line(self) -> None:
        line = self._line()
        known: dict[bytes, object] = {b"00": False, b"01": True}
        self._stack.append(known[line] if line in known else int(line))

    def long_line(self) -> None:
        self._stack.append(int(self._line().removesuffix(b"L")))

    def none(self) -> None:
        self._stack.append(None)

    def true(self) -> None:
        self._stack.append(True)

    def false(self) -> None:
        self._stack.append(False)

    # The memo: a dictionary, so that a great number costs no more than a small one.

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def put_8(self) -> None:
        self._memo[self._byte()] = self._stack[-1]

    def put_32(self) -> None:
        self._memo[self._number(_UINT32)] = self._stack[-1]

    def put_line(self) -> None:
        self._memo[int(self._line())] = self._stack[-1]

    def get_8(self) -> None:
        self._stack.append(self._memo[self._byte()])

    def get_32(self) -> None:
        self._stack.append(self._memo[self._number(_UINT32)])

    def get_line(self) -> None:
        self._stack.append(self._memo[int(self._line())])


def _decoded(text: bytes) -> str | bytes:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


_CODES: dict[int, Callable[[_Reader], None]] = {
    0x80: _Reader.protocol,
    0x95: _Reader.frame,
    ord("("): _Reader.mark,
    ord("]"): _Reader.empty_list,
    ord("l"): _Reader.marked_list,
    ord("a"): _Reader.append,
    ord("e"): _Reader.appends,
    ord(")"): _Reader.empty_tuple,
    ord("t"): _Reader.marked_tuple,
    0x85: _Reader.tuple_of_1,
    0x86: _Reader.tuple_of_2,
    0x87: _Reader.tuple_of_3,
    ord("U"): _Reader.text_8,
    ord("C"): _Reader.text_8,
    0x8C: _Reader.text_8,
    ord("T"): _Reader.text_32,
    ord("B"): _Reader.text_32,
    ord("X"): _Reader.text_32,
    0x8D: _Reader.text_64,
    ord("V"): _Reader.text_line,
    ord("S"): _Reader.quoted_line,
    ord("G"): _Reader.float_64,
    ord("F"): _Reader.float_line,
    ord("J"): _Reader.int_32,
    ord("K"): _Reader.int_8,
    ord("M"): _Reader.int_16,
    0x8A: _Reader.long,
    ord("I"): _Reader.int_line,
    ord("L"): _Reader.long_line,
    ord("N"): _Reader.none,
    0x88: _Reader.true,
    0x89: _Reader.false,
    0x94: _Reader.memoize,
    ord("q"): _Reader.put_8,
    ord("r"): _Reader.put_32,
    ord("p"): _Reader.put_line,
    ord("h"): _Reader.get_8,
    ord("j"): _Reader.get_32,
    ord("g"): _Reader.get_line,
}
