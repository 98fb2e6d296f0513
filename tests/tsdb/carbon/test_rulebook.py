"""carbon's rules for names: what each line means, and what all files together make of a name."""

from __future__ import annotations

import pytest

from tsdb.carbon.aggregation import Output, parse_rule
from tsdb.carbon.rewriting import PATTERN_LENGTH_MAX, RULES_COUNT_MAX, Rewrite
from tsdb.carbon.rulebook import READERS, Rulebook, Verdict


def book(**texts: str) -> Rulebook:
    """blacklist="…", rewrite="…" and so on; every line must be right."""
    files = {
        "blacklist": "blacklist.conf",
        "whitelist": "whitelist.conf",
        "rewrite": "rewrite-rules.conf",
        "aggregation": "aggregation-rules.conf",
    }
    rules = {}
    for name, text in texts.items():
        read = READERS[files[name]](text)
        assert not read.errors, read.errors
        rules.update(read.rules)
    return Rulebook(**rules)


def test_most_names_are_left_alone() -> None:
    rules = book(blacklist="^bad", rewrite="[pre]\n^old = new", aggregation="a (10) = sum b.*")
    assert rules.verdict("plain.name") is None
    assert Rulebook().verdict("anything") is None
    assert Rulebook().is_empty
    assert not rules.is_empty


def test_lists_look_at_the_name_as_it_was_sent() -> None:
    rules = book(blacklist="^old\\.", whitelist="^(old|ok)\\.", rewrite="[pre]\n^ok = old")
    assert rules.verdict("old.a") == Verdict("blacklist")
    assert rules.verdict("no.a") == Verdict("whitelist")
    assert rules.verdict("ok.a") == Verdict("", "old.a")


def test_aggregation_stands_between_the_two_ways_of_rewriting() -> None:
    rules = book(
        rewrite="[post]\n^new = post\n[pre]\n^old = new\nw$ = W",
        aggregation="all.<x> (10) = sum new.*.<x>\nall.<x> (60) = max new.h1.<x>\nsum.<r> (10) = sum post.<<r>>",
    )
    assert rules.verdict("old.h1.cpu") == Verdict("", "post.h1.cpu", (Output("all.cpu", 10, "sum"),))
    assert rules.verdict("post.a.b") == Verdict("", "post.a.b", (Output("sum.a.b", 10, "sum"),))
    assert rules.verdict("old.h1.raw") == Verdict("", "post.h1.raW", (Output("all.raW", 10, "sum"),))


def test_the_output_of_its_own_rule_is_not_stored_beside_it() -> None:
    rules = book(aggregation="app.all.n (10) = sum app.*.n")
    assert rules.verdict("app.all.n") == Verdict("", "", (Output("app.all.n", 10, "sum"),))


def test_a_name_that_comes_back_as_it_was_is_left_alone() -> None:
    assert book(rewrite="[pre]\na = b\nb = a").verdict("xaz") is None


def test_patterns_with_groups_of_one_name_work_side_by_side() -> None:
    rules = book(blacklist="(?P<x>a)1\n(?P<x>b)2", rewrite="[post]\n(?P<x>c)3 = \\g<x>")
    assert [rules.verdict(name) for name in ("a1", "b2", "c3", "d")] == [
        Verdict("blacklist"),
        Verdict("blacklist"),
        Verdict("", "c"),
        None,
    ]


@pytest.mark.parametrize(
    ("pattern", "replacement", "name", "changed"),
    [
        ("^env\\.(\\w+)\\.", "\\1.env.", "env.prod.x", "prod.env.x"),
        ("_", ".", "a_b_c", "a.b.c"),
        ("(?P<a>x)(y)?", "\\g<a>\\g<2>\\g<0>", "xz", "xxz"),
        ("a", "\\\\\\.", "a", "\\\\."),
        ("é", "e", "café", "cafe"),
        ("\\.x$", "", "a.x", "a"),
    ],
)
def test_replacements_are_read_as_python_reads_them(pattern: str, replacement: str, name: str, changed: str) -> None:
    assert Rewrite.of(pattern, replacement).apply(name) == changed


WRONG = {
    "rewrite-rules.conf": {
        "a = b": "line 1: stands before [pre] and [post]",
        "[pre]\nno equals sign": "line 2: 'no equals sign' is not `pattern = replacement`",
        "[middle]\n": "line 1: [middle] is neither [pre] nor [post]",
        "[pre]\n(?<!a)b = c": "line 2: the regular expression '(?<!a)b' is wrong: invalid perl operator: (?<",
        "[pre]\n(a) = \\2": "names the group '2', which the pattern lacks",
        "[pre]\na = \\g<x>": "names the group 'x', which the pattern lacks",
        "[pre]\na = b\\": "ends with a backslash",
        "[pre]\na = \\q": "has \\q, which means nothing",
    },
    "blacklist.conf": {
        "x(\n": "line 1: the regular expression 'x(' is wrong: missing )",
        "a" * (PATTERN_LENGTH_MAX + 1): "has 4,097 characters of at most 4,096",
        "a\n" * (RULES_COUNT_MAX + 1): "1,001 rules; at most 1,000 are tried on every new name",
    },
    "aggregation-rules.conf": {
        "bad (60) = nosuch a": "there is no aggregation method 'nosuch'",
        "bad 60 = sum a": "is not `output (seconds) = method input`",
        "bad (0) = sum a": "the frequency of 0 s is not in 1 … 86,400",
        "<x> (10) = sum a.*": "repeats <x>, which the input does not have",
        "a.<<x>> (10) = sum <<x>>.b": "has angle brackets that are no <field>; <<field>> is <field> here",
        "a (10) = sum b[": "wrong: missing ]",
    },
}


@pytest.mark.parametrize(("file", "text"), [(file, text) for file, found in WRONG.items() for text in found])
def test_a_wrong_line_is_named_with_its_reason(file: str, text: str) -> None:
    (complaint,) = READERS[file](text).complaints
    assert WRONG[file][text] in complaint


def test_right_lines_count_beside_wrong_ones() -> None:
    read = READERS["blacklist.conf"]("(\n# c\n\n^x\n")
    assert (read.rules_count, list(read.errors)) == (1, [1])


def test_a_rule_matches_from_the_first_to_the_last_node() -> None:
    rule = parse_rule("<env>.all (60) = sum <env>.*.n")
    assert [rule.output_of(name) for name in ("a.b.n", "x.a.b.n", "a.b.n.x")] == [
        Output("a.all", 60, "sum"),
        None,
        None,
    ]
