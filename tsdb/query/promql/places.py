"""Where the arguments of calls begin in the text of an expression: the parser library keeps no places."""

from __future__ import annotations

from collections.abc import Sequence

from tsdb.query.promql.guard import Token, position

CLAUSES = ("by", "without")


class Places:
    """Calls are asked for in the order in which they stand in the text, and found by their names."""

    def __init__(self, expression: str, tokens: Sequence[Token]) -> None:
        self._expression = expression
        self._tokens = tokens
        self._next = 0
        self._starts, self._ends = _brackets(tokens)

    def of_call(self, name: str) -> tuple[str, ...]:
        """`line:column` of each argument of the next call of this name; () if there is none."""
        for at in range(self._next, len(self._tokens) - 1):
            token = self._tokens[at]
            if token.kind != "word" or token.text.lower() != name:
                continue
            opening = at + 1
            if self._tokens[opening].text.lower() in CLAUSES:
                opening = self._ends.get(opening + 1, at) + 1
            if opening not in self._starts:
                continue
            self._next = at + 1
            return tuple(
                position(self._expression, self._tokens[start].start)
                for start in self._starts[opening]
                if start < len(self._tokens)
            )
        return ()


def _brackets(tokens: Sequence[Token]) -> tuple[dict[int, list[int]], dict[int, int]]:
    """By the number of each token `(`: where what the commas part begins, and where the bracket closes."""
    starts: dict[int, list[int]] = {}
    ends: dict[int, int] = {}
    open_brackets: list[int] = []
    for number, token in enumerate(tokens):
        if token.kind == "bracket" and token.text in "([{":
            open_brackets.append(number)
            if token.text == "(":
                starts[number] = [number + 1]
        elif token.kind == "bracket" and open_brackets:
            ends[open_brackets.pop()] = number
        elif token.text == "," and open_brackets and open_brackets[-1] in starts:
            starts[open_brackets[-1]].append(number + 1)
    return starts, ends
