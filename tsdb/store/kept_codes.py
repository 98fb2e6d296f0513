"""The codes of a label that were asked for last: panels ask for the same series again and again.

The labels of a series never change, and its id is not given to another within one index, so what is kept stays true:
a selection with one series more has other ids, and is looked up anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from tsdb.sample import Int32s

Codes = tuple[Int32s, list[str]]

# At most 128 × (2 × 64 KiB of ids and codes + 64 values of about 100 B) = 17 MiB.
_KEPT_COUNT_MAX = 128
_SERIES_COUNT_MAX = 1 << 14
_VALUE_COUNT_MAX = 64


class KeptCodes:
    """Of one index; the least recently used leave first. Safe for threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bytes], Codes] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, name: str, ids: Int32s, look_up: Callable[[str, Int32s], Codes]) -> Codes:
        """What look_up says of a label and some series; the codes are not to be changed."""
        if ids.size > _SERIES_COUNT_MAX:
            return look_up(name, ids)
        key = (name, ids.tobytes())
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found[0], list(found[1])
        codes, values = look_up(name, ids)
        if len(values) <= _VALUE_COUNT_MAX:
            codes.setflags(write=False)
            with self._lock:
                self._kept[key] = codes, list(values)
                if len(self._kept) > _KEPT_COUNT_MAX:
                    self._kept.popitem(last=False)
        return codes, values
