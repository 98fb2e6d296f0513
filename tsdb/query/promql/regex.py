"""Regular expressions as PromQL writes them (RE2), for the matchers here, which are Python's."""

from __future__ import annotations

import re

from tsdb.errors import NotSupported, RefusedQuery

POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
}
# Perl's classes are ASCII in RE2 and Unicode in Python.
PERL_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
INLINE_FLAGS = re.compile(r"\(\?([a-zA-Z]*)(-[a-zA-Z]+)?([:)])")


def python_pattern(pattern: str) -> str:
    """The same language in Python's notation; to be matched against a whole value with re.DOTALL.

    Raises: RefusedQuery, if it is no regular expression; NotSupported, by name, where Python cannot say it.
    """
    if pattern.isalnum():
        return pattern
    translated = _Translation(pattern).run()
    try:
        re.compile(translated, re.DOTALL)
    except re.error as error:
        raise RefusedQuery(f"error parsing regexp {pattern[:200]!r}: {error}") from None
    return translated


class _Translation:
    """One walk over the pattern; `open_flags` counts the flag groups to close at the end of each bracket."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._out: list[str] = []
        self._open_flags = [0]

    def run(self) -> str:
        while self._at < len(self._pattern):
            character = self._pattern[self._at]
            if character == "\\":
                self._escape(in_class=False)
            elif character == "[":
                self._class()
            elif character == "(":
                self._group()
            elif character == "|":
                self._alternative()
            elif character == ")":
                self._out.append(")" * (self._open_flags.pop() + 1) if len(self._open_flags) > 1 else ")")
                self._at += 1
            else:
                self._plain(character)
        return "".join(self._out) + ")" * self._open_flags[0]

    def _plain(self, character: str) -> None:
        following = self._pattern[self._at + 1 : self._at + 2]
        if character in "*+?}" and following == "+":
            # RE2 has no possessive repetition and refuses it; Python would read one.
            raise RefusedQuery(f"error parsing regexp {self._pattern[:200]!r}: invalid nested repetition operator")
        if character == "{" and following == ",":
            character = r"\{"  # RE2 takes `{,2}` literally.
        self._out.append(r"\Z" if character == "$" else character)
        self._at += 1

    def _alternative(self) -> None:
        if self._open_flags[-1]:
            # The flags reach over the alternatives that follow; a flag group around all of them needs a rewrite.
            raise NotSupported(f"a flag before | in the regular expression {self._pattern[:80]!r}")
        self._out.append("|")
        self._at += 1

    def _group(self) -> None:
        rest = self._pattern[self._at :]
        flags = INLINE_FLAGS.match(rest)
        if flags is None:
            if rest.startswith(("(?=", "(?!", "(?<=", "(?<!", "(?>", "(?(", "(?P=", "(?#")):
                raise RefusedQuery(f"error parsing regexp {self._pattern[:200]!r}: invalid or unsupported Perl syntax")
            named = rest.startswith("(?<")
            self._out.append("(?P<" if named else "(")
            self._at += 3 if named else 1
            self._open_flags.append(0)
            return
        on, off, end = flags.groups()
        if set(on + (off or "")) - set("is-"):
            raise NotSupported(f"the flag {flags.group()} in a regular expression")
        self._at += flags.end()
        if end == ":":
            self._out.append(f"(?{on}{off or ''}:")
            self._open_flags.append(0)
        else:
            # `(?i)` holds to the end of the bracket it stands in; Python only knows the form with a bracket.
            self._out.append(f"(?{on}{off or ''}:")
            self._open_flags[-1] += 1

    def _escape(self, *, in_class: bool) -> None:
        letter = self._pattern[self._at + 1 : self._at + 2]
        if letter.lower() in PERL_CLASSES:
            body = PERL_CLASSES[letter.lower()]
            if in_class and letter.isupper():
                raise NotSupported(f"\\{letter} within brackets in a regular expression")
            self._out.append(body if in_class else f"[{'^' if letter.isupper() else ''}{body}]")
        elif letter == "z":
            self._out.append(r"\Z")
        elif letter in ("p", "P", "C", "Q", "E", "Z", "x") or letter.isdigit():
            if letter != "x" or self._pattern[self._at + 2 : self._at + 3] == "{":
                raise NotSupported(f"\\{letter} in a regular expression")
            self._out.append("\\x")
        elif letter in ("b", "B"):
            raise NotSupported(f"\\{letter} in a regular expression")
        else:
            self._out.append("\\" + letter)
        self._at += 2

    def _class(self) -> None:
        """`[…]`: POSIX names and Perl classes are spelled out; a first `]` is a member."""
        self._out.append("[")
        self._at += 1
        if self._pattern[self._at : self._at + 1] == "^":
            self._out.append("^")
            self._at += 1
        is_first = True
        while self._at < len(self._pattern):
            character = self._pattern[self._at]
            if character == "]" and not is_first:
                self._out.append("]")
                self._at += 1
                return
            is_first = False
            self._member(character)
        raise RefusedQuery(f"error parsing regexp {self._pattern[:200]!r}: missing closing ]")

    def _member(self, character: str) -> None:
        if character == "\\":
            self._escape(in_class=True)
            return
        posix = re.match(r"\[:(\^?)(\w+):\]", self._pattern[self._at :])
        if posix is None:
            self._out.append("\\" + character if character in "[]&~|" else character)
            self._at += 1
            return
        if posix.group(1) or posix.group(2) not in POSIX_CLASSES:
            raise NotSupported(f"{posix.group()} in a regular expression")
        self._out.append(POSIX_CLASSES[posix.group(2)])
        self._at += posix.end()
