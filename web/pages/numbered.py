"""The pages of a long list on a page: `?page=2` in the address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from flask import request

T = TypeVar("T")
PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Numbered(Generic[T]):
    """One page of items; first and last count from 1."""

    items: list[T]
    count: int
    number: int
    size: int = PAGE_SIZE
    path: str = ""

    @property
    def first(self) -> int:
        return (self.number - 1) * self.size + 1 if self.items else 0

    @property
    def last(self) -> int:
        return self.first + len(self.items) - 1 if self.items else 0

    @property
    def previous_url(self) -> str | None:
        return self._url(self.number - 1) if self.number > 1 else None

    @property
    def next_url(self) -> str | None:
        return self._url(self.number + 1) if self.number * self.size < self.count else None

    def _url(self, number: int) -> str:
        arguments = [(name, value) for name, value in request.args.items(multi=True) if name != "page"]
        return f"{self.path or request.path}?{urlencode([*arguments, ('page', number)])}"


def numbered(items: list[T], *, size: int = PAGE_SIZE, path: str = "") -> Numbered[T]:
    """The page of a whole list that the address asks for."""
    number = asked_number(len(items), size=size)
    return Numbered(items[(number - 1) * size : number * size], len(items), number, size, path)


def asked_number(count: int, *, size: int = PAGE_SIZE) -> int:
    """The page that the address asks for; the nearest one that exists, if it asks for none of them."""
    text = request.args.get("page", "1")
    last = max(1, -(-count // size))
    return min(max(1, int(text)), last) if text.isdecimal() and len(text) < 9 else 1
