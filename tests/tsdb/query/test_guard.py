"""What is refused before or by the parser: too long, too deep, too busy, wrong, or of a grammar not built here."""

from __future__ import annotations

import pytest

from tsdb.errors import NotSupported, RefusedQuery
from tsdb.query import promql
from tsdb.query.promql.guard import LENGTH_BYTES_MAX, NESTING_MAX, OPERATOR_COUNT_MAX, scan
from tsdb.query.promql.parse import KEPT_CHARS_MAX, KEPT_COUNT_MAX, _kept, parse
from tsdb.query.rules.memory import MemorySeries

TOO_MUCH = {
    "30 KB of nested functions": "abs(" * 6_000 + "x" + ")" * 6_000,
    "30 KB of or": " or ".join(["a"] * 6_000),
    "or, 100,000 times": " or ".join(["a"] * 100_000),
    "a regex that counts to a million": 'x{a=~"((a{1,100}){1,100}){1,100}"}',
    "a range of nothing": "rate(x[0s])",
    "a range beyond the columns": "x[300000000y]",
    "brackets nested once too often": "(" * (NESTING_MAX + 1) + "1" + ")" * (NESTING_MAX + 1),
    "one operator too many": "+".join(["1"] * (OPERATOR_COUNT_MAX + 2)),
    "powers, which lean to the right": "^".join(["2"] * 500),
    "signs": "-" * 900 + "x",
    "one byte too long": "x" * (LENGTH_BYTES_MAX + 1),
    "brackets of every kind": "{[(" * 5_000,
    "only blanks": " " * LENGTH_BYTES_MAX,
    "unclosed string": '"' + "a" * 10_000,
}


@pytest.mark.parametrize("expression", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_too_much_is_refused_and_the_process_lives(expression: str) -> None:
    with pytest.raises(RefusedQuery):
        promql.instant(expression, 0, MemorySeries())


def test_the_largest_that_is_allowed_is_answered() -> None:
    chain = "+".join(["1"] * (OPERATOR_COUNT_MAX + 1))
    assert promql.instant(chain, 0, MemorySeries()).value[0] == OPERATOR_COUNT_MAX + 1
    deep = "(" * NESTING_MAX + "1" + ")" * NESTING_MAX
    assert promql.instant(deep, 0, MemorySeries()).value[0] == 1
    alternatives = " or ".join(["x"] * 1_000)
    assert promql.instant(alternatives, 0, MemorySeries()).labels == []
    nested = "abs(" * (NESTING_MAX - 5) + "x" + ")" * (NESTING_MAX - 5)
    assert promql.instant(nested, 0, MemorySeries()).labels == []


def test_a_regex_that_explodes_elsewhere_and_a_range_of_centuries_are_answered() -> None:
    source = MemorySeries()
    source.add({"__name__": "x", "a": "a" * 4_000}, [(0, 1.0)])
    assert promql.instant('x{a=~"(a+)+b"}', 0, source).labels == []
    assert promql.instant('label_replace(x, "b", "$1", "a", "(a|aa)+c")', 0, source).value.tolist() == [1.0]
    assert promql.instant("count_over_time(x[300y])", 0, source).value.tolist() == [1.0]


def test_brackets_and_operators_within_strings_and_comments_do_not_count() -> None:
    inside = "(" * 2_000 + "+" * 2_000
    assert len(scan(f'x{{a="{inside}"}} # {inside}')) == 6


ERRORS = {  # expression: the text, as Prometheus 3.5 words it
    "": "unknown position: parse error: no expression found in input",
    "foo bar": '1:5: parse error: unexpected identifier "bar"',
    "1 +": "1:4: parse error: unexpected end of input",
    "sum(x) by": "1:10: parse error: unexpected end of input",
    "rate(up[5m]) > > 1": "1:16: parse error: unexpected <op:>>",
    "sum by (a) by (b) (x)": "1:12: parse error: unexpected <by>",
    "x{}}": "1:4: parse error: unexpected right brace '}'",
    "time(1)": '1:1: parse error: expected 0 argument(s) in call to "time", got 1',
    "abs(1)": '1:5: parse error: expected type instant vector in call to function "abs", got scalar',
    "rate(x)": '1:6: parse error: expected type range vector in call to function "rate", got instant vector',
    "nosuch(x)": '1:1: parse error: unknown function with name "nosuch"',
    "\n\n x +\n y +": "4:5: parse error: unexpected end of input",
    "{}": "1:1: parse error: vector selector must contain at least one non-empty matcher",
    "a + rate(sum by (x) (b))": '1:10: parse error: expected type range vector in call to function "rate", '
    "got instant vector",
    "sum by (x) (1)": "1:13: parse error: expected type instant vector in aggregation expression, got scalar",
    "topk(a, b)": "1:6: parse error: expected type scalar in aggregation parameter, got instant vector",
    "b + (sum(a) and (1 + 2))": '1:6: parse error: set operator "and" not allowed in binary scalar expression',
    "a or on (x) 1": '1:1: parse error: set operator "or" not allowed in binary scalar expression',
    "a + (-1 == 1)": "1:9: parse error: comparisons between scalars must use BOOL modifier",
    "(a)[5m]": "1:4: parse error: ranges only allowed for vector selectors",
    "a @ 3 [5m]": "1:7: parse error: no @ modifiers allowed before range",
    "a + 3sx": '1:5: parse error: bad number or duration syntax: "3sx"',
    "sum((a))) + 1": "1:10: parse error: unexpected right parenthesis ')'",
    'a{b=~"x|*"}': "1:3: parse error: error parsing regexp: missing argument to repetition operator: `*`",
    'a{b="\\q"}': "1:5: parse error: unknown escape sequence U+0071 'q'",
    'a{b="\\478"}': "1:5: parse error: illegal character U+0038 '8' in escape sequence",
    "a[5m": "1:5: parse error: unexpected end of input in duration expression",
    "abs(a[5m:": "1:10: parse error: unclosed left parenthesis",
    "sum(rate(a[5m)) by (x)": "1:14: parse error: unexpected character inside brackets: ')'",
    "sum(rate(a[5m)) / b[5m]": "1:14: parse error: unexpected character inside brackets: ')'",
    'a{b="c"} + d{e="f': '1:16: parse error: unterminated quoted string "',
    "a{b='c}": "1:5: parse error: unterminated quoted string '",
    "a @ end 5": '1:9: parse error: unexpected number "5" in @, expected timestamp',
    "a{b=}": '1:5: parse error: unexpected "}" in label matching, expected string',
    'a{b="c" d="e"}': '1:9: parse error: unexpected identifier "d" in label matching, expected "," or "}"',
    'a "a long text"': '1:3: parse error: unexpected string "\\"a long te"...',
    "a == 1 bool": "1:8: parse error: unexpected <bool>",
}


@pytest.mark.parametrize(("expression", "message"), ERRORS.items(), ids=[repr(text) for text in ERRORS])
def test_a_parse_error_says_what_and_where(expression: str, message: str) -> None:
    with pytest.raises(RefusedQuery) as refused:
        parse(expression)
    assert str(refused.value) == message


@pytest.mark.parametrize("expression", ["servers.web-1.cpu.load", "rate(servers.web-1.cpu.load[5m])"])
def test_a_bare_graphite_path_is_refused_with_a_hint(expression: str) -> None:
    with pytest.raises(RefusedQuery, match=r'quotes and braces: \{"servers\.web-1\.cpu\.load"\}$'):
        parse(expression)


def test_a_dotted_name_in_quotes_is_a_metric() -> None:
    source = MemorySeries()
    source.add({"__name__": "servers.web-1.cpu"}, [(0, 7.0)])
    for expression in ('{"servers.web-1.cpu"}', '{__name__="servers.web-1.cpu"}'):
        assert promql.instant(expression, 0, source).value.tolist() == [7.0]


def test_a_long_wrong_expression_is_refused_without_looking_for_the_place() -> None:
    with pytest.raises(RefusedQuery, match=r"^unknown position: parse error: invalid promql query$"):
        parse("+".join(["1"] * 900) + " +")


UNBUILT = {
    "rate(x[5m] smoothed)": "the modifier smoothed",
    "increase(x[5m] anchored)": "the modifier anchored",
    "x[5m+1m]": "arithmetic in durations",
    "x offset (1m + 1m)": "arithmetic in durations",
    "x @ -10": "@ with a time before 1970",
    'x{a="1" or b="2"}': "`or` between label matchers",
    'x{a="\\xff"}': 'the byte escape in "\\xff"',
    "1_000_000": "_ within numbers",
}


@pytest.mark.parametrize(("expression", "what"), UNBUILT.items(), ids=UNBUILT)
def test_what_is_not_built_is_refused_by_name(expression: str, what: str) -> None:
    with pytest.raises(NotSupported) as refused:
        promql.instant(expression, 0, MemorySeries())
    assert refused.value.what == what
    assert str(refused.value) == f"{what} is not supported yet"


def test_the_tree_of_a_short_expression_is_kept_and_of_a_long_one_it_is_not() -> None:
    short, long = "x" * KEPT_CHARS_MAX, "x" * (KEPT_CHARS_MAX + 1)
    assert parse(short) is parse(short)
    assert parse(long) == parse(long)
    assert parse(long) is not parse(long)


def test_no_more_trees_are_kept_than_that() -> None:
    for number in range(KEPT_COUNT_MAX + 1):
        parse(f"x + {number}")
    assert _kept.cache_info().currsize == KEPT_COUNT_MAX


def test_a_wrong_expression_is_refused_as_often_as_it_is_asked() -> None:
    messages = set()
    for _ in range(3):
        with pytest.raises(RefusedQuery) as refused:
            parse("sum(")
        messages.add(str(refused.value))
    assert len(messages) == 1
