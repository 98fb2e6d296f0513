"""Text → nodes. Refused by name is what Prometheus' rules cannot have: definitions of further templates."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

NODE_COUNT_MAX = 10_000
NESTING_MAX = 50

# Possessive throughout: what was read as a text is not tried again as its letters, which doubles with each text.
_ACTION = re.compile(
    r"\{\{(?P<left>-\s)?(?P<body>\s*+/\*.*?\*/|(?>\"(?:[^\"\\\n]|\\.)*+\"|`[^`]*+`|(?!\s-\}\}|\}\}).)*+)"
    r"(?P<right>\s-)?\}\}",
    re.DOTALL,
)
_TOKEN = re.compile(
    r"""\s+
      | (?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))
      | (?P<variable>\$\w*)
      | (?P<field>\.\w+)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>:=|[|()=.,])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class BadTemplate(Exception):
    """A text that is no template; says what is wrong with which action."""


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Constant:
    value: object


@dataclass(frozen=True, slots=True)
class Access:
    """A variable, the dot ("."), or a pipeline in brackets, and the fields that are taken of it."""

    base: str | Pipeline
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    name: str


Operand = Constant | Access | Function


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands, each a function or a value with its arguments; the value of one is the last argument of the next."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()  # That are given its value; two in a `range`.
    is_declared: bool = False


@dataclass(slots=True)
class Branch:
    """if, with or range."""

    word: str
    pipeline: Pipeline
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Jump:
    """break or continue."""

    word: str


Node = Text | Pipeline | Branch | Jump


def parse(text: str) -> list[Node]:
    """Raises: BadTemplate."""
    return _Parser(text).nodes


class _Parser:
    def __init__(self, text: str) -> None:
        self.nodes: list[Node] = []
        self._open: list[tuple[Branch, bool]] = []  # And whether an `else if` opened it, which shares its `end`.
        self._target = self.nodes
        self._count = 0
        at, trims = 0, False
        while (start := text.find("{{", at)) >= 0:
            match = _ACTION.match(text, start)
            if match is None:
                raise BadTemplate(f"unclosed action: {text[start : start + 60]!r}")
            self._add_text(text[at:start], trims_left=trims, trims_right=bool(match["left"]))
            if not match["body"].strip().startswith("/*"):
                self._action(match["body"].strip())
            at, trims = match.end(), bool(match["right"])
        self._add_text(text[at:], trims_left=trims, trims_right=False)
        if self._open:
            raise BadTemplate(f"unexpected end: {self._open[-1][0].word} without end")

    def _add_text(self, text: str, *, trims_left: bool, trims_right: bool) -> None:
        text = text.lstrip() if trims_left else text
        text = text.rstrip() if trims_right else text
        if text:
            self._add(Text(text))

    def _add(self, node: Node) -> None:
        self._count += 1
        if self._count > NODE_COUNT_MAX:
            raise BadTemplate(f"more than {NODE_COUNT_MAX:,} actions")
        self._target.append(node)

    def _action(self, body: str) -> None:
        word, _, rest = body.partition(" ")
        if word in ("if", "with", "range"):
            self._begin(Branch(word, pipeline_of(rest)), shares_end=False)
        elif word == "else":
            self._otherwise(rest.strip())
        elif body == "end":
            self._end()
        elif body in ("break", "continue"):
            if not any(branch.word == "range" for branch, _ in self._open):
                raise BadTemplate(f"{body} outside of range")
            self._add(Jump(body))
        elif word in ("define", "template", "block"):
            raise BadTemplate(f"{word} is not supported: a rule's templates stand alone")
        else:
            self._add(pipeline_of(body))

    def _begin(self, branch: Branch, *, shares_end: bool) -> None:
        if len(self._open) >= NESTING_MAX:
            raise BadTemplate(f"actions are nested deeper than {NESTING_MAX}")
        self._add(branch)
        self._open.append((branch, shares_end))
        self._target = branch.body

    def _otherwise(self, rest: str) -> None:
        if not self._open or self._target is self._open[-1][0].otherwise:
            raise BadTemplate("unexpected else")
        branch = self._open[-1][0]
        self._target = branch.otherwise
        if rest:
            word, _, condition = rest.partition(" ")
            if word not in ("if", "with"):
                raise BadTemplate(f"unexpected {word!r} after else")
            self._begin(Branch(word, pipeline_of(condition)), shares_end=True)

    def _end(self) -> None:
        if not self._open:
            raise BadTemplate("unexpected end")
        while self._open.pop()[1]:
            pass
        if not self._open:
            self._target = self.nodes
            return
        branch = self._open[-1][0]
        # An else is open where the branch that ends stands in it.
        self._target = branch.otherwise or branch.body


def pipeline_of(text: str) -> Pipeline:
    """Raises: BadTemplate."""
    tokens = [(str(match.lastgroup), match.group()) for match in _TOKEN.finditer(text) if match.lastgroup]
    found, at = _pipeline(text, tokens, 0, 0)
    if at != len(tokens):
        raise BadTemplate(f"unexpected {tokens[at][1]!r} in {text[:60]!r}")
    return found


Tokens = list[tuple[str, str]]


def _pipeline(text: str, tokens: Tokens, at: int, depth: int) -> tuple[Pipeline, int]:
    if depth > NESTING_MAX:
        raise BadTemplate(f"brackets are nested deeper than {NESTING_MAX}")
    variables, is_declared, at = _variables(tokens, at)
    commands: list[tuple[Operand, ...]] = []
    while True:
        operands: list[Operand] = []
        while at < len(tokens) and tokens[at][1] not in ("|", ")"):
            operand, at = _operand(text, tokens, at, depth)
            operands.append(operand)
        if not operands:
            raise BadTemplate(f"missing value in {text[:60]!r}")
        if len(operands) > 1 and not isinstance(operands[0], Function):
            raise BadTemplate(f"can't give argument to non-function in {text[:60]!r}")
        if commands and not isinstance(operands[0], Function):
            raise BadTemplate(f"non executable command in pipeline stage {len(commands) + 1} of {text[:60]!r}")
        commands.append(tuple(operands))
        if at < len(tokens) and tokens[at][1] == "|":
            at += 1
            continue
        return Pipeline(tuple(commands), variables, is_declared), at


def _variables(tokens: Tokens, at: int) -> tuple[tuple[str, ...], bool, int]:
    """`$x :=`, `$x =` and `$i, $x :=` in front of a pipeline."""
    names: list[str] = []
    look = at
    while look < len(tokens) and tokens[look][0] == "variable":
        names.append(tokens[look][1])
        look += 1
        if look < len(tokens) and tokens[look][1] == ",":
            look += 1
            continue
        if look < len(tokens) and tokens[look][1] in (":=", "="):
            return tuple(names), tokens[look][1] == ":=", look + 1
        break
    return (), False, at


def _operand(text: str, tokens: Tokens, at: int, depth: int) -> tuple[Operand, int]:
    kind, word = tokens[at]
    if kind == "text":
        return Constant(_unquoted(word)), at + 1
    if kind == "number":
        return Constant(_number(word)), at + 1
    if kind == "word":
        constants = {"true": True, "false": False, "nil": None}
        return (Constant(constants[word]) if word in constants else Function(word)), at + 1
    if word == "(":
        inner, at = _pipeline(text, tokens, at + 1, depth + 1)
        if at >= len(tokens) or tokens[at][1] != ")":
            raise BadTemplate(f"unclosed left paren in {text[:60]!r}")
        return _with_fields(inner, (), tokens, at + 1)
    if kind == "variable":
        return _with_fields(word, (), tokens, at + 1)
    if kind == "field":
        return _with_fields(".", (word[1:],), tokens, at + 1)
    if word == ".":
        return Access("."), at + 1
    raise BadTemplate(f"unexpected {word!r} in {text[:60]!r}")


def _with_fields(base: str | Pipeline, fields: tuple[str, ...], tokens: Tokens, at: int) -> tuple[Operand, int]:
    while at < len(tokens) and tokens[at][0] == "field":
        fields = (*fields, tokens[at][1][1:])
        at += 1
    return Access(base, fields), at


def _unquoted(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]
    try:
        return str(ast.literal_eval(token))
    except (ValueError, SyntaxError) as error:
        raise BadTemplate(f"bad string {token[:60]}: {error}") from None


def _number(token: str) -> int | float:
    try:
        return int(token, 0) if re.fullmatch(r"[+-]?(?:0[xX][0-9a-fA-F]+|\d+)", token) else float(token)
    except ValueError:
        raise BadTemplate(f"bad number {token[:60]!r}") from None
