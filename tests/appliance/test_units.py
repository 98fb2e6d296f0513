"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.units import (
    DURATION_MS_MAX,
    SIZE_BYTES_MAX,
    duration_ms,
    duration_text,
    promql_duration_ms,
    size_bytes,
    size_text,
)

DURATIONS = {
    "200ms": 200,
    "10s": 10_000,
    "1m": 60_000,
    "1h": 3_600_000,
    "30d": 30 * 86_400_000,
    "2w": 14 * 86_400_000,
    "1y": 365 * 86_400_000,
    "0s": 0,
    " 10s ": 10_000,
    "1000y": DURATION_MS_MAX,
    "forever": None,
}
NO_DURATIONS = ["", "10", "s", "-1s", "1.5h", "1h30m", "10 s", "1S", "1M", "１s", "never", "inf", "9" * 30 + "s"]
SIZES = {"512MiB": 512 * 2**20, "1KB": 1000, "0": 0, "7": 7, "7B": 7, "8192TiB": SIZE_BYTES_MAX, "2GiB": 2**31}
NO_SIZES = ["", "MiB", "512M", "512mib", "1.5GiB", "-1B", "1 GiB", "forever", "9" * 30]


@pytest.mark.parametrize(("text", "want_ms"), DURATIONS.items())
def test_durations(text: str, want_ms: int | None) -> None:
    assert duration_ms(text) == want_ms


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration; write .* such as 200ms"):
        duration_ms(text)


def test_a_duration_has_a_limit() -> None:
    with pytest.raises(ValueError, match="'1001y' is longer than 1000y; write forever for no limit"):
        duration_ms("1001y")


@given(st.none() | st.integers(0, DURATION_MS_MAX) | st.integers(0, 1000).map(lambda days: days * 86_400_000))
def test_durations_come_back(duration: int | None) -> None:
    assert duration_ms(duration_text(duration)) == duration


@pytest.mark.parametrize(("text", "want_bytes"), SIZES.items())
def test_sizes(text: str, want_bytes: int) -> None:
    assert size_bytes(text) == want_bytes


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size; write .* such as 512MiB"):
        size_bytes(text)


def test_a_size_has_a_limit() -> None:
    with pytest.raises(ValueError, match="'8193TiB' is more than 8 PiB"):
        size_bytes("8193TiB")


@given(st.integers(0, SIZE_BYTES_MAX) | st.integers(0, 2**20).map(lambda count: count * 2**20))
def test_sizes_come_back(size: int) -> None:
    assert size_bytes(size_text(size)) == size


@pytest.mark.parametrize(
    ("text", "found_ms"),
    [
        ("0", 0),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1y2w3d4h5m6s7ms", 31_536_000_000 + 2 * 604_800_000 + 3 * 86_400_000 + 14_706_007),
        ("", None),
        ("m", None),
        ("30m1h", None),
        ("1.5h", None),
        ("-5m", None),
        ("5", None),
    ],
)
def test_durations_of_prometheus_are_read(text: str, found_ms: int | None) -> None:
    assert promql_duration_ms(text) == found_ms
