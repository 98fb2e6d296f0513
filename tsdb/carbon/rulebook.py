"""What carbon's rule files say of one name: whether it is taken, what it is called, and what is made of it.

The order is carbon's: the lists look at the name as it was sent; then [pre] changes it, aggregation looks at it, and
[post] changes it for the store. A name that is the output of its own aggregation is not stored beside it.

Source: carbon 1.1.10, lib/carbon/protocols.py (metricReceived), pipeline.py, rewrite.py and aggregator/processor.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import re2

from tsdb.carbon.aggregation import Aggregation, Output, read_aggregations
from tsdb.carbon.rewriting import Pattern, Read, Rewrite, read_names, read_rewrites

READERS: Mapping[str, Callable[[str], Read]] = {
    "blacklist.conf": functools.partial(read_names, "blacklist"),
    "whitelist.conf": functools.partial(read_names, "whitelist"),
    "rewrite-rules.conf": read_rewrites,
    "aggregation-rules.conf": read_aggregations,
}
_JOINED_BYTES_MAX = 8 << 20  # Of all patterns as one; where they do not fit, each is tried.


class Verdict(NamedTuple):
    refused: str = ""  # "blacklist", "whitelist" or nothing.
    name: str = ""  # As it is stored; empty, if it is not.
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Rulebook:
    blacklist: tuple[Pattern, ...] = ()
    whitelist: tuple[Pattern, ...] = ()
    pre: tuple[Rewrite, ...] = ()
    post: tuple[Rewrite, ...] = ()
    aggregations: tuple[Aggregation, ...] = ()
    _may_concern: Any = field(init=False, repr=False, compare=False)  # RE2's, of all patterns that do something.
    _is_white: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = [one.text for one in self.blacklist]
        texts += [one.pattern.text for one in (*self.pre, *self.post)]
        texts += [f"^(?:{one.pattern.text})" for one in self.aggregations]
        object.__setattr__(self, "_may_concern", _joined(texts))
        object.__setattr__(self, "_is_white", _joined([one.text for one in self.whitelist]))

    @property
    def is_empty(self) -> bool:
        return not (self.blacklist or self.whitelist or self.pre or self.post or self.aggregations)

    def verdict(self, name: str) -> Verdict | None:
        """None for most names: stored as it is, and nothing else."""
        if self._may_concern is not None and self._may_concern.search(name) is None:
            return Verdict("whitelist") if self._is_not_white(name) else None
        if any(pattern.is_in(name) for pattern in self.blacklist):
            return Verdict("blacklist")
        if self._is_not_white(name):
            return Verdict("whitelist")
        changed = _changed(name, self.pre)
        outputs: dict[str, Output] = {}
        for rule in self.aggregations:
            if (output := rule.output_of(changed)) is not None:
                outputs.setdefault(output.name, output)
        stored = "" if changed in outputs else _changed(changed, self.post)
        return None if stored == name and not outputs else Verdict("", stored, tuple(outputs.values()))

    def _is_not_white(self, name: str) -> bool:
        if not self.whitelist:
            return False
        if self._is_white is not None:
            return self._is_white.search(name) is None
        return not any(pattern.is_in(name) for pattern in self.whitelist)


def _changed(name: str, rules: Sequence[Rewrite]) -> str:
    for rule in rules:
        name = rule.apply(name)
    return name


def _joined(patterns: Sequence[str]) -> Any:
    """One regular expression that is found where any of them is; None where they are too large for one."""
    options = re2.Options()
    options.dot_nl = True
    options.never_capture = True  # Two patterns may have groups of one name.
    options.log_errors = False
    options.max_mem = _JOINED_BYTES_MAX
    try:
        return re2.compile("|".join(f"(?:{one})" for one in patterns) if patterns else r"[^\x00-\x{10FFFF}]", options)
    except re2.error:
        return None
