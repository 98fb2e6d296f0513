"""The error that this room shows to people: what they wrote cannot be, and which part of it."""

from __future__ import annotations

from collections.abc import Mapping


class CheckError(ValueError):
    """A check, a channel or a downtime that is refused.

    code: a short word for JSON errors: invalid, not_found, conflict.
    field: the part that is wrong, such as "name" or "options.url"; None when it is the whole.
    errors: every part that is wrong, field → message, for a form that marks them all; it holds field too.
    """

    def __init__(
        self, code: str, message: str, field: str | None = None, *, errors: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.errors = dict(errors) if errors else ({field: message} if field else {})
