"""YAML with the line of every value, and without what YAML lets pass: names given twice, and aliases without end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tsdb.query.rules.model import Fault

BYTES_MAX = 8 * 2**20
NODE_COUNT_MAX = 500_000  # Aliases are followed; a few lines of them would otherwise become a billion values.
_NULL = "tag:yaml.org,2002:null"


class BadDocument(Exception):
    """The text cannot be read; faults says why."""

    def __init__(self, faults: list[Fault]) -> None:
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
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadDocument([Fault(mark.line + 1 if mark else 0, f"yaml: {error.problem or error}")]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise BadDocument([Fault(0, f"yaml: {error}")]) from None
    if node is None:
        return Value(None, 1)
    reader = _Reader()
    found = reader.value(node)
    if reader.faults:
        raise BadDocument(reader.faults)
    return found


class _Reader:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._node_count = 0

    def value(self, node: yaml.Node) -> Value:
        self._node_count += 1
        line = node.start_mark.line + 1
        if self._node_count > NODE_COUNT_MAX:
            raise BadDocument([Fault(line, f"the file has more than {NODE_COUNT_MAX:,} values")])
        if isinstance(node, yaml.ScalarNode):
            return Value(None if node.tag == _NULL else node.value, line)
        if isinstance(node, yaml.SequenceNode):
            return Value([self.value(item) for item in node.value], line)
        assert isinstance(node, yaml.MappingNode), node
        found: dict[str, Value] = {}
        for key, item in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not isinstance(key, yaml.ScalarNode):
                self.faults.append(Fault(key.start_mark.line + 1, "a name must be a plain word"))
            elif name in found:
                self.faults.append(Fault(key.start_mark.line + 1, f'"{name}" is given twice'))
            found[name] = self.value(item)
        return Value(found, line)


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
