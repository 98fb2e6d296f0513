"""How thorough a run of the tests is: `ci`, which every change has time for, or `full` (`make fuzz`)."""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
IS_FULL = PROFILE == "full"
