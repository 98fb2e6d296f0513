"""How fast `henge import whisper` is: files and points a second, acknowledged, all counted by query afterwards.

The tree is that of one schema, its rings full; the clock is the command's own, from the first file to the last answer.
"""

from __future__ import annotations

import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.figure import Figure, machine
from tests.bench.tree import usage
from tests.running import CHECKOUT, HENGE, Appliance
from tests.tsdb.importing.whisper_files import file_of, ring, write_file

_TOLD = re.compile(r"imported ([\d,]+) files, ([\d,]+) points .* in ([\d,.]+) s")
_COUNTED = re.compile(r"counted by query: ([\d,]+) of ([\d,]+) points")
IMPORT_S_MAX = 3_600


def run(*, files_count: int, archives: Sequence[tuple[int, int]], settings: Sequence[str] = ()) -> Iterator[Figure]:
    """archives: (seconds a point, points), finest first."""
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work) / "tree"
        newest_s = int(time.time()) - 60
        for number in range(files_count):
            rings = [
                (step_s, ring(step_s, count, newest_s // step_s * step_s, start=number, scale=1 / (number + 1)))
                for step_s, count in archives
            ]
            write_file(tree, f"servers/web{number // 100}/m{number % 100}.wsp", file_of(rings))
        with Appliance(Path(work), settings=settings) as appliance:
            pid, names = appliance.ready["pid"], appliance.ready["processes"]
            before, own_before = usage(pid, names).cpu_s, _children_cpu_s()
            argv = [*HENGE, "import", "whisper", str(tree), "--data", str(appliance.data_dir)]
            done = subprocess.run(argv, capture_output=True, text=True, cwd=CHECKOUT, timeout=IMPORT_S_MAX)
            after, own_after = usage(pid, names).cpu_s, _children_cpu_s()
    told, counted = _TOLD.search(done.stdout), _COUNTED.search(done.stdout)
    if done.returncode or told is None or counted is None or counted[1] != counted[2]:
        raise SystemExit(f"the import failed: {done.stdout}{done.stderr}")
    files, points, took_s = (float(text.replace(",", "")) for text in told.groups())
    conditions = machine() | {
        "files": files,
        "points": points,
        "archives": archives,
        "settings": list(settings),
        "counted": counted[0],
        "cpu_s_by_process": {name: round(cpu_s - before.get(name, 0.0), 2) for name, cpu_s in after.items()},
        "cpu_s_of_command_with_counting": round(own_after - own_before, 2),
    }
    for metric, value, unit in (("files", files / took_s, "files/s"), ("points", points / took_s, "points/s")):
        yield Figure(
            bench="whisper", metric=f"import: {metric}", value=round(value, 1), unit=unit, conditions=conditions
        )


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
