"""Where an expression is wrong, so that the page can mark the place."""

from __future__ import annotations

import re
from dataclasses import dataclass

# As the engine words it: `line:column: parse error: …`, both from 1, the column in characters.
POSITION = re.compile(r"(\d{1,6}):(\d{1,6}): parse error: (.*)", re.DOTALL)
# What is marked: a word or number, a text in quotes, an operator, or one character.
MARKED = re.compile(r"[\w:.]+|\"[^\"\n]*\"?|'[^'\n]*'?|`[^`]*`?|[=!<>~]+|\S")


@dataclass(frozen=True, slots=True)
class Mistake:
    """An expression in three pieces; `there` is empty when something is missing at its end."""

    line: int
    column: int
    text: str
    before: str
    there: str
    after: str

    @property
    def start(self) -> int:
        """Where the mark begins, as a script counts: in UTF-16 units."""
        return utf16_length(self.before)

    @property
    def end(self) -> int:
        return self.start + utf16_length(self.there)


def mistake_of(expression: str, message: str) -> Mistake | None:
    """None: the message names no place, or one that the expression does not have."""
    found = POSITION.fullmatch(message)
    if found is None:
        return None
    line, column = int(found[1]), int(found[2])
    lines = expression.split("\n")
    if not (1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1):
        return None
    offset = sum(len(text) + 1 for text in lines[: line - 1]) + column - 1
    marked = MARKED.match(expression, offset)
    end = marked.end() if marked else offset
    return Mistake(line, column, found[3], expression[:offset], expression[offset:end], expression[end:])


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
