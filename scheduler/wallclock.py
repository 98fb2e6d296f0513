"""Notices when the wall clock steps: somebody set it, a daemon did, or the machine slept."""

from __future__ import annotations

from appliance.clock import Clock

STEP_MS_MIN = 500  # Slewing by NTP is at most 500 ppm: 0.5 ms a second; less than this is no step.


class StepWatch:
    """Compares the wall clock with the monotonic one at every look.

    What is planned in wall time must move with each step, or an hour back would silence every check for an hour, and
    a day forward would make all of them due at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_ms = clock.now_ms()
        self._monotonic_s = clock.monotonic_s()

    def step_ms(self) -> int:
        """By how much the wall clock has stepped since the last look; 0 if it has not."""
        wall_ms, monotonic_s = self._clock.now_ms(), self._clock.monotonic_s()
        passed_ms = wall_ms - self._wall_ms
        step_ms = round(passed_ms - (monotonic_s - self._monotonic_s) * 1000)
        self._wall_ms, self._monotonic_s = wall_ms, monotonic_s
        return step_ms if abs(step_ms) >= STEP_MS_MIN else 0
