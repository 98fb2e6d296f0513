"""Looks at an address that somebody has typed, with the probes of checks, and says what would be worth watching."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from checks.model import Check, Result
from checks.suggestions.address import parse
from checks.suggestions.candidates import Candidate, candidates
from checks.suggestions.choice import Looked, suggestions

LOOK_TIMEOUT_S = 4.0  # Of each probe; with the half second in which one may be cut off, a look takes under 5 s.
LOOKS_AT_ONCE = 4  # Each is up to 20 connections.

TryOut = Callable[[Check], Awaitable[Result]]


class Looker:
    """Runs in one event loop."""

    def __init__(self, try_out: TryOut) -> None:
        self._try_out = try_out
        self._places = asyncio.Semaphore(LOOKS_AT_ONCE)

    async def look(self, text: str) -> Looked:
        """All candidates side by side; nothing is recorded. Raises: OptionError, for what is no address."""
        address = parse(text)
        wanted = candidates(address)
        async with self._places:
            results = await asyncio.gather(*(self._try_out(_as_check(one)) for one in wanted))
        return suggestions(address, list(zip(wanted, results, strict=True)))


def _as_check(candidate: Candidate) -> Check:
    return Check(kind=candidate.kind, name=candidate.name, options=candidate.options, timeout_s=LOOK_TIMEOUT_S)
