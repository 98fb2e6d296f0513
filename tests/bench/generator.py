"""The load generator and the peers of `shared/bench`, loaded from where they stand."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from tests.running import CHECKOUT
from tests.shared import SHARED


def load(name: str) -> ModuleType:
    """The module `bench` or `peers`. Exits, saying what is missing, when the folder is absent."""
    folder = SHARED / "bench"
    if not (folder / f"{name}.py").exists():
        raise SystemExit(f"{folder / name}.py is absent: place the folder `shared` beside the checkout")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    os.environ.setdefault("HENGE_PROJECT", str(CHECKOUT))
    return importlib.import_module(name)
