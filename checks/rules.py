"""A rule file of Prometheus as a document: what may be written as one, its groups, and the checks of its alerts.

A document is a file as people bring it, kept as its text. Each of its alerting rules has a check beside it, which holds
the state, the incidents and the silences of the rule's alerts; rules_catalogue.py writes both in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any

import msgspec

from appliance.state.model import Document
from appliance.state.mutations import BODY_BYTES_MAX
from appliance.units import duration_text
from checks.errors import CheckError
from checks.model import DEFAULT_TEAM, State
from tsdb.rules import AlertingRule, BadDocument, Fault, RuleGroup, read_groups

KIND = "rules"
MILD = frozenset({"warning", "warn", "info"})  # Of the label `severity` of an alert; everything else is CRITICAL.
CHECK_KIND = "query"  # Of the checks that alerting rules become.
NAME_CHARACTERS_MAX = 120
TEXT_BYTES_MAX = 500 * 1024  # The largest of the well-known collections has 300 KB.
# JSON writes a line break and a quote as two bytes, and everything else that YAML lets pass as itself. What is left is
# for the name, the team and 20 channels of 120 characters, of 4 bytes each.
assert 2 * TEXT_BYTES_MAX + 24 * 1024 <= BODY_BYTES_MAX
INTERVAL_MS = 60_000  # Of a group that gives none, as in Prometheus.
INTERVAL_MS_MIN, INTERVAL_MS_MAX = 1_000, 86_400_000  # As of any check.
# Of `for`, `keep_firing_for` and `query_offset`. Prometheus' own limit is what int64 nanoseconds hold, 292 years: an
# alert that is to wait so long never fires, and nobody is told of the mistake.
HOLD_MS_MAX = 365 * 86_400_000
# A rule takes a millisecond or two to evaluate, so one document takes at most a fifth of one core, and its thousand
# checks are a tenth of the ten thousand that an appliance is made for.
GROUP_COUNT_MAX = 200
RULE_COUNT_MAX = 1_000
RULES_PER_SECOND_MAX = 100
# Of one rule; at 5 µs a series that is written, and 50 µs an alert, whose templates are expanded. A group may have a
# lower limit of its own.
SERIES_COUNT_MAX = 50_000


class RuleFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of a document, as the API takes it. Names are unique within the team."""

    name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX, description="Unique within the team")
    ]
    team: Annotated[str, msgspec.Meta(description="Whose rules they are")] = DEFAULT_TEAM
    text: Annotated[str, msgspec.Meta(description="YAML of a rule file, as Prometheus reads it")]
    channels: Annotated[list[str], msgspec.Meta(description="Who is told of its alerts")] = []
    paused: Annotated[bool, msgspec.Meta(description="Whether its rules are not evaluated now")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesDocument:
    """A rule file of a team."""

    id: str
    name: str
    team: str
    text: str
    channels: tuple[str, ...] = ()
    paused: bool = False


class RefusedText(CheckError):
    """The text is not a rule file that can be run; faults says what is wrong, and where."""

    def __init__(self, faults: list[Fault]) -> None:
        message = "\n".join(map(str, faults))
        super().__init__("invalid", message, "text", errors={"text": message})
        self.faults = faults


def file_of(body: Mapping[str, Any]) -> RuleFile:
    """The rule file of a stored body. Raises: msgspec.ValidationError."""
    return msgspec.convert(body, RuleFile)


def document_of(document: Document) -> RulesDocument:
    """A document of the state file. Raises: msgspec.ValidationError."""
    file = file_of(document.body)
    return RulesDocument(
        id=document.id,
        name=file.name,
        team=file.team,
        text=file.text,
        channels=tuple(file.channels),
        paused=file.paused,
    )


def groups_of(document: RulesDocument) -> list[RuleGroup]:
    """Its groups, in the order of the text. Raises: BadDocument, for a text that was never saved through here."""
    return read_groups(document.text)


def interval_ms_of(group: RuleGroup) -> int:
    """From one evaluation to the next."""
    return INTERVAL_MS if group.interval_ms is None else group.interval_ms


def alert_check_id(document_id: str, group: RuleGroup, rule_index: int) -> str:
    """The id of the check of an alerting rule, of the form that ids of checks have.

    It hangs on the names of the group and of the alert, not on the rule's place: a rule that is put in or taken out
    before it does not hand it another rule's history. Rules of one name are told apart by their order.
    """
    rule = group.rules[rule_index]
    assert isinstance(rule, AlertingRule), rule
    twins_before = sum(
        isinstance(other, AlertingRule) and other.alert == rule.alert for other in group.rules[:rule_index]
    )
    key = "\0".join((document_id, group.name, rule.alert, str(twins_before)))
    return blake2b(key.encode(), digest_size=8).hexdigest()


def checked_groups(text: str) -> list[RuleGroup]:
    """The groups of a text, when it may be saved. Raises: RefusedText, with every fault that was found."""
    if (size_bytes := len(text.encode())) > TEXT_BYTES_MAX:
        raise RefusedText(
            [Fault(0, f"the text has {size_bytes:,} bytes of at most {TEXT_BYTES_MAX:,}; split the file")]
        )
    try:
        groups = read_groups(text)
    except BadDocument as error:
        raise RefusedText(error.faults) from error
    if faults := [*_none(groups), *_too_many(groups), *_bad_intervals(groups), *_too_long(groups)]:
        raise RefusedText(faults)
    return groups


def _none(groups: list[RuleGroup]) -> list[Fault]:
    """An empty text is as often a slip – an export that failed, a field that was cleared – as a wish."""
    if any(group.rules for group in groups):
        return []
    return [
        Fault(
            0,
            "the text has no rule, so all that the file has would go; to do so, remove the rule file; "
            "to stop it for a while, pause it",
        )
    ]


def _too_many(groups: list[RuleGroup]) -> list[Fault]:
    rule_count = sum(len(group.rules) for group in groups)
    per_second = sum(len(group.rules) * 1_000 / interval_ms_of(group) for group in groups)
    faults = []
    if len(groups) > GROUP_COUNT_MAX:
        faults.append(Fault(0, f"the file has {len(groups):,} groups of at most {GROUP_COUNT_MAX}; split it"))
    if rule_count > RULE_COUNT_MAX:
        faults.append(Fault(0, f"the file has {rule_count:,} rules of at most {RULE_COUNT_MAX:,}; split it"))
    if per_second > RULES_PER_SECOND_MAX:
        faults.append(
            Fault(
                0,
                f"the file wants {per_second:,.0f} rules evaluated each second, of at most {RULES_PER_SECOND_MAX}; "
                f"give its groups longer intervals",
            )
        )
    return faults


def _bad_intervals(groups: list[RuleGroup]) -> list[Fault]:
    return [
        Fault(
            group.rules[0].line if group.rules else 0,
            f'group "{group.name}": an interval of {interval_ms_of(group) / 1_000:g} s; it must be from '
            f"{INTERVAL_MS_MIN // 1_000} s to {INTERVAL_MS_MAX // 86_400_000} day",
        )
        for group in groups
        if not INTERVAL_MS_MIN <= interval_ms_of(group) <= INTERVAL_MS_MAX
    ]


def _too_long(groups: list[RuleGroup]) -> list[Fault]:
    durations = [
        (group.rules[0].line if group.rules else 0, f'group "{group.name}"', "query_offset", group.offset_ms)
        for group in groups
    ]
    for group in groups:
        for rule in group.rules:
            if isinstance(rule, AlertingRule):
                whose = f'rule "{rule.alert}" of group "{group.name}"'
                durations += [
                    (rule.line, whose, "for", rule.hold_ms),
                    (rule.line, whose, "keep_firing_for", rule.keep_firing_ms),
                ]
    return [
        Fault(line, f"{whose}: '{name}' is {duration_text(found_ms)}, of at most {duration_text(HOLD_MS_MAX)}")
        for line, whose, name, found_ms in durations
        if found_ms > HOLD_MS_MAX
    ]


def firing_state(labels: Mapping[str, str]) -> State:
    """What a firing alert is for its check."""
    return State.WARNING if labels.get("severity", "").lower() in MILD else State.CRITICAL
