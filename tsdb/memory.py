"""How the processes of this room keep their memory: freed pages go back, and the collector of cycles never pauses long.

Samples, series and answers live in columns, so few objects are there for the collector to look at; what made it pause
was that it looks at all of them, imports included, when many small ones come and go. Here it looks when it is told to.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.metrics import Metrics

STEP_S = 1.0
# Objects that came since the last look, net: fewer than a look of 10 ms takes. More are a body or an answer on its way,
# which goes without the collector's help; so long they are left alone.
YOUNG_COUNT_MAX = 50_000
YOUNG_WAIT_STEPS_MAX = 30
# A crowd that is still there then is, as a rule, a library that was imported when first needed: so often it stays
# for good without a look. Later ones are looked at, however long it takes.
CROWDS_KEPT_MAX = 4
YOUNG_COUNT_MIN = 2_000  # Fewer are not worth a look.
OLD_EVERY_STEPS = 60
# After a look at everything that took so long, what it left is not looked at again.
OLD_PAUSE_S_MAX = 0.025
TRIM_EVERY_STEPS = 10
TRIM_SPARE_BYTES = 24 << 20
CALM_SHARE = 0.1  # A process that uses less of a core is calm.
TRIM_SPARE_CALM_BYTES = 2 << 20
PR_SET_THP_DISABLE = 41  # linux/prctl.h
ARENA_COUNT_MAX = 2  # One for each core; by default eight, each of which keeps what it once had.
_PAGE_BYTES = 4_096


class Housekeeping:
    """The collector's pauses, and the pages of this process. step() is for one thread, about once in STEP_S."""

    def __init__(
        self,
        name: str,
        metrics: Metrics,
        *,
        spare_bytes_max: int = TRIM_SPARE_BYTES,
        calm_after_s: float = TRIM_EVERY_STEPS * STEP_S,
        clock_s: Callable[[], float] = time.perf_counter,
        work_s: Callable[[], float] = time.process_time,
    ) -> None:
        """spare_bytes_max: what a process at work may hold over what it held after the last trim, before there is
        another. calm_after_s: a process that used less of a core for so long will not need its spare room at once."""
        self._name = name
        self._spare_bytes_max = spare_bytes_max
        self._calm_after_steps = calm_after_s / STEP_S
        self._clock_s = clock_s
        self._work_s = work_s
        self._gauge = metrics.gauge(
            "henge_gc_pause_seconds_max", "The longest pause that Python's collector of cycles made, by process."
        )
        self._gauge.set(0.0, process=name)
        self._began_s = 0.0
        self.pause_s_max = 0.0
        self._young_waited = self._old_waited = self._trim_waited = 0
        self._crowds_left = CROWDS_KEPT_MAX
        self._kept_bytes = 0
        self._worked_s = work_s()
        self._calm_steps = 0

    def begin(self) -> None:
        """Take over from the automatic collector; what is there by now stays for good, and is not looked at again."""
        gc.collect()
        gc.freeze()
        gc.disable()
        gc.callbacks.append(self._note)

    def end(self) -> None:
        """Give the collector back, for tests."""
        gc.callbacks.remove(self._note)
        gc.enable()
        gc.unfreeze()
        allow_huge_pages(is_allowed=True)

    def step(self) -> None:
        self._collect()
        self._note_work()
        self._trim_waited += 1
        if self._trim_waited >= TRIM_EVERY_STEPS:
            self._trim()

    def run(self, stopping: threading.Event) -> None:
        while not stopping.wait(STEP_S):
            self.step()

    def start(self, stopping: threading.Event) -> None:
        """begin(), and step() in a thread of its own until stopping."""
        self.begin()
        threading.Thread(target=self.run, args=(stopping,), name="housekeeping", daemon=True).start()

    def _collect(self) -> None:
        self._old_waited += 1
        young_count = gc.get_count()[0]
        if young_count > YOUNG_COUNT_MAX and self._young_waited < YOUNG_WAIT_STEPS_MAX:
            self._young_waited += 1
            return
        self._young_waited = 0
        if young_count > YOUNG_COUNT_MAX and self._crowds_left:
            self._crowds_left -= 1
            gc.freeze()
            return
        if self._old_waited < OLD_EVERY_STEPS:
            if young_count >= YOUNG_COUNT_MIN:
                gc.collect(0)
            return
        self._old_waited = 0
        start_s = self._clock_s()
        gc.collect()
        if self._clock_s() - start_s > OLD_PAUSE_S_MAX:
            gc.freeze()

    def _note_work(self) -> None:
        """Huge pages are for a process that works.

        In one that has done its work the kernel fills them up again, and so undoes what was given back: after the flush
        of a million series the store held 120 MB of nothing.
        """
        before_s, self._worked_s = self._worked_s, self._work_s()
        is_busy = self._worked_s - before_s >= CALM_SHARE * STEP_S
        was_calm = self._is_calm
        self._calm_steps = 0 if is_busy else self._calm_steps + 1
        if self._is_calm != was_calm:
            allow_huge_pages(is_allowed=was_calm)
            if self._is_calm:
                self._kept_bytes = 0  # What was held at work is no measure for a calm process: there is a trim now.

    @property
    def _is_calm(self) -> bool:
        return self._calm_steps >= self._calm_after_steps

    def _trim(self) -> None:
        if resident_bytes() > self._kept_bytes + (TRIM_SPARE_CALM_BYTES if self._is_calm else self._spare_bytes_max):
            give_back()
            self._kept_bytes = resident_bytes()
            self._trim_waited = 0

    def _note(self, phase: str, _: dict[str, Any]) -> None:
        if phase == "start":
            self._began_s = self._clock_s()
            return
        pause_s = self._clock_s() - self._began_s
        if pause_s > self.pause_s_max:
            self.pause_s_max = pause_s
            self._gauge.set(pause_s, process=self._name)


def give_back() -> None:
    """Give freed pages back to the kernel, those between others too. Other threads run meanwhile."""
    try:
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
    except (OSError, AttributeError):
        return


def allow_huge_pages(*, is_allowed: bool) -> None:
    """Tell Linux whether this process may have pages of 2 MiB, as numpy asks for large arrays. See prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 0 if is_allowed else 1, 0, 0, 0)


def resident_bytes() -> int:
    """The memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0
