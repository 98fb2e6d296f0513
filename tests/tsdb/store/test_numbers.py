"""Columns of whole numbers in the frames of the log: any column comes back, and damage is refused, not decoded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.store.disk import Bytes
from tsdb.store.numbers import CONSTANT, STEPS, UINT8, UINT16, UINT32, WIDE, coded, decoded

PAGE = Path(__file__).resolve().parents[3] / "docs" / "format" / "wal.md"
VECTORS = re.findall(r"^\| (ids|times) `(.+)` \| (\d) \| (\d+) \| `(.*)` \|$", PAGE.read_text(), re.MULTILINE)
DTYPES: dict[str, np.dtype[Any]] = {"ids": np.dtype(np.int32), "times": np.dtype(np.int64)}
Array = np.ndarray[Any, Any]


def bytes_of(parts: list[Any]) -> Bytes:
    return np.frombuffer(b"".join(bytes(memoryview(part).cast("B")) for part in parts), np.uint8)


def numbers_of(text: str) -> list[int]:
    """`5 … 7` and `5 × 3` are three numbers each."""
    found: list[int] = []
    for piece in text.split(", "):
        if "…" in piece:
            first, last = map(int, piece.split(" … "))
            found += range(first, last + 1)
        elif "×" in piece:
            number, count = map(int, piece.split(" × "))
            found += [number] * count
        else:
            found += map(int, piece.split())
    return found


def coded_of(column: Array) -> tuple[int, int, Bytes]:
    found = coded(column, int(column.min()), int(column.max()))
    return found.codec, found.base, bytes_of(found.parts)


def test_there_are_vectors() -> None:
    assert {int(codec) for _, _, codec, _, _ in VECTORS} == {WIDE, CONSTANT, UINT8, UINT16, UINT32, STEPS}


@pytest.mark.parametrize(("kind", "text", "codec", "base", "data"), VECTORS)
def test_the_vectors_of_the_columns(kind: str, text: str, codec: str, base: str, data: str) -> None:
    column = np.array(numbers_of(text), DTYPES[kind])
    found = coded_of(column)
    assert (found[0], found[1], found[2].tobytes().hex()) == (int(codec), int(base), data)
    back, used = decoded(np.frombuffer(bytes.fromhex(data), np.uint8), int(codec), int(base), column.size, column.dtype)
    assert (back.tolist(), used) == (column.tolist(), len(data) // 2)


stretch = st.tuples(st.integers(0, 2**31 - 1), st.integers(1, 40))
columns = st.tuples(
    st.sampled_from(["ids", "times"]),
    st.integers(-70_000, 70_000) | st.sampled_from([0, 1, 10_000]),
    st.lists(stretch, min_size=1, max_size=6),
    st.sampled_from([2**31, 2**16, 2**8, 1]),
)


@given(columns)
def test_any_column_comes_back(given_column: tuple[str, int, list[tuple[int, int]], int]) -> None:
    kind, step, stretches, modulus = given_column
    numbers = [(first + step * at) % modulus for first, length in stretches for at in range(length)]
    column = np.array(numbers, DTYPES[kind])
    codec, base, data = coded_of(column)
    back, used = decoded(np.append(data, np.zeros(8, np.uint8)), codec, base, column.size, column.dtype)
    assert (back.tolist(), back.dtype, used) == (numbers, column.dtype, data.size)
    assert data.size <= column.nbytes


@pytest.mark.parametrize("step", [0, 1, -3, 10_000])
def test_stretches_of_any_step_take_a_few_bytes(step: int) -> None:
    column = np.concatenate([np.arange(100) * step + first for first in (500_000, 700_000, 500_000)])
    codec, _, data = coded_of(column)
    assert (codec, data.size) == (STEPS, 8 + 3 * 12)


WHOLE = coded_of(np.concatenate([np.arange(5, 21), np.arange(3, 19)]).astype(np.int32))[2]


@pytest.mark.parametrize(
    ("data", "codec", "count", "words"),
    [
        (WHOLE, STEPS, 33, "stretches of 32 numbers in all, not 33"),
        (WHOLE, STEPS, 31, "stretches of 32 numbers in all, not 31"),
        (WHOLE[:-1], STEPS, 32, "23 bytes where 2 stretches are announced"),
        (WHOLE[:7], STEPS, 32, "7 bytes, stretches begin with 8"),
        (np.full(8, 255, np.uint8), STEPS, 32, "8 bytes where 4,294,967,295 stretches are announced"),
        (WHOLE, WIDE, 7, "24 bytes where 7 numbers of int32 are announced"),
        (WHOLE, UINT8, 25, "24 bytes where 25 numbers of uint8 are announced"),
        (WHOLE, 6, 2, "codec 6"),
    ],
)
def test_what_is_no_column_is_refused(data: Bytes, codec: int, count: int, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        decoded(data, codec, 0, count, np.dtype(np.int32))
