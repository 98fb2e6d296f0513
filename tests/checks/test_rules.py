"""Rule files as documents: what is refused, and which check an alerting rule has."""

from __future__ import annotations

import re

import pytest

from checks.rules import (
    GROUP_COUNT_MAX,
    INTERVAL_MS,
    RULE_COUNT_MAX,
    TEXT_BYTES_MAX,
    RefusedText,
    alert_check_id,
    checked_groups,
    interval_ms_of,
)


def file_of_alerts(*names: str, group: str = "g", more: str = "") -> str:
    rules = "".join(f"\n  - {{alert: {name}, expr: up == 0}}" for name in names)
    return f"groups:\n- name: {group}\n{more}  rules:{rules}\n"


def ids(text: str, document_id: str = "0123456789abcdef") -> dict[str, str]:
    """Alert (with a number, if there are several of the name) → id of its check."""
    found: dict[str, str] = {}
    for group in checked_groups(text):
        for index, rule in enumerate(group.rules):
            name = rule.name if rule.name not in found else f"{rule.name} 2"
            found[name] = alert_check_id(document_id, group, index)
    return found


def test_an_id_looks_like_that_of_any_check() -> None:
    (found,) = ids(file_of_alerts("Down")).values()
    assert re.fullmatch(r"[0-9a-f]{16}", found)


def test_a_rule_keeps_its_id_when_others_come_and_go() -> None:
    before = ids(file_of_alerts("Down", "Slow", "Full"))
    after = ids(file_of_alerts("New", "Full", "Slow"))
    assert after["Slow"] == before["Slow"]
    assert after["Full"] == before["Full"]
    assert after["New"] not in before.values()


def test_rules_of_one_name_have_ids_of_their_own() -> None:
    found = ids(file_of_alerts("Full", "Down", "Full"))
    assert len(set(found.values())) == 3
    assert ids(file_of_alerts("Full"))["Full"] == found["Full"]


def test_an_id_is_of_one_document_and_one_group() -> None:
    text = file_of_alerts("Down")
    others = {ids(text, "fedcba9876543210")["Down"], ids(file_of_alerts("Down", group="h"))["Down"]}
    assert len(others | {ids(text)["Down"]}) == 3


def test_a_group_without_an_interval_is_evaluated_each_minute() -> None:
    (group,) = checked_groups(file_of_alerts("Down"))
    assert interval_ms_of(group) == INTERVAL_MS
    (group,) = checked_groups(file_of_alerts("Down", more="  interval: 15s\n"))
    assert interval_ms_of(group) == 15_000


NO_RULE = (
    "the text has no rule, so all that the file has would go; to do so, remove the rule file; to stop it for a while"
)
ALLOWED = {
    "the longest": (
        "groups: [{name: g, query_offset: 1y, rules: [{alert: A, expr: up, for: 1y, keep_firing_for: 365d}]}]"
    ),
    "a group without a rule beside one with": "groups: [{name: g}, {name: h, rules: [{record: r, expr: up}]}]",
}


@pytest.mark.parametrize("text", ALLOWED.values(), ids=ALLOWED.keys())
def test_a_text_that_can_be_run_is_taken(text: str) -> None:
    assert checked_groups(text)


REFUSED = {  # name: (text, the words)
    "promtool's words": ("groups:\n- rules: []\n", "2: Groupname must not be empty"),
    "every fault": (
        "groups:\n- name: a\n  rules:\n  - {alert: A, expr: sum(}\n  - {expr: up}\n",
        "4: could not parse expression of rule \"A\"|5: one of 'record' or 'alert' must be set",
    ),
    "too long": ("#" + "é" * (TEXT_BYTES_MAX // 2), "the text has 512,001 bytes of at most 512,000; split the file"),
    "too many groups": (
        "groups:\n" + "".join(f"- name: g{index}\n" for index in range(GROUP_COUNT_MAX + 1)),
        "the file has 201 groups of at most 200; split it",
    ),
    "too many rules": (
        file_of_alerts(*["Down"] * (RULE_COUNT_MAX + 1)),
        "the file has 1,001 rules of at most 1,000; split it",
    ),
    "too many each second": (
        file_of_alerts(*["Down"] * 200, more="  interval: 1s\n"),
        "the file wants 200 rules evaluated each second, of at most 100; give its groups longer intervals",
    ),
    "too often": (
        file_of_alerts("Down", more="  interval: 100ms\n"),
        '5: group "g": an interval of 0.1 s; it must be from 1 s to 1 day',
    ),
    "too rarely": (
        file_of_alerts("Down", more="  interval: 2d\n"),
        '5: group "g": an interval of 172800 s; it must be from 1 s to 1 day',
    ),
    "a hold that nobody lives to see": (
        "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up, for: 200y}\n",
        '4: rule "Down" of group "g": \'for\' is 200y, of at most 1y',
    ),
    "an alert kept for ever": (
        "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up, keep_firing_for: 1y1ms}\n",
        '4: rule "Down" of group "g": \'keep_firing_for\' is 31536000001ms, of at most 1y',
    ),
    "a look far back": (
        file_of_alerts("Down", more="  query_offset: 53w\n"),
        "5: group \"g\": 'query_offset' is 371d, of at most 1y",
    ),
    "longer than Prometheus can count": (
        "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up, for: 300y}\n",
        '4: for: duration out of range: "300y"',
    ),
    "nothing": ("", NO_RULE),
    "no group": ("groups: []\n", NO_RULE),
    "no rule in any group": ("groups:\n- name: a\n- name: b\n  rules: []\n", NO_RULE),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_text_that_cannot_be_run_is_refused(text: str, words: str) -> None:
    with pytest.raises(RefusedText) as caught:
        checked_groups(text)
    assert caught.value.field == "text"
    for part in words.split("|"):
        assert part in caught.value.message.split("\n") or any(
            line.startswith(part) for line in caught.value.message.split("\n")
        ), caught.value.message
