"""Rule files as they were last read: lists show them often, and reading a thousand rules takes a quarter second."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from appliance.state import Document
from checks.rules import document_of, groups_of
from tsdb.rules import BadDocument, Fault, RuleGroup

RULE_COUNT_MAX = 20_000  # Together, at about 1 KB each; those that were not asked for longest go first.


@dataclass(frozen=True, slots=True)
class Parsed:
    """faults: of a text that another version of Henge has saved and this one cannot read."""

    groups: list[RuleGroup]
    faults: list[Fault]

    @property
    def rule_count(self) -> int:
        return sum(len(group.rules) for group in self.groups)


@dataclass(slots=True)
class ParsedRules:
    """By id and version, so nothing has to be told about changes."""

    _found: OrderedDict[tuple[str, int], Parsed] = field(default_factory=OrderedDict)
    _rule_count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, document: Document) -> Parsed:
        key = (document.id, document.version)
        with self._lock:
            if (found := self._found.get(key)) is not None:
                self._found.move_to_end(key)
                return found
        found = _parsed(document)
        with self._lock:
            if key not in self._found:
                self._found[key] = found
                self._rule_count += found.rule_count + 1
                while self._rule_count > RULE_COUNT_MAX:
                    _, oldest = self._found.popitem(last=False)
                    self._rule_count -= oldest.rule_count + 1
        return found


def _parsed(document: Document) -> Parsed:
    try:
        return Parsed(groups_of(document_of(document)), [])
    except BadDocument as error:
        return Parsed([], error.faults)
