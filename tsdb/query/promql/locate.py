"""Where an expression goes wrong: the parser library says what is wrong, but not where.

A prefix of tokens is viable if some completion of it parses. Viability only ever ends, so the first token that ends it
is found by bisection with a handful of completions for each prefix.
"""

from __future__ import annotations

import re

import promql_parser

from tsdb.query.promql.complaints import COMPARISONS, complaint
from tsdb.query.promql.guard import WORD_OPERATORS, Token, position
from tsdb.query.promql.labels import quoted

CLOSERS = {"(": ")", "[": "]", "{": "}"}
# What may follow a prefix: something before the closing brackets that it lacks, and something after them.
COMPLETIONS = (
    ("", ""),
    (" x", ""),
    (" 1", ""),
    ("1m", ""),
    ('"x"', ""),
    ('="x"', ""),
    ('x="x"', ""),
    ("()", ""),
    ("(x)", ""),
    ("(x)(x)", ""),
    ("(x[1m])", ""),
    (" 1,x", ""),
    ("", " x"),
    ("", "(x)"),
    ("x", "(x)"),
    ("", "[1m]"),
)
MATCH_OPERATORS = ("=", "!=", "=~", "!~")
OFFSET = "in offset, expected number or duration"
KEYWORDS = frozenset(
    {"bool", "by", "end", "fill", "fill_left", "fill_right", "group_left", "group_right", "ignoring", "offset", "on"}
    | {"start", "without"}
)
AGGREGATIONS = frozenset(
    {"avg", "bottomk", "count", "count_values", "group", "limitk", "limit_ratio", "max", "min", "quantile", "stddev"}
    | {"stdvar", "sum", "topk"}
)
# Bisecting takes some 150 parses, whose time grows with the square of the operators: 0.1 s at this many tokens.
TOKEN_COUNT_MAX = 200
SHOWN_CHARACTERS_MAX = 10  # Of a number or a text in a complaint, as in Prometheus.
# What the parser says when grammar, not meaning, is at fault.
GRAMMAR_ERRORS = ("invalid promql query",)


def error_text(expression: str, tokens: list[Token], message: str) -> str:
    """The text of a parse error, as Prometheus begins it: `line:column: parse error: …`."""
    if message.startswith("no expression found"):
        return "unknown position: parse error: no expression found in input"
    if len(tokens) <= TOKEN_COUNT_MAX and (known := complaint(expression, tokens, message)):
        return f"{position(expression, known.offset)}: parse error: {known.text}"
    if message not in GRAMMAR_ERRORS and not message.startswith("unexpected "):
        return f"{position(expression, _culprit(tokens, message))}: parse error: {_reworded(message)}"
    if len(tokens) > TOKEN_COUNT_MAX:
        return f"unknown position: parse error: {_reworded(message)}"
    at = min(_viable_count(expression, tokens), _first_wrong_bool(tokens))
    if at == len(tokens):
        where, what = len(expression), "unexpected end of input"
    else:
        where, what = tokens[at].start, f"unexpected {described(tokens[at])}"
    what = _reworded(message) if message not in GRAMMAR_ERRORS else what + _where(tokens[:at])
    return f"{position(expression, where)}: parse error: {what}"


def _first_wrong_bool(tokens: list[Token]) -> int:
    """The library takes `bool` for a name wherever one may stand; it is a word of comparisons alone."""
    for at, token in enumerate(tokens):
        if token.text.lower() == "bool" and token.kind == "word" and (not at or tokens[at - 1].text not in COMPARISONS):
            is_label = at and tokens[at - 1].text in ("{", ",", "(")
            if not is_label:
                return at
    return len(tokens)


def _where(before: list[Token]) -> str:
    """What the grammar was in the middle of when it met something else, and what may stand there."""
    words = ["", "", *(token.text.lower() for token in before)]
    if words[-1] == "@" or (words[-2] == "@" and words[-1] in ("start", "end")):
        return " in @, expected timestamp"
    if words[-1] in MATCH_OPERATORS and words.count("{") > words.count("}"):
        return " in label matching, expected string"
    if before and before[-1].kind == "string" and words[-2] in MATCH_OPERATORS:
        return ' in label matching, expected "," or "}"'
    return ""


def _viable_count(expression: str, tokens: list[Token]) -> int:
    """How many tokens from the start can still become an expression."""
    low, high = 0, len(tokens)  # The prefix of `low` tokens is viable, that of `high` + 1 tokens is not.
    while low < high:
        middle = (low + high + 1) // 2
        if _is_viable(expression, tokens, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _reworded(message: str) -> str:
    """The library's complaint in Prometheus' words."""
    message = re.sub(r"'([A-Za-z_]\w+)'", r'"\1"', message).replace("in offset, expected duration", OFFSET)
    message = re.sub(r"identifier '(\w)'", r'identifier "\1"', message)
    message = re.sub(r"\bvector\b(?=$| in call| in agg)", "instant vector", message)
    return re.sub(r"\bmatrix\b", "range vector", message)


def _is_viable(expression: str, tokens: list[Token], count: int) -> bool:
    prefix = expression[: tokens[count].start].rstrip() if count < len(tokens) else expression
    open_brackets: list[str] = []
    for token in tokens[:count]:
        if token.text in CLOSERS:
            open_brackets.append(token.text)
        elif token.kind == "bracket" and open_brackets:
            open_brackets.pop()
    closing = "".join(CLOSERS[bracket] for bracket in reversed(open_brackets))
    return any(_is_grammatical(prefix + inside + closing + after) for inside, after in COMPLETIONS)


def _is_grammatical(text: str) -> bool:
    """Whether the text parses, or fails only for what it means."""
    try:
        promql_parser.parse(text)
    except ValueError as error:
        reason = str(error)
        return reason not in GRAMMAR_ERRORS and not reason.startswith(("un", "bad", "no expression"))
    return True


def _culprit(tokens: list[Token], message: str) -> int:
    """Where a complaint about meaning points: at the first word that the message quotes, else at the start."""
    if message.startswith("unclosed"):
        return tokens[-1].start + len(tokens[-1].text)
    if message.startswith("unterminated"):  # The lexer saw whole texts as such; a quote by itself opens one for ever.
        return next((token.start for token in tokens if token.kind == "other" and token.text in "\"'`"), 0)
    for token in tokens:
        if token.kind == "number" and message.startswith("duration") and not re.search("[1-9]", token.text):
            return token.start
        if token.kind != "string" and f"'{token.text}'" in message:
            return token.start
    return tokens[0].start if tokens else 0


def described(token: Token) -> str:
    """A token as Prometheus' complaints name it."""
    text = token.text.lower()
    if text in KEYWORDS:
        return f"<{text}>"
    if text in AGGREGATIONS:
        return f"<aggr:{text}>"
    if token.kind == "operator" or text in WORD_OPERATORS:
        return f"<op:{text}>"
    if token.kind == "word":
        return f"identifier {quoted(token.text[:80])}"
    shown = quoted(token.text) if len(token.text) <= SHOWN_CHARACTERS_MAX else f"{quoted(token.text[:10])}..."
    return f"{token.kind} {shown}" if token.kind in ("number", "string") else shown
