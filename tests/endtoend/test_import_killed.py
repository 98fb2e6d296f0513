"""kill -9 in the middle of an import of history: after a second one every point is there, once, with its value."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.running import CHECKOUT, HENGE, Appliance
from tests.tsdb.importing.whisper_files import POINT, file_of, write_file
from tests.waiting import wait_until
from tsdb.importing.journal import journal_path

NOW_S = int(time.time()) // 120 * 120 - 120
FILES_COUNT, POINTS_COUNT = 16, 150_000  # 2.4 million: five batches, of which two are under way and one is read.
# One minute in two, so that the files reach back 208 days: past the 90 days of raw samples, into rollups of a minute.
TIMES_S = NOW_S - 120 * np.arange(POINTS_COUNT - 1, -1, -1, dtype=np.int64)


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("killed")) as running:
        yield running


def tree_of(root: Path, victim: str) -> Path:
    for number in range(FILES_COUNT):
        points = np.zeros(POINTS_COUNT, POINT)
        points["time"] = TIMES_S
        points["value"] = (TIMES_S // 120 + number) % 97
        write_file(root, f"{victim}/s{number:02}.wsp", file_of([(120, points.tobytes())]))
    return root


def importing(appliance: Appliance, root: Path) -> subprocess.Popen[str]:
    argv = [*HENGE, "import", "whisper", str(root), "--verify", "--data", str(appliance.data_dir)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT)


def kill_tree(appliance: Appliance) -> None:
    process = appliance.process
    assert process is not None
    for pid in (process.pid, *map(int, appliance.ready["processes"].values())):
        with contextlib.suppress(ProcessLookupError):  # It ends with its parent.
            os.kill(pid, signal.SIGKILL)
    process.wait()
    appliance.process = None


@pytest.mark.parametrize("victim", ["import", "store", "tree"])
def test_a_second_import_after_kill_9_has_every_point_once(appliance: Appliance, tmp_path: Path, victim: str) -> None:
    root = tree_of(tmp_path, victim)
    path = journal_path(appliance.data_dir, root, "")
    first = importing(appliance, root)
    try:

        def is_in_the_middle() -> bool:
            assert first.poll() is None, first.communicate()
            return path.exists() and path.stat().st_size > 0

        wait_until(is_in_the_middle, timeout_s=60, what="a file that is done")
        if victim == "import":
            first.kill()
        elif victim == "store":
            appliance.wait_restarted("store", appliance.kill("store"), timeout_s=60)
        else:
            kill_tree(appliance)
            first.kill()  # It would wait for the appliance for five minutes.
        first.wait(timeout=120)
    finally:
        first.kill()
        first.communicate()
    if victim == "tree":
        appliance.start()
    second = importing(appliance, root)
    out, errors = second.communicate(timeout=120)
    assert second.returncode == 0, (out, errors)
    assert victim == "store" or "imported 0 files" not in out, "the kill came too late to show anything"
    total = FILES_COUNT * POINTS_COUNT
    assert f"counted by query: {total:,} of {total:,} points of {FILES_COUNT} files" in out
    for number in range(FILES_COUNT):
        name = f'{{__name__="{victim}.s{number:02}"}}[300d]'
        ((count,), (total,)) = (
            [float(one["value"][1]) for one in appliance.query(f"{function}({name})", time_s=NOW_S)]
            for function in ("count_over_time", "sum_over_time")
        )
        assert (count, total) == (POINTS_COUNT, ((TIMES_S // 120 + number) % 97).sum()), name
