"""What is wrong with a picture that was asked for."""

from __future__ import annotations


class BadPicture(ValueError):
    """The text says which argument, which value, which limit."""
