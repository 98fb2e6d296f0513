"""Text for strangers: what looks like a secret is taken out, and so is whatever is known to be one.

It errs on the side of taking too much: a report that lacks a word can still be read, one with a password cannot be
taken back. What is told apart by its form: parts of addresses behind which secrets stand (user and password, paths of
webhooks, parameters), headers that identify, values with a telling name, and long random words.
"""

from __future__ import annotations

import re
from collections.abc import Collection

REMOVED = "[removed]"
KNOWN_CHARACTERS_MIN = 4  # A known secret that is shorter would take ordinary words with it.
_TELLING = (
    r"[\w.-]{0,40}(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key|credential|cookie|session)"
    r"[\w.-]{0,40}"
)
_QUOTE = r"\\?['\"]?"  # In JSON inside JSON, quotes have a backslash.
_HEADER = r"\b(?:proxy-)?authorization|\b(?:set-)?cookie|\bx-[\w-]*(?:token|key|auth)[\w-]*"
_VALUE = r"(\\?\"(?:[^\"\\]|\\.)*\"?|\\?'(?:[^'\\]|\\.)*'?|[^\s,;&})\]]+)"
_RULES = (
    # Headers, to the end of their line or of their quotes.
    (rf"(?i)({_HEADER})({_QUOTE}\s*[:=,]\s*{_QUOTE})[^\r\n'\"\\]+", rf"\1\2{REMOVED}"),
    (r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}", rf"\1 {REMOVED}"),
    # Addresses: user and password; then everything behind the host, for a path can be the secret of a webhook.
    (r"://[^\s@/'\"]{1,500}@", f"://{REMOVED}@"),
    (r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s/?#'\"\\]{1,300})[/?#][^\s'\"\\<>)]+", rf"\1/{REMOVED}"),
    (r"(/(?:push|first|setup|login|link)/)[^\s/?'\"\\]+", rf"\1{REMOVED}"),
    (r"([?&][\w.%\[\]-]{1,60}=)[^&\s'\"\\]+", rf"\1{REMOVED}"),
    # name = value, "name": "value".
    (rf"(?i)((?<![\w.-]){_TELLING}{_QUOTE}\s*[:=]\s*){_VALUE}", rf"\1{REMOVED}"),
    (r"\bhenge_[\w-]{8,}", REMOVED),
    (r"\bsealed:[\w:=-]+", REMOVED),
    # Random words: 32 hexadecimal digits, or 20 characters with small and capital letters and digits.
    (r"\b[0-9a-fA-F]{32,}\b", REMOVED),
    (r"(?<![\w-])(?=[\w-]{0,200}[a-z])(?=[\w-]{0,200}[A-Z])(?=[\w-]{0,200}[0-9])[\w-]{20,200}(?![\w-])", REMOVED),
)
_COMPILED = tuple((re.compile(pattern), replacement) for pattern, replacement in _RULES)
LINE_CHARACTERS_MAX = 4_000  # A longer line is cut before it is looked at: its end may be the half of a secret.


def redacted(text: str, known: Collection[str] = ()) -> str:
    """known: secrets as they are, wherever they stand; they go first, longest first."""
    for secret in sorted({one for one in known if len(one) >= KNOWN_CHARACTERS_MIN}, key=len, reverse=True):
        text = text.replace(secret, REMOVED)
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    rest = ""
    if len(line) > LINE_CHARACTERS_MAX:
        line, rest = line[:LINE_CHARACTERS_MAX].rpartition(" ")[0], " [cut]"
    for pattern, replacement in _COMPILED:
        line = pattern.sub(replacement, line)
    return line + rest
