"""A lone selector such as `up{job="web"}`, as `match[]` holds it."""

from __future__ import annotations

from collections.abc import Sequence

from tsdb.errors import RefusedQuery
from tsdb.query.promql import nodes
from tsdb.query.promql.guard import Token, position, scan
from tsdb.query.promql.locate import described
from tsdb.query.promql.parse import parse
from tsdb.sample import Matcher

NOTHING_TO_MATCH = "match[] must contain at least one non-empty matcher"


def selector_of(text: str) -> Sequence[Matcher]:
    """The matchers of one selector.

    Raises: RefusedQuery, when the text is another kind of expression or would match a series without labels.
    """
    try:
        node = parse(text)
    except RefusedQuery as error:
        if "at least one non-empty matcher" in str(error):
            raise RefusedQuery(NOTHING_TO_MATCH) from None
        raise
    stranger = _stranger(scan(text))
    if stranger is not None:
        raise RefusedQuery(f"{position(text, stranger.start)}: parse error: unexpected {described(stranger)}")
    assert isinstance(node, nodes.Selector), text
    return node.matchers


def _stranger(tokens: Sequence[Token]) -> Token | None:
    """The first token that has no place in `name{matchers}`."""
    depth = 0
    for index, token in enumerate(tokens):
        if token.text in "{}" and token.kind == "bracket":
            depth += 1 if token.text == "{" else -1
        elif depth == 0 and not (index == 0 and token.kind == "word"):
            return token
    return None
