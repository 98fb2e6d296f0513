"""How often the value of a series changed or fell within a window."""

from __future__ import annotations

import numpy as np

from tsdb.query.kernel.steps import Bools
from tsdb.query.kernel.windows import Windows
from tsdb.sample import Float64s


def window_changes(windows: Windows) -> Float64s:
    """Samples that differ from the one before; NaN after NaN is no change."""
    before, after = windows.value[:-1], windows.value[1:]
    return _counted(windows, (before != after) & ~(np.isnan(before) & np.isnan(after)))


def window_resets(windows: Windows) -> Float64s:
    """Samples that are below the one before: restarts of a counter."""
    return _counted(windows, windows.value[1:] < windows.value[:-1])


def _counted(windows: Windows, happened: Bools) -> Float64s:
    """happened[i] tells of samples i and i + 1; both must lie in the window to count."""
    until = np.zeros(windows.value.size + 1, np.int64)
    np.cumsum(happened, out=until[2:])
    return (until[windows.end] - until[np.minimum(windows.first + 1, windows.end)]).astype(np.float64)
