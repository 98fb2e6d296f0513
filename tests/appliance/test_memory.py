"""A process that asks for it uses its large blocks again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# In a process of its own: the setting outlives the test. Faults are counted, not time, which others share.
PROGRAM = """
import resource
import numpy as np
from appliance.memory import keep_large_blocks

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def churn():
    before = faults()
    for _ in range(20):
        np.ones(500_000) + 1.0
    return faults() - before

churn()
by_default = churn()
assert keep_large_blocks(4)
churn()
print(by_default, churn())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_blocks_of_megabytes_are_not_given_back_after_each_operation() -> None:
    shown = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    by_default, kept = map(int, shown.split())
    assert kept * 5 < max(by_default, 1_000), shown
