"""The limit of open files rises where it may, and never falls."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from tests.running import CHECKOUT

TOLD = "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "found"),
    [(64, 256, 128, (128, 256)), (64, 256, 1_000, (256, 256)), (128, 256, 100, (128, 256))],
)
def test_so_many_files_as_the_hard_limit_allows(soft: int, hard: int, wanted: int, found: tuple[int, int]) -> None:
    program = f"from appliance.files import allow_open_files; allow_open_files({wanted}); {TOLD}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )
    assert tuple(map(int, done.stdout.split())) == found
