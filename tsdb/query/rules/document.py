"""YAML with the line of every value, and without what YAML lets pass: names given twice, and aliases without end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tsdb.query.rules.model import Fault

BYTES_MAX = 8 * 2**20
NODE_COUNT_MAX = 500_000  # Aliases are followed; a few lines of them would otherwise become a billion values.
# A rule file needs 6. The library builds its tree by recursion in C, and ends the process over some ten thousand.
NESTING_MAX = 50
FAULT_COUNT_MAX = 100  # More nobody reads, and a wrong word on each line would make an answer larger than the file.
_NULL = "tag:yaml.org,2002:null"
_NULL_WORDS = frozenset(("", "~", "null", "Null", "NULL"))


class BadDocument(Exception):
    """The text cannot be read; faults says why: the first ones, and how many more there are."""

    def __init__(self, faults: list[Fault]) -> None:
        if (more_count := len(faults) - FAULT_COUNT_MAX) > 0:
            faults = [*faults[:FAULT_COUNT_MAX], Fault(0, f"{more_count:,} more faults")]
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Value:
    """A value and its line, from 1. content: str (as written), list[Value], dict[str, Value], or None."""

    content: Any
    line: int

    @property
    def kind(self) -> str:
        return {dict: "mapping", list: "sequence", type(None): "null"}.get(type(self.content), "scalar")


def read(text: str) -> Value:
    """The one document of a text. Raises: BadDocument."""
    if len(text) > BYTES_MAX:
        raise BadDocument([Fault(0, f"the file has {len(text):,} characters of at most {BYTES_MAX:,}; split it")])
    reader = _Reader(yaml.parse(text, Loader=yaml.CSafeLoader))
    try:
        found = reader.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadDocument([Fault(mark.line + 1 if mark else 0, f"yaml: {error.problem or error}")]) from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise BadDocument([Fault(0, f"yaml: {error}")]) from None
    if reader.faults:
        raise BadDocument(reader.faults)
    return found


class _Reader:
    """Events, as the library finds them → values. Nothing is built that is too deep or too much."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self.faults: list[Fault] = []
        self._events = events
        self._node_count = 0
        self._by_anchor: dict[str, tuple[Value, int]] = {}  # With the number of values in it.

    def document(self) -> Value:
        """Raises: BadDocument, yaml.YAMLError."""
        next(self._events)  # The stream begins.
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Value(None, 1)
        found = self._value(next(self._events), 0)
        next(self._events)  # The document ends.
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            raise BadDocument([Fault(event.start_mark.line + 1, "yaml: but found another document")])
        return found

    def _value(self, event: yaml.Event, depth: int) -> Value:
        line = event.start_mark.line + 1
        if depth > NESTING_MAX:
            raise BadDocument([Fault(line, f"values are nested deeper than {NESTING_MAX}")])
        if isinstance(event, yaml.AliasEvent):
            # One that is still open is not known yet: no value holds itself.
            if event.anchor not in self._by_anchor:
                raise BadDocument([Fault(line, f"yaml: found undefined alias {event.anchor!r}")])
            found, count = self._by_anchor[event.anchor]
            self._count(count, line)
            return found
        before_count = self._node_count
        self._count(1, line)
        if isinstance(event, yaml.SequenceStartEvent):
            found = Value(list(self._items(depth)), line)
        elif isinstance(event, yaml.MappingStartEvent):
            found = Value(self._members(depth), line)
        else:
            found = Value(None if _is_null(event) else event.value, line)
        if event.anchor is not None:
            self._by_anchor[event.anchor] = found, self._node_count - before_count
        return found

    def _items(self, depth: int) -> Iterator[Value]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._value(event, depth + 1)

    def _members(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, depth + 1)
            name = event.value if isinstance(event, yaml.ScalarEvent) else key.content
            if not isinstance(name, str):
                self.faults.append(Fault(key.line, "a name must be a plain word"))
                name = ""
            elif name in found:
                self.faults.append(Fault(event.start_mark.line + 1, f'"{name}" is given twice'))
            found[name] = self._value(next(self._events), depth + 1)
        return found

    def _count(self, count: int, line: int) -> None:
        self._node_count += count
        if self._node_count > NODE_COUNT_MAX:
            raise BadDocument([Fault(line, f"the file has more than {NODE_COUNT_MAX:,} values")])


def _is_null(event: yaml.ScalarEvent) -> bool:
    is_plain = event.tag is None and event.implicit[0]
    return event.tag == _NULL or (is_plain and event.value in _NULL_WORDS)


class Fields:
    """The members of a mapping, taken one by one; what is wrong with them is gathered, not raised."""

    def __init__(self, value: Value, faults: list[Fault], what: str) -> None:
        self.line = value.line
        self._faults = faults
        self._what = what
        self._members: dict[str, Value] = {}
        if isinstance(value.content, dict):
            self._members = dict(value.content)
        elif value.content is not None:
            self.fault(f"{what} is a {value.kind}; it must be a mapping", value.line)

    def fault(self, message: str, line: int | None = None) -> None:
        self._faults.append(Fault(self.line if line is None else line, message))

    def has(self, name: str) -> bool:
        return name in self._members

    def text(self, name: str, default: str = "") -> str:
        found = self._members.pop(name, None)
        if found is None or found.content is None:
            return default
        if not isinstance(found.content, str):
            self.fault(f"{name} is a {found.kind}; it must be text", found.line)
            return default
        return found.content

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of texts."""
        inner = Fields(self._members.pop(name, Value(None, self.line)), self._faults, name)
        return {key: inner.text(key) for key in list(inner._members)}

    def items(self, name: str) -> Iterator[Value]:
        found = self._members.pop(name, None)
        if found is None or found.content is None:
            return
        if not isinstance(found.content, list):
            self.fault(f"{name} is a {found.kind}; it must be a sequence", found.line)
            return
        yield from found.content

    def member(self, name: str) -> Value | None:
        return self._members.pop(name, None)

    def done(self) -> None:
        """Every member that nobody took is one that there is not."""
        for name, value in self._members.items():
            self.fault(f"field {name} not found in {self._what}", value.line)

    @property
    def members(self) -> Mapping[str, Value]:
        return self._members
