"""What a caller of the render API did wrong."""

from __future__ import annotations

from tsdb.errors import RefusedQuery


class BadTarget(RefusedQuery):
    """A target that cannot be read, or a function that was called in a wrong way."""


class BadTime(RefusedQuery):
    """A time or an interval that cannot be read."""
