"""The rule files that there are, and the changes of state that create, alter or delete one together with its checks.

The twin of catalogue.py: the HTTP API, the page and the command line come through here; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.state.model import Document
from appliance.state.mutations import DeleteDocument, Mutation, PutDocument
from checks import forms
from checks.catalogue import (
    CHANNEL_COUNT_MAX,
    CONTROL,
    LABEL_COUNT_MAX,
    LABEL_NAME,
    LABEL_VALUE_CHARACTERS_MAX,
    label_problem,
    new_id,
    put_check,
    unique_name,
    unknown_channel,
)
from checks.errors import CheckError
from checks.model import Check
from checks.reading import DocumentReader
from checks.rules import (
    CHECK_KIND,
    KIND,
    NAME_CHARACTERS_MAX,
    RefusedText,
    RuleFile,
    alert_check_id,
    checked_groups,
    file_of,
    interval_ms_of,
)
from tsdb.rules import AlertingRule, RuleGroup

CHECK_COUNT_MAX = 1_000_000  # More checks than an appliance holds.
TEMPLATE = "{{"


@dataclass(frozen=True, slots=True)
class RulesDraft:
    """A change that is allowed and not made yet. file: as it will be; for a deletion, as it was."""

    id: str
    file: RuleFile
    mutations: Sequence[Mutation]


class RulesCatalogue:
    """The door to the rule files of one appliance. Every method raises CheckError for what may not be."""

    def __init__(self, reader: DocumentReader) -> None:
        self._reader = reader

    def create(self, body: Mapping[str, Any]) -> RulesDraft:
        file, groups = self._valid(body)
        self._refuse_taken(file, None)
        return self._draft(new_id(), file, groups, before=None, expected_version=0)

    def patch(self, rules_id: str, changes: Mapping[str, Any], *, expected_version: int | None = None) -> RulesDraft:
        """Replace fields of a rule file. The checks of rules that stay keep their ids, and so their history."""
        document = self.document(rules_id)
        before = file_of(document.body)
        file, groups = self._valid({**msgspec.to_builtins(before), **changes})
        self._refuse_taken(file, rules_id)
        version = document.version if expected_version is None else expected_version
        return self._draft(rules_id, file, groups, before=before, expected_version=version)

    def delete(self, rules_id: str) -> RulesDraft:
        """The file and its checks; their results and incidents are the scheduler's, which ends them."""
        document = self.document(rules_id)
        deletions = [DeleteDocument(kind="check", id=check.id) for check in self.checks(rules_id)]
        return RulesDraft(rules_id, file_of(document.body), [*deletions, DeleteDocument(kind=KIND, id=rules_id)])

    def document(self, rules_id: str) -> Document:
        document = self._reader.get(KIND, rules_id)
        if document is None:
            raise CheckError("not_found", f"there is no rule file {rules_id!r}")
        return document

    def checks(self, rules_id: str) -> list[Document]:
        """The checks of its alerting rules."""
        return self._reader.list("check", where={"$.rules": rules_id}, limit=CHECK_COUNT_MAX)

    def _valid(self, body: Mapping[str, Any]) -> tuple[RuleFile, list[RuleGroup]]:
        file, errors = forms.convert_all(RuleFile, body)
        groups: list[RuleGroup] = []
        if isinstance(body.get("text"), str):
            try:
                groups = checked_groups(body["text"])
            except RefusedText as error:
                if not errors:
                    raise
                errors = {**errors, **error.errors}
        if file is not None and not errors:
            file = msgspec.structs.replace(
                file, name=file.name.strip(), team=file.team.strip(), channels=list(dict.fromkeys(file.channels))
            )
            errors = self._own_errors(file)
        if errors:
            field, message = next(iter(errors.items()))
            raise CheckError("invalid", message, field, errors=errors)
        assert file is not None
        return file, groups

    def _own_errors(self, file: RuleFile) -> dict[str, str]:
        errors: dict[str, str] = {}
        if not file.name:
            errors["name"] = "a rule file needs a name that is more than blanks"
        elif CONTROL.search(file.name):
            errors["name"] = f"{file.name!r} holds a line break or another control character"
        if message := label_problem({"team": file.team}):
            errors["team"] = message
        elif len(file.channels) > CHANNEL_COUNT_MAX:
            errors["channels"] = f"{len(file.channels)} channels; at most {CHANNEL_COUNT_MAX} go with one rule file"
        elif message := unknown_channel(self._reader, file.team, file.channels):
            errors["channels"] = message
        return errors

    def _refuse_taken(self, file: RuleFile, rules_id: str | None) -> None:
        holder = self._reader.by_unique(KIND, unique_name(file.team, file.name))
        if holder is not None and holder.id != rules_id:
            raise CheckError(
                "conflict",
                f"team {file.team} has a rule file named {file.name!r} already; choose another name",
                "name",
            )

    def _draft(
        self, rules_id: str, file: RuleFile, groups: list[RuleGroup], *, before: RuleFile | None, expected_version: int
    ) -> RulesDraft:
        """Deletions go first: they free names that new checks may take."""
        put = PutDocument(
            kind=KIND,
            id=rules_id,
            body=msgspec.to_builtins(file),
            expected_version=expected_version,
            unique=unique_name(file.team, file.name),
        )
        stored = {document.id: document for document in self.checks(rules_id)} if before is not None else {}
        alerts = {alert.check_id: alert for alert in alerts_of(rules_id, groups)}
        gone = [check_id for check_id in stored if check_id not in alerts]
        moved = before is not None and before.team != file.team
        kept = {} if moved else {found: str(stored[found].body["name"]) for found in alerts if found in stored}
        names = _names(alerts.values(), kept, lambda name: self._is_taken(file.team, name, gone))
        mutations: list[Mutation] = [DeleteDocument(kind="check", id=check_id) for check_id in gone]
        for check_id, alert in alerts.items():
            known = stored.get(check_id)
            check = check_of_alert(alert, file, names[check_id], rules_id)
            new = put_check(check_id, check, expected_version=known.version if known else 0)
            if known is None or known.body != new.body:
                mutations.append(new)
        return RulesDraft(rules_id, file, [*mutations, put])

    def _is_taken(self, team: str, name: str, gone: Sequence[str]) -> bool:
        holder = self._reader.by_unique("check", unique_name(team, name))
        return holder is not None and holder.id not in gone


@dataclass(frozen=True, slots=True)
class PlacedAlert:
    """An alerting rule, its group, and the id of its check."""

    check_id: str
    group: RuleGroup
    rule: AlertingRule


def alerts_of(rules_id: str, groups: Sequence[RuleGroup]) -> Iterator[PlacedAlert]:
    """The alerting rules in the order of the text."""
    for group in groups:
        for index, rule in enumerate(group.rules):
            if isinstance(rule, AlertingRule):
                yield PlacedAlert(alert_check_id(rules_id, group, index), group, rule)


def check_of_alert(alert: PlacedAlert, file: RuleFile, name: str, rules_id: str) -> Check:
    """The check that holds the state of a rule's alerts. One attempt: `for` says how long a failure is unconfirmed."""
    return Check(
        kind=CHECK_KIND,
        name=name,
        options={"expression": alert.rule.expression},
        interval_s=interval_ms_of(alert.group) / 1_000,
        max_check_attempts=1,
        labels=labels_of_alert(alert, file.team),
        channels=list(file.channels),
        paused=file.paused,
        rules=rules_id,
    )


def labels_of_alert(alert: PlacedAlert, team: str) -> dict[str, str]:
    """The labels that are the same for all alerts of the rule, as far as a check can have them, and whose it is."""
    found = {
        name: text
        for name, text in {**alert.group.labels, **alert.rule.labels}.items()
        if name != "team" and text and TEMPLATE not in text and _fits(name, text)
    }
    return {**dict(list(found.items())[: LABEL_COUNT_MAX - 1]), "team": team}


def _fits(name: str, text: str) -> bool:
    is_short = len(text) <= LABEL_VALUE_CHARACTERS_MAX
    return LABEL_NAME.fullmatch(name) is not None and is_short and CONTROL.search(text) is None


def _names(alerts: Iterable[PlacedAlert], kept: Mapping[str, str], is_taken: Callable[[str], bool]) -> dict[str, str]:
    """Id of a check → its name. A check keeps its name, because its series bear it."""
    names = dict(kept)
    used = set(kept.values())
    for alert in alerts:
        if alert.check_id in names:
            continue
        name = next(
            name for name in _candidates(alert.group.name, alert.rule.alert) if name not in used and not is_taken(name)
        )
        names[alert.check_id] = name
        used.add(name)
    return names


def _candidates(group: str, alert: str) -> Iterator[str]:
    """`Alert`, `group/Alert`, `group/Alert 2`, …: as long as a check's name may be."""
    alert, group = _one_line(alert), _one_line(group)
    yield alert[:NAME_CHARACTERS_MAX].strip()
    number = 1
    while True:
        end = f" {number}" if number > 1 else ""
        yield f"{group}/{alert}"[: NAME_CHARACTERS_MAX - len(end)].strip() + end
        number += 1


def _one_line(text: str) -> str:
    return CONTROL.sub(" ", text).strip() or "alert"
