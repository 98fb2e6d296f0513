"""Rule files and templates that were written to hurt: refused at once, with words, within bounded memory."""

from __future__ import annotations

import pytest

from tsdb.errors import QueryFailed
from tsdb.query.rules.alerts import AlertBook
from tsdb.query.rules.document import FAULT_COUNT_MAX, BadDocument
from tsdb.query.rules.file import read_groups
from tsdb.query.rules.model import AlertingRule
from tsdb.query.rules.template import BadTemplate, ExpansionFailed, Template

NINEFOLD = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]", *(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
)

DOCUMENTS = {  # name: (text, the first fault); the deep one ended the process
    "deep lists": ("[" * 100_000, "1: values are nested deeper than 50"),
    "deep mappings": ("".join(f"{' ' * i}a:\n" for i in range(60)), "51: values are nested deeper than 50"),
    "a list in itself": ("groups: &a [*a]", "1: yaml: found undefined alias 'a'"),
    "a mapping in itself": ("groups: &a {b: *a}", "1: yaml: found undefined alias 'a'"),
    "aliases of aliases": (f"{NINEFOLD}\ngroups: *a9", "6: the file has more than 500,000 values"),
    "two documents": ("groups: []\n---\ngroups: []", "2: yaml: but found another document"),
    "half a character": ("groups: [\ud800]", "yaml: 'utf-8' codec can't encode"),
    "a duration without end": (
        "groups: [{name: g, rules: [{record: a, expr: 'rate(b[1e400])'}]}]",
        '1: could not parse expression of rule "a": 1:1: parse error: a duration or an @ time is too large',
    ),
}


@pytest.mark.parametrize(("text", "words"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_file_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadDocument) as caught:
        read_groups(text)
    assert str(caught.value).startswith(words)


def test_an_alias_stands_for_its_value() -> None:
    (group,) = read_groups("groups: [{name: g, rules: [{record: a, expr: &e up}, {record: b, expr: *e}]}]")
    assert [rule.expression for rule in group.rules] == ["up", "up"]


def test_what_is_empty_is_left_out_and_what_is_quoted_is_text() -> None:
    (group,) = read_groups("groups: [{name: g, interval: ~, limit: null, rules: [{record: 'null', expr: up}]}]")
    assert (group.interval_ms, group.rules[0].name) == (None, "null")


def test_of_many_faults_the_first_are_told() -> None:
    with pytest.raises(BadDocument) as caught:
        read_groups("groups:\n- name: g\n  rules:\n" + "  - {x: 1}\n" * 1_000)
    assert len(caught.value.faults) == FAULT_COUNT_MAX + 1
    assert str(caught.value.faults[-1]) == "2,900 more faults"


def test_groups_of_one_name_are_found() -> None:
    with pytest.raises(BadDocument, match='3: groupname: "g" is repeated in the same file'):
        read_groups("groups:\n- name: g\n- name: g\n")


UNCLOSED = ['{{ "a"', "{{" + '"a"' * 10_000, "{{" * 10_000, "{{" + "/*" * 10_000, "{{" + "`" * 10_001]


@pytest.mark.parametrize("text", UNCLOSED, ids=["one text", "texts", "openings", "comments", "ticks"])
def test_an_action_that_does_not_end_is_noticed_in_one_pass(text: str) -> None:
    with pytest.raises(BadTemplate, match="unclosed action"):
        Template(text)


ACTIONS = {  # template: what it becomes
    '{{ "}}" }}': "}}",
    "{{ `}}` }}": "}}",
    'a {{- /* "}} */ -}} b': "ab",
    "a{{/* no word */}}b": "ab",
    'a {{- "x" -}} b': "axb",
    r'{{ "\"}}" }}': '"}}',
}


@pytest.mark.parametrize(("text", "want"), ACTIONS.items(), ids=ACTIONS.keys())
def test_where_an_action_ends(text: str, want: str) -> None:
    assert Template(text).expand({}, 1.0) == want


DOUBLED = "{{ $x = print $x $x }}" * 60
HURTING = {  # name: (template, words)
    "a text that doubles": ('{{ $x := "ab" }}' + DOUBLED, "a text is longer than 65,536 characters"),
    "a list that doubles": (
        '{{ $x := "ab" }}' + "{{ $x = args $x $x }}" * 60 + "{{ $x }}",
        "a text is longer than 65,536 characters",
    ),
    "a replacement at every letter": (
        '{{ $x := "abcdefghijklmnopqrstuvwxyz" }}' + '{{ $x = reReplaceAll "" $x $x }}' * 5,
        "a text is longer than 65,536 characters",
    ),
    "many arguments": (f"{{{{ print {'1 ' * 101}}}}}", "print has 101 arguments of at most 100"),
    "a query for each series of a query": (
        '{{ range query "a" }}{{ range query "a" }}{{ end }}{{ end }}',
        "the template asks more than 100 queries",
    ),
}


@pytest.mark.parametrize(("text", "words"), HURTING.values(), ids=HURTING.keys())
def test_a_template_that_grows_without_end_is_ended(text: str, words: str) -> None:
    with pytest.raises(ExpansionFailed, match=words):
        Template(text).expand({}, 1.0, query=lambda _: [({"x": "y"}, 1.0)] * 200)


def test_the_words_of_many_alerts_are_limited_together() -> None:
    rule = AlertingRule(alert="a", expression="up", annotations={"x": '{{ printf "%1000d" 1 }}' * 65})
    book = AlertBook(rule)
    with pytest.raises(QueryFailed, match="of at most 33,554,432 of all"):
        book.evaluate(0, [((("i", str(number)),), 1.0) for number in range(600)])
    assert book.alerts == []
