"""Files of sections, as carbon's are: `[name]` and `key = value`, comments with # or ;, in the order of the file."""

from __future__ import annotations

import configparser
from dataclasses import dataclass

SECTIONS_COUNT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    options: dict[str, str]  # Keys in lower case.


def sections_of(text: str) -> list[Section]:
    """Of two sections of one name, the later options count, at the first one's place. Raises: ValueError."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=", ":"), comment_prefixes=("#", ";"))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(" ".join(str(error).replace("'<string>'", "the file").split())) from error
    found = [Section(name, dict(parser.items(name))) for name in parser.sections()]
    if len(found) > SECTIONS_COUNT_MAX:
        raise ValueError(f"{len(found):,} sections; at most {SECTIONS_COUNT_MAX:,} are read")
    return found


def rules_count(text: str) -> int:
    """How many lines say something."""
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
