"""A linear look at an expression before it meets the parser, whose stack and time grow with nesting and operators.

The parser is a library in Rust: 30 KB of brackets or of `or` overflow its stack, which ends the process and not just
the query, and 18 KB take seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from tsdb.errors import NotSupported, RefusedQuery

LENGTH_BYTES_MAX = 16 * 1024
NESTING_MAX = 100
OPERATOR_COUNT_MAX = 1_000

TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?:[a-z]+\d*)*)
      | (?P<word>[A-Za-z_][\w:]*|:[A-Za-z_:][\w:]*)
      | (?P<operator>==|!=|<=|>=|=~|!~|[-+*/%^<>=@])
      | (?P<bracket>[()\[\]{}])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
DURATION_OPERATORS = frozenset("(+-*/%^")
WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})
# A string escape for a byte outside ASCII: Prometheus means the byte, the parser reads a character.
BYTE_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\(?:x[89a-fA-F]|[23][0-7]{2})")


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    start: int


def scan(expression: str) -> list[Token]:
    """The tokens of an expression without blanks and comments.

    Raises: RefusedQuery, when it is longer, deeper or busier than the parser can take; NotSupported, for what the
    parser would read wrongly.
    """
    size = len(expression.encode("utf-8", "surrogatepass"))
    if size > LENGTH_BYTES_MAX:
        raise RefusedQuery(
            f"the expression has {size:,} bytes of at most {LENGTH_BYTES_MAX:,}; split it into recording rules"
        )
    tokens: list[Token] = []
    depth = operator_count = 0
    for match in TOKEN.finditer(expression):
        kind, text = str(match.lastgroup), match.group()
        if kind == "space":
            continue
        if kind == "bracket":
            depth += 1 if text in "([{" else -1
        elif kind == "operator" or text in WORD_OPERATORS:
            operator_count += 1
        if depth > NESTING_MAX:
            _refuse(expression, match.start(), f"brackets are nested deeper than {NESTING_MAX}")
        if operator_count > OPERATOR_COUNT_MAX:
            _refuse(expression, match.start(), f"there are more than {OPERATOR_COUNT_MAX:,} operators")
        tokens.append(Token(kind, text, match.start()))
    _refuse_misread(tokens)
    return tokens


def _refuse_misread(tokens: list[Token]) -> None:
    """Forms that the parser accepts with another meaning than Prometheus gives them."""
    for index, token in enumerate(tokens):
        if token.text == "@" and index + 1 < len(tokens) and tokens[index + 1].text == "-":
            raise NotSupported("@ with a time before 1970")  # The library panics.
        if token.kind == "string" and token.text[0] != "`" and BYTE_ESCAPE.search(token.text):
            raise NotSupported(f"the byte escape in {token.text[:40]}")


def refuse_unbuilt(tokens: list[Token]) -> None:
    """Of an expression that does not parse: name the grammar of newer Prometheus versions that it seems to use.

    Raises: NotSupported, if it does.
    """
    in_range = False
    depth = 0  # Of round brackets within a range.
    for index, token in enumerate(tokens):
        before, text = tokens[index - 1].text.lower() if index else "", token.text.lower()
        is_arithmetic = token.kind == "word" or text in DURATION_OPERATORS
        if in_range and text in ("(", ")"):
            depth += 1 if text == "(" else -1
        if text in ("[", "]") or depth < 0:  # One that was never closed ends with the call around it.
            in_range, depth = text == "[", 0
        elif text in ("anchored", "smoothed") and before not in ("", "(", "{", ","):
            raise NotSupported(f"the modifier {text}")
        elif is_arithmetic and (in_range or (before == "offset" and text != "-")):
            raise NotSupported("arithmetic in durations")
        elif index and tokens[index - 1].kind == "number" and re.match(r"_\d", text):
            raise NotSupported("_ within numbers")
    if any(token.text == "-" and after.kind != "number" for token, after in _after_offset(tokens)):
        raise NotSupported("arithmetic in durations")


def _after_offset(tokens: list[Token]) -> list[tuple[Token, Token]]:
    """The two tokens after every `offset`."""
    return [
        (first, second)
        for word, first, second in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if word.text.lower() == "offset"
    ]


def position(expression: str, offset: int) -> str:
    """`line:column`, both from 1, as Prometheus gives them; the column counts characters."""
    line = expression.count("\n", 0, offset) + 1
    return f"{line}:{offset - (expression.rfind(chr(10), 0, offset) + 1) + 1}"


def _refuse(expression: str, offset: int, message: str) -> NoReturn:
    raise RefusedQuery(f"{position(expression, offset)}: parse error: {message}")
