"""What may follow at one place of an expression that is being written: which words are wanted, and what narrows them.

Pure: it reads the text before the cursor, and leaves the look-up of names to its caller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from tsdb.sample import METRIC_NAME, Matcher, MatchOp

PIECE = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<open>["'`].*)
      | (?P<number>\d[\w.]*)
      | (?P<word>[A-Za-z_:][\w:.]*)
      | (?P<operator>=~|!~|!=|==|>=|<=)
      | (?P<other>\S)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
CLOSERS = {")": "(", "]": "[", "}": "{"}
MATCH_OPERATORS = frozenset(op.value for op in MatchOp)
GROUPING_WORDS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
JOINING = ("and", "or", "unless", "offset ")  # After an operand.
GROUPING = ("by (", "without (")  # After an aggregation.
SPREADING = ("group_left (", "group_right (")  # After `on (…)` and `ignoring (…)`.
MATCHING = ("on (", "ignoring (")  # After an operator.
RESERVED = frozenset(word.rstrip(" (") for word in (*JOINING, *GROUPING, *SPREADING, *MATCHING)) | {"bool", "atan2"}
OPERATORS = frozenset({*"+-*/%^<>", "==", "!=", ">=", "<=", "atan2", "and", "or", "unless"})
CALLING = frozenset({"(", "by", "without"})  # What follows a function or an aggregation, but no metric.
DURATIONS = ("1m", "5m", "15m", "30m", "1h", "6h", "1d", "7d")


class Wanted(StrEnum):
    """What may stand at a place."""

    NOTHING = "nothing"
    OPERAND = "operand"  # A metric, a function or an aggregation.
    KEYWORD = "keyword"  # What joins two operands, or follows one.
    LABEL = "label"  # The name of a label in a list, as after `by (`.
    MATCHED_LABEL = "matched label"  # The name of a label in braces.
    VALUE = "value"  # The value of a label.
    DURATION = "duration"


@dataclass(frozen=True, slots=True)
class Place:
    """One place of an expression."""

    wanted: Wanted
    word: str = ""  # What of it is already there.
    start: int = 0  # Where the word begins.
    label: str = ""  # Whose value is wanted.
    previous: str = ""  # What stands before the word.
    quote: str = ""  # The quote that opens the value; empty: it is still to be written.
    selectors: list[list[Matcher]] = field(default_factory=list)  # Any of these narrows the names; none: all of them.


@dataclass(frozen=True, slots=True)
class Piece:
    kind: str
    text: str
    start: int


def place_of(head: str, tail: str = "") -> Place:
    """The place between two parts of an expression."""
    pieces = [Piece(str(found.lastgroup), found[0], found.start()) for found in PIECE.finditer(head)]
    if pieces and pieces[-1].kind == "comment":
        return Place(Wanted.NOTHING)
    last = pieces[-1] if pieces else None
    word, start = "", len(head)
    if last is not None and last.start + len(last.text) == len(head) and last.kind in ("word", "number", "open"):
        word, start = last.text, last.start
        pieces = pieces[:-1]
    opener = _innermost(pieces)
    bracket = pieces[opener].text if opener is not None else ""
    if bracket == "{" and opener is not None:
        return _in_braces(pieces, opener, word, start)
    if word[:1] in ('"', "'", "`") and word:
        return Place(Wanted.NOTHING)
    if bracket == "[":
        return Place(Wanted.DURATION if pieces[-1].text in ("[", ":") else Wanted.NOTHING, word, start)
    before = pieces[opener - 1].text if opener else ""
    if bracket == "(" and before in GROUPING_WORDS:
        metrics = metrics_of(head[:start] + " " + tail)
        return Place(Wanted.LABEL, word, start, selectors=[[_is(METRIC_NAME, name)] for name in metrics])
    if word[:1].isdigit():
        return Place(Wanted.NOTHING)
    return Place(_operand_or_keyword(pieces, word), word, start, previous=pieces[-1].text if pieces else "")


def _operand_or_keyword(pieces: list[Piece], word: str) -> Wanted:
    if not pieces:
        return Wanted.OPERAND
    previous = pieces[-1]
    if previous.kind == "word" and previous.text not in RESERVED:
        return Wanted.KEYWORD
    if previous.kind in ("number", "string") or previous.text in CLOSERS:
        return Wanted.KEYWORD if word or previous.text in CLOSERS else Wanted.NOTHING
    return Wanted.OPERAND


def _innermost(pieces: list[Piece]) -> int | None:
    """The index of the bracket that is open at the end."""
    opened: list[int] = []
    for index, piece in enumerate(pieces):
        if piece.text in CLOSERS.values() and piece.kind == "other":
            opened.append(index)
        elif opened and piece.kind == "other" and CLOSERS.get(piece.text) == pieces[opened[-1]].text:
            opened.pop()
    return opened[-1] if opened else None


def _in_braces(pieces: list[Piece], opener: int, word: str, start: int) -> Place:
    """Between `{` and `}`: a label's name or its value, narrowed by the metric and the matchers that are complete."""
    inside = pieces[opener + 1 :]
    known = [_is(METRIC_NAME, pieces[opener - 1].text)] if opener and pieces[opener - 1].kind == "word" else []
    for index, piece in enumerate(inside):
        following = inside[index + 1].text if index + 1 < len(inside) else ""
        if piece.kind != "string" or following in MATCH_OPERATORS:
            continue
        if index >= 2 and inside[index - 1].text in MATCH_OPERATORS:
            label, op = _label(inside[index - 2]), MatchOp(inside[index - 1].text)
            known.append(Matcher(label, op, _unquoted(piece.text)))
        elif index == 0 or inside[index - 1].text == ",":
            known.append(_is(METRIC_NAME, _unquoted(piece.text)))
    selectors = [known] if known else []
    previous = inside[-1].text if inside else "{"
    if previous in MATCH_OPERATORS and len(inside) >= 2:
        quote = word[:1] if word[:1] in ('"', "'", "`") else ""
        at = start + len(quote)
        return Place(Wanted.VALUE, word[len(quote) :], at, label=_label(inside[-2]), quote=quote, selectors=selectors)
    if previous in ("{", ",") and not word.startswith(('"', "'", "`")):
        return Place(Wanted.MATCHED_LABEL, word, start, selectors=selectors)
    return Place(Wanted.NOTHING)


def metrics_of(expression: str) -> list[str]:
    """The words of an expression that are neither called nor reserved, nor in brackets of labels: metric names.

    So is a text in braces that belongs to no label, or to `__name__`.
    """
    pieces = [Piece(str(found.lastgroup), found[0], found.start()) for found in PIECE.finditer(expression)]
    names: dict[str, None] = {}
    is_label = False
    for index, piece in enumerate(pieces):
        following = pieces[index + 1].text if index + 1 < len(pieces) else ""
        before = [earlier.text for earlier in pieces[max(0, index - 2) : index]]
        if piece.kind == "string" and is_label and following not in MATCH_OPERATORS:
            if before[-1:] in (["{"], [","]) or before == [METRIC_NAME, "="]:
                names[_unquoted(piece.text)] = None
            continue
        if piece.text == "{" or (piece.text == "(" and index and pieces[index - 1].text in GROUPING_WORDS):
            is_label = True
        elif piece.text in ("}", ")"):
            is_label = False
        elif piece.kind == "word" and not is_label and piece.text not in RESERVED and following not in CALLING:
            names[piece.text] = None
    return list(names)


def _is(name: str, value: str) -> Matcher:
    return Matcher(name, MatchOp.EQUAL, value)


def _label(piece: Piece) -> str:
    """The name of a label: one that is no plain word stands in quotes."""
    return _unquoted(piece.text) if piece.kind == "string" else piece.text


def _unquoted(text: str) -> str:
    body = text[1:-1]
    return body if text.startswith("`") else re.sub(r"\\(.)", r"\1", body)
