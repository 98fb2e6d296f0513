"""What is wrong with an expression that is made of the right words, in the words and at the place of Prometheus.

The parser library says what is wrong, in words of its own, and not where. Each of its complaints that Prometheus words
or places otherwise has a row in RULES: a pattern, and the function that finds the place among the tokens.

Source: promql/parser/{lex.go,parse.go,generated_parser.y} of Prometheus 3.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import promql_parser

from tsdb import regex
from tsdb.errors import RefusedQuery
from tsdb.query.promql.guard import WORD_OPERATORS, Token
from tsdb.query.promql.labels import quoted

CLAUSES = frozenset({"by", "without"})
MODIFIERS = frozenset({"bool", "fill", "fill_left", "fill_right", "group_left", "group_right", "ignoring", "on"})
COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
PRECEDENCE = {"or": 1, "and": 2, "unless": 2, **dict.fromkeys(COMPARISONS, 3), "+": 4, "-": 4}
PRECEDENCE_OF_PRODUCTS = 5
PRECEDENCE_OF_POWERS = 6  # Of operators, the only one that binds to the right.
WORD_BY_TYPE = {"vector": "instant vector", "matrix": "range vector"}
# What RE2 says, and Go's regexp of the same.
GO_WORDS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid named capture group": "invalid named capture",
    "bad repetition operator": "invalid nested repetition operator",
    "trailing \\": "trailing backslash at end of expression",
}
HEX_DIGITS_BY_ESCAPE = {"x": 2, "u": 4, "U": 8}
ONE_LETTER_ESCAPES = frozenset("abfnrtv\\")


class Complaint(NamedTuple):
    """offset: of the character in the expression to which it points."""

    offset: int
    text: str


class _Asked(NamedTuple):
    expression: str
    tokens: Sequence[Token]
    found: re.Match[str]

    def end(self, number: int) -> int:
        """Where the token ends in the text."""
        return self.tokens[number].start + len(self.tokens[number].text)

    def type_of(self, first: int, last: int) -> str:
        """The type of the expression that these tokens are, the last included; "" if they are none by themselves."""
        try:
            return _type(promql_parser.parse(self.expression[self.tokens[first].start : self.end(last)]))
        except (ValueError, IndexError):
            return ""


def complaint(expression: str, tokens: Sequence[Token], message: str) -> Complaint | None:
    """The library's complaint as Prometheus has it; None, if no rule knows it."""
    for pattern, rule in RULES:
        if found := pattern.fullmatch(message):
            return rule(_Asked(expression, tokens, found))
    return None


def _type(tree: Any) -> str:
    match tree:
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return _type(tree.expr)
        case promql_parser.NumberLiteral():
            return "scalar"
        case promql_parser.StringLiteral():
            return "string"
        case promql_parser.MatrixSelector() | promql_parser.SubqueryExpr():
            return "matrix"
        case promql_parser.Call():
            return str(tree.func.return_type).rpartition(".")[2].lower()
        case promql_parser.BinaryExpr():
            return "scalar" if _type(tree.lhs) == _type(tree.rhs) == "scalar" else "vector"
    return "vector"


def _calls(tokens: Sequence[Token], name: str | None) -> Iterator[list[tuple[int, int]]]:
    """The first and the last token of each argument, of every call in the order of the text. name: None for any."""
    for at, token in enumerate(tokens[:-1]):
        if token.kind != "word" or (name is not None and token.text.lower() != name):
            continue
        opening = at + 1
        if tokens[opening].text.lower() in CLAUSES:
            opening = _closing(tokens, opening + 1) + 1
        if opening < len(tokens) and tokens[opening].text == "(":
            yield _arguments(tokens, opening)


def _closing(tokens: Sequence[Token], opening: int) -> int:
    """The number of the token that closes a bracket."""
    depth = 0
    for at in range(opening, len(tokens)):
        if tokens[at].kind == "bracket":
            depth += 1 if tokens[at].text in "([{" else -1
        if depth <= 0:
            return at
    return len(tokens)


def _arguments(tokens: Sequence[Token], opening: int) -> list[tuple[int, int]]:
    end, depth, first = _closing(tokens, opening), 0, opening + 1
    found = []
    for at in range(opening + 1, min(end + 1, len(tokens))):
        if (tokens[at].text == "," and depth == 0) or at == end:
            if at > first:
                found.append((first, at - 1))
            first = at + 1
        elif tokens[at].kind == "bracket":
            depth += 1 if tokens[at].text in "([{" else -1
    return found


def _argument_type(asked: _Asked) -> Complaint | None:
    expected, name, got = asked.found.groups()
    words = (
        f"expected type {WORD_BY_TYPE.get(expected, expected)} in call to function {quoted(name)}, "
        f"got {WORD_BY_TYPE.get(got, got)}"
    )
    for arguments in _calls(asked.tokens, name):
        for first, last in arguments:
            if asked.type_of(first, last) == got:
                return Complaint(asked.tokens[first].start, words)
    return None


def _aggregated_type(asked: _Asked) -> Complaint | None:
    expected, got = asked.found.groups()
    is_parameter = expected != "vector"
    words = (
        f"expected type {WORD_BY_TYPE.get(expected, expected)} in aggregation "
        f"{'parameter' if is_parameter else 'expression'}, got {WORD_BY_TYPE.get(got, got)}"
    )
    for arguments in _calls(asked.tokens, None):
        if arguments and (len(arguments) == 2 or not is_parameter):
            first, last = arguments[0 if is_parameter else -1]
            if asked.type_of(first, last) == got:
                return Complaint(asked.tokens[first].start, words)
    return None


def _precedence(token: Token) -> int:
    """Of an operator between two operands; 0 for what is none."""
    if token.kind != "operator" and token.text.lower() not in WORD_OPERATORS:
        return 0
    text = token.text.lower()
    return PRECEDENCE_OF_POWERS if text == "^" else PRECEDENCE.get(text, PRECEDENCE_OF_PRODUCTS)


def _operands(tokens: Sequence[Token], at: int) -> tuple[int, int]:
    """The first token of what is to the left of an operator, and the last of what is to the right."""
    own = _precedence(tokens[at])
    first, last = at, at
    depth = 0
    for left in range(at - 1, -1, -1):
        token = tokens[left]
        if token.kind == "bracket":
            depth += 1 if token.text in ")]}" else -1
        if depth < 0 or (depth == 0 and (token.text == "," or 0 < _precedence(token) < own)):
            break
        first = left
    depth = 0
    for right in range(at + 1, len(tokens)):
        token = tokens[right]
        if token.kind == "bracket":
            depth += 1 if token.text in "([{" else -1
        is_sign = _precedence(tokens[right - 1]) > 0
        ends = token.text == "," or (not is_sign and 0 < _precedence(token) <= own)
        if depth < 0 or (depth == 0 and ends):
            break
        last = right
    return first, last


def _after_modifiers(tokens: Sequence[Token], at: int) -> int:
    """Where the right operand begins: behind `bool`, `on (…)`, `group_left (…)`."""
    right = at + 1
    while right < len(tokens) and tokens[right].text.lower() in MODIFIERS:
        right += 1
        if right < len(tokens) and tokens[right].text == "(":
            right = _closing(tokens, right) + 1
    return right


def _set_operator(asked: _Asked) -> Complaint | None:
    name = asked.found[1]
    for at, token in enumerate(asked.tokens):
        if token.text.lower() != name:
            continue
        first, last = _operands(asked.tokens, at)
        right = _after_modifiers(asked.tokens, at)
        if {asked.type_of(first, at - 1), asked.type_of(right, last)} != {"vector"}:
            words = f"set operator {quoted(name)} not allowed in binary scalar expression"
            return Complaint(asked.tokens[first].start, words)
    return None


def _comparison(asked: _Asked) -> Complaint | None:
    for at, token in enumerate(asked.tokens[:-1]):
        if token.text not in COMPARISONS or asked.tokens[at + 1].text.lower() == "bool":
            continue
        first, last = _operands(asked.tokens, at)
        if asked.type_of(first, at - 1) == asked.type_of(at + 1, last) == "scalar":
            return Complaint(token.start, asked.found[0])
    return None


def _range(asked: _Asked) -> Complaint | None:
    """Ranges of what may have none: the complaint points to the bracket that opens the range."""
    tokens = asked.tokens
    for at in range(1, len(tokens)):
        if tokens[at].text != "[" or any(token.text == ":" for token in tokens[at : _closing(tokens, at)]):
            continue
        is_selector = tokens[at - 1].kind == "word" or tokens[at - 1].text == "}"
        if not is_selector:
            return Complaint(tokens[at].start, asked.found[0])
    return None


def _number(asked: _Asked) -> Complaint | None:
    """The complaint quotes what was read of the number, and not the letters behind that make it wrong."""
    text = asked.found[1]
    place = next((token.start for token in asked.tokens if token.text.startswith(text)), None)
    number = re.match(r"0[xX][0-9a-fA-F]*|\d*\.?\d*(?:[eE][+-]?\d+)?", text)
    if place is None or number is None:
        return None
    rest = re.compile(r"[smhdwy]s?(?:\d+[smhdw]s?)*(\d+)?").match(text, number.end())
    end = number.end()
    if rest is not None:
        end = rest.end() + (0 if rest[1] else 1)  # Behind a whole duration, the letter is read that tells it is none.
    return Complaint(place, f"bad number or duration syntax: {quoted(text[:end])}")


def _right_parenthesis(asked: _Asked) -> Complaint | None:
    depth = 0
    for at, token in enumerate(asked.tokens):
        if token.kind == "bracket" and token.text in "()":
            depth += 1 if token.text == "(" else -1
        if depth < 0:
            return Complaint(asked.end(at), asked.found[0])
    return None


def _pattern(asked: _Asked) -> Complaint | None:
    for name, operator, value in zip(asked.tokens, asked.tokens[1:], asked.tokens[2:], strict=False):
        if operator.text not in ("=~", "!~") or value.kind != "string":
            continue
        try:
            tree: Any = promql_parser.parse(value.text)
            regex.compiled(str(tree.val))
        except RefusedQuery as error:
            reason, _, part = str(error).partition(" is wrong: ")[2].partition(": ")
            return Complaint(name.start, f"error parsing regexp: {GO_WORDS.get(reason, reason)}: `{part}`")
        except ValueError:
            return None
    return None


def _escape(asked: _Asked) -> Complaint | None:
    """A string with an escape that is none; points to the string."""
    for token in asked.tokens:
        if token.kind == "string" and token.text[0] != "`" and (words := escape_complaint(token.text)):
            return Complaint(token.start, words)
    return None


def escape_complaint(text: str) -> str | None:
    """What is wrong with the first wrong escape of a string in its quotes; None, if all are right."""
    quote, at = text[0], 1
    while at < len(text) - 1:
        if text[at] != "\\":
            at += 1
            continue
        letter = text[at + 1]
        at += 2
        if letter in ONE_LETTER_ESCAPES or letter == quote:
            continue
        digits, base = HEX_DIGITS_BY_ESCAPE.get(letter, 0), "0123456789abcdefABCDEF"
        if letter in "01234567":
            at, digits, base = at - 1, 3, "01234567"
        if not digits:
            return f"unknown escape sequence {_code_point(letter)}"
        for character in text[at : at + digits]:
            if character not in base:
                return f"illegal character {_code_point(character)} in escape sequence"
        at += digits
    return None


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X} '{character}'"


def _open_bracket(asked: _Asked) -> Complaint | None:
    """The text ends within a range: in Prometheus the length, and what follows the colon, are read by two readers."""
    open_brackets: list[int] = []
    for at, token in enumerate(asked.tokens):
        if token.kind == "bracket":
            if token.text in "([{":
                open_brackets.append(at)
            elif open_brackets:
                open_brackets.pop()
    if not open_brackets or asked.tokens[open_brackets[-1]].text != "[":
        return None
    has_colon = any(token.text == ":" for token in asked.tokens[open_brackets[-1] :])
    words = "unexpected end of input in duration expression"
    if has_colon:
        is_in_call = any(asked.tokens[at].text == "(" for at in open_brackets)
        words = f"unclosed left {'parenthesis' if is_in_call else 'bracket'}"
    return Complaint(len(asked.expression), words)


RULES: Sequence[tuple[re.Pattern[str], Callable[[_Asked], Complaint | None]]] = tuple(
    (re.compile(pattern, re.DOTALL), rule)
    for pattern, rule in (
        (r"expected type (\w+) in call to function '(\w+)', got (\w+)", _argument_type),
        (r"expected type (\w+) in aggregation expression, got (\w+)", _aggregated_type),
        (r"set operator '(\w+)' not allowed in binary scalar expression", _set_operator),
        (r"comparisons between scalars must use BOOL modifier", _comparison),
        (r"ranges only allowed for vector selectors", _range),
        (r"no (?:offset|@) modifiers allowed before range", _range),
        (r"bad number or duration syntax: (.+)", _number),
        (r"unexpected right parenthesis '\)'", _right_parenthesis),
        (r"illegal regex for .*", _pattern),
        (r"invalid syntax|unknown escape sequence .*", _escape),
        (r"unexpected end of input inside brackets|expect duration before first colon\(:\) in brackets", _open_bracket),
    )
)
