"""A process that asks for it uses its large blocks again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# In a process of its own: the setting outlives the test. Faults are counted, not time, which others share.
PROGRAM = """
import resource
import sys
import threading
import numpy as np
from appliance import memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def churn():
    for _ in range(20):
        blocks = [np.ones(int(sys.argv[1])) for _ in range(4)]  # More at once than glibc keeps by itself.
        del blocks

def in_threads(count):
    for _ in range(count):
        thread = threading.Thread(target=churn)
        thread.start()
        thread.join()

assert eval(sys.argv[2])
churn()
in_threads(3)
before = faults()
in_threads(3)
print((faults() - before) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
@pytest.mark.parametrize(
    ("setting", "count"),
    [
        ("memory.keep_large_blocks(4)", 500_000),
        ("memory.keep_blocks_of_any_size(512 << 20)", 500_000),
        ("memory.keep_blocks_of_any_size(512 << 20)", 12_000_000),  # 96 MB, more than a thread's own arena may have.
    ],
)
def test_large_blocks_are_not_given_back_after_each_operation(setting: str, count: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(count), setting]
    small_pages = dict(os.environ, NUMPY_MADVISE_HUGEPAGE="0")  # Otherwise one fault may stand for 2 MiB.
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=small_pages)

    written_bytes = 3 * 20 * 4 * 8 * count  # Threads × rounds × blocks of a round.
    assert int(run.stdout) * 10 < written_bytes  # A thread may meet an arena that none used before.
