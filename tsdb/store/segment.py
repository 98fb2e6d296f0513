"""One segment of the log, read from the outside: its frames in order, and what is wrong with each stretch of bytes.

What a replay at a start does quietly is said here: frames that are missing, samples of series that no frame defined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.sample import Int32s
from tsdb.store.disk import Bytes
from tsdb.store.frame import SEGMENT_HEADER_BYTES, Damage, Frame, read_frames


@dataclass(frozen=True, slots=True)
class Stretch:
    """The bytes from start to end of a segment: a frame, or what is there in the place of one.

    frame: what of it is whole, None if nothing is; is_whole: that is all of it. is_known: which of its samples are of
    series that the segment has defined so far. is_tail: nothing readable follows a damaged stretch, as after a torn
    write.
    """

    start: int
    end: int
    frame: Frame | None
    is_whole: bool
    is_known: npt.NDArray[np.bool_]
    faults: tuple[str, ...]
    is_tail: bool

    @property
    def is_damaged(self) -> bool:
        return bool(self.faults)

    @property
    def unknown_count(self) -> int:
        return self.is_known.size - int(np.count_nonzero(self.is_known))


def stretches(data: Bytes) -> Iterator[Stretch]:
    """All of a segment behind its header, in the order of its bytes."""
    is_defined = np.zeros(1_024, np.bool_)  # by the segment's id
    expected: int | None = 0  # The sequence of the next frame; None behind bytes that may have been any number of them.
    at = SEGMENT_HEADER_BYTES
    for found in read_frames(data):
        faults = []
        if isinstance(found, Damage):
            frame, is_whole, is_tail = found.frame, False, found.is_tail
            faults.append(found.what)
        else:
            frame, is_whole, is_tail = found, True, False
        is_known = np.empty(0, np.bool_)
        if frame is None:
            expected = None
        else:
            if expected is not None and frame.sequence != expected:
                faults.append(f"frame {frame.sequence:,} stands where frame {expected:,} belongs")
            expected = frame.sequence + 1
            is_defined, is_known = _defined(is_defined, frame)
            if not is_known.all():
                count = is_known.size - int(np.count_nonzero(is_known))
                faults.append(f"{count:,} samples of series that the segment does not define")
        yield Stretch(at, found.end, frame, is_whole, is_known, tuple(faults), is_tail)
        at = found.end


def _defined(is_defined: npt.NDArray[np.bool_], frame: Frame) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """What is defined behind the frame, and which of its samples are."""
    is_defined = _with_room(is_defined, frame.definitions.ids)
    is_defined[frame.definitions.ids] = True
    is_defined = _with_room(is_defined, frame.samples.series)
    return is_defined, is_defined[frame.samples.series]


def _with_room(is_defined: npt.NDArray[np.bool_], ids: Int32s) -> npt.NDArray[np.bool_]:
    count = int(ids.max()) + 1 if ids.size else 0
    if count <= is_defined.size:
        return is_defined
    grown = np.zeros(max(count, 2 * is_defined.size), np.bool_)
    grown[: is_defined.size] = is_defined
    return grown
