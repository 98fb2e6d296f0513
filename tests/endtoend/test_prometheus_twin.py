"""The same samples and the same questions for an appliance and for Debian's own Prometheus."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.profile import IS_FULL
from tests.scripts.twin import run

QUESTIONS_OF_A_STAGE = 2_000 if IS_FULL else 40


def test_both_answer_the_same(tmp_path: Path) -> None:
    """Method: tests/scripts/twin.py, where the samples and the questions come from a seed."""
    assert shutil.which("prometheus"), "prometheus is missing: `make test-tools` installs Debian's"
    seed = random.randrange(2**31) if IS_FULL else 11
    outcome = run(tmp_path, seed=seed, seconds=0, count_max=QUESTIONS_OF_A_STAGE)
    assert not outcome.differences, f"python -m tests.scripts.twin --seed {seed}\n" + "\n".join(outcome.differences)
    assert outcome.asked_count == 3 * QUESTIONS_OF_A_STAGE
