"""How fast counters rise, between two looks at them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from flask import current_app

LOOK_S_MIN = 2.0  # Two viewers who poll at once would otherwise measure over milliseconds.
LOOK_S_MAX = 60.0  # Older looks say how it was, not how it is.


@dataclass(slots=True)
class Rates:
    """The latest look at each set of counters. Thread-safe."""

    _looks: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, counters: dict[str, float], at_s: float) -> dict[str, float]:
        """The rise per second of each counter since a look 2 to 60 s ago; empty without one. A restart counts as 0."""
        with self._lock:
            self._looks = [look for look in self._looks if at_s - look[0] <= LOOK_S_MAX]
            base = next((look for look in reversed(self._looks) if at_s - look[0] >= LOOK_S_MIN), None)
            if not self._looks or at_s - self._looks[-1][0] >= LOOK_S_MIN:
                self._looks.append((at_s, dict(counters)))
        if base is None:
            return {}
        then_s, then = base
        return {name: max(0.0, count - then.get(name, 0.0)) / (at_s - then_s) for name, count in counters.items()}


def rates() -> Rates:
    found = current_app.extensions["henge_rates"]
    assert isinstance(found, Rates)
    return found
