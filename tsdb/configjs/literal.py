"""An object literal of JavaScript, read and never run: objects, lists, texts, numbers, true, false, null, undefined.

Comments, commas at the end, keys without quotes and single quotes are read; anything that would have to be worked out
(`require('os').hostname()`, an operator, a template) is refused with its place.
"""

from __future__ import annotations

import re

Value = None | bool | float | str | list["Value"] | dict[str, "Value"]

CHARS_MAX = 1_000_000
DEPTH_MAX = 32
_GAP = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(
    r"-?(?:0[xX][0-9a-fA-F]{1,15}|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])", re.ASCII
)
_WORD = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
_TEXT = re.compile(r"""'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)\"""", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None, "undefined": None}


class NotLiteral(ValueError):
    """The text says which line and column, and what is there."""


def read(text: str) -> dict[str, Value]:
    """The object that the file is. Raises: NotLiteral."""
    if len(text) > CHARS_MAX:
        raise NotLiteral(f"the file has {len(text):,} characters of at most {CHARS_MAX:,}")
    reader = _Reader(text)
    found = reader.value(0)
    if not isinstance(found, dict):
        raise NotLiteral("line 1: the file is not an object; it begins with {")
    reader.end()
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip()

    def end(self) -> None:
        """Behind the object a semicolon may stand, as some write."""
        self._take(";")
        if self._at < len(self._text):
            raise self._trouble("nothing may stand behind the object")

    def value(self, depth: int) -> Value:
        if depth > DEPTH_MAX:
            raise self._trouble(f"there are more than {DEPTH_MAX} levels")
        if self._take("{"):
            return self._object(depth)
        if self._take("["):
            return self._list(depth)
        found = self._match(_TEXT)
        if found:
            return _unescaped(found[1] if found[1] is not None else found[2])
        found = self._match(_NUMBER)
        if found:
            return _number(found[0])
        at = self._at
        found = self._match(_WORD)
        if found and found[0] in _WORDS:
            return _WORDS[found[0]]
        self._at = at
        raise self._trouble("only texts, numbers, lists, objects, true and false are read; nothing is worked out")

    def _object(self, depth: int) -> Value:
        found: dict[str, Value] = {}
        while not self._take("}"):
            text = self._match(_TEXT)
            key = text or self._match(_WORD) or self._match(_NUMBER)
            if key is None:
                raise self._trouble("a key has to stand here, or }")
            name = _unescaped(key[1] if key[1] is not None else key[2]) if text else key[0]
            if not self._take(":"):
                raise self._trouble("a colon has to stand here")
            found[name] = self.value(depth + 1)
            if not self._take(",") and not self._sees("}"):
                raise self._trouble("a comma or } has to stand here")
        return found

    def _list(self, depth: int) -> Value:
        found: list[Value] = []
        while not self._take("]"):
            found.append(self.value(depth + 1))
            if not self._take(",") and not self._sees("]"):
                raise self._trouble("a comma or ] has to stand here")
        return found

    def _skip(self) -> None:
        gap = _GAP.match(self._text, self._at)
        assert gap is not None, "a gap may be empty"
        self._at = gap.end()

    def _sees(self, mark: str) -> bool:
        return self._text.startswith(mark, self._at)

    def _take(self, mark: str) -> bool:
        if not self._sees(mark):
            return False
        self._at += len(mark)
        self._skip()
        return True

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
            self._skip()
        return found

    def _trouble(self, why: str) -> NotLiteral:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - self._text.rfind("\n", 0, self._at)
        rest = self._text[self._at : self._at + 30].split("\n")[0]
        return NotLiteral(f"line {line}, column {column}: {why}; there is {rest!r}" if rest else f"line {line}: {why}")


def _number(text: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    digits = text.lstrip("-")
    return sign * (float(int(digits, 16)) if digits[:2] in ("0x", "0X") else float(digits))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(
        lambda found: chr(int(found[1] or found[2], 16)) if found[3] is None else _ESCAPED.get(found[3], found[3]), text
    )
