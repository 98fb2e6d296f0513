"""The errors that a person at the terminal has to act on."""

from __future__ import annotations


class CannotStart(Exception):
    """Something outside the program stands in the way. The text is one line: what, which value, the way out."""

    code = "cannot_start"
