"""Hints: what follows is given, what was missed is noticed."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.bus import RESYNC, AsyncSubscriber, BusAbsent, Hint, Publisher, Resync, Subscriber, wire
from appliance.bus.publish import Following
from tests.waiting import wait_until


def stamp(epoch: int, number: int) -> bytes:
    return struct.pack("<QQ", epoch, number)


def message(text: str) -> list[bytes]:
    """`7.3` is hint 3 of epoch 7, `=7.3` a beat after it, `w7.3` a welcome after it, and `?` something else."""
    if text == "?":
        return [b"changed", b"short", wire.NIL]
    epoch, number = (int(part) for part in text.lstrip("w=").split("."))
    if text.startswith("w"):
        return [stamp(epoch, number)]
    topic = b"" if text.startswith("=") else b"changed"
    return [topic, stamp(epoch, number), wire.encode(number)]


FOLLOWING = {  # name: (messages, one poll after the other; the hints of each poll, or RESYNC)
    "the first link": ("w7.0", "RESYNC"),
    "hints in their order": ("w7.0 | 7.1 7.2 | 7.3", "RESYNC | 1 2 | 3"),
    "a link made later": ("w7.5 | 7.6", "RESYNC | 6"),
    "a hint missed": ("w7.0 | 7.1 7.3 | 7.4", "RESYNC | RESYNC | 4"),
    "a hint missed before the first": ("w7.0 | 7.2", "RESYNC | RESYNC"),
    "a hint twice": ("w7.0 | 7.1 7.1", "RESYNC | RESYNC"),
    "another publisher": ("w7.0 | 7.1 | w8.0 8.1 | 8.2", "RESYNC | 1 | RESYNC | 2"),
    "another publisher at the same number": ("w7.0 | 7.1 | 8.2", "RESYNC | 1 | RESYNC"),
    "no welcome": ("7.1", "RESYNC"),
    "a beat when nothing was missed": ("w7.0 | 7.1 | =7.1", "RESYNC | 1 | "),
    "a beat after a missed hint": ("w7.0 | =7.1 | 7.2", "RESYNC | RESYNC | 2"),
    "damage": ("w7.0 | 7.1 ? | 7.2", "RESYNC | RESYNC | 2"),
}


@pytest.mark.parametrize(("polls", "want"), FOLLOWING.values(), ids=FOLLOWING.keys())
def test_following(polls: str, want: str) -> None:
    following, got = Following(), []
    for poll in polls.split("|"):
        answer = following.take(message(text) for text in poll.split())
        got.append("RESYNC" if answer is RESYNC else " ".join(str(hint.body) for hint in answer))
    assert got == [part.strip() for part in want.split("|")]


@given(messages=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), min_size=1))
def test_foreign_messages_lead_to_reading_again(messages: list[list[bytes]]) -> None:
    assert Following().take(messages) is RESYNC


@given(dropped=st.sets(st.integers(1, 30)), polls=st.lists(st.integers(1, 30), max_size=5))
def test_who_reads_again_on_resync_knows_everything_in_the_end(dropped: set[int], polls: list[int]) -> None:
    """Goal: no change stays unknown. Method: drop any hints; a beat at the end; a model that reads on RESYNC."""
    following, known = Following(), 0
    published = [(number, f"7.{number}") for number in range(1, 31)]
    sent = [(0, "w7.0"), *((number, text) for number, text in published if number not in dropped), (30, "=7.30")]
    cuts = sorted({0, len(sent), *(cut for cut in polls if cut < len(sent))})
    for start, end in pairwise(cuts):
        answer = following.take(message(text) for _, text in sent[start:end])
        if answer is RESYNC:
            known = sent[end - 1][0]  # Reading gives at least what had been published then.
        else:
            for hint in answer:
                assert hint.body == known + 1
                known = hint.body
    assert known == 30


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path, "state")
    yield publisher
    publisher.close()


@pytest.fixture
def subscriber(tmp_path: Path, publisher: Publisher) -> Iterator[Subscriber]:
    subscriber = Subscriber(tmp_path, "state")
    assert wait_until(lambda: subscriber.poll(0.1)) is RESYNC
    yield subscriber
    subscriber.close()


def polled(subscriber: Subscriber) -> list[Hint] | Resync:
    return wait_until(lambda: subscriber.poll(0.1))


def test_a_new_subscriber_is_told_to_read_and_then_gets_hints(publisher: Publisher, subscriber: Subscriber) -> None:
    publisher.publish("changed", {"revision": 1})
    assert polled(subscriber) == [Hint("changed", {"revision": 1})]
    assert subscriber.poll(0) == []


def test_hints_of_many_threads_arrive_without_a_gap(publisher: Publisher, subscriber: Subscriber) -> None:
    threads = [threading.Thread(target=lambda: [publisher.publish("t", step) for step in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    got: list[Hint] = []
    while len(got) < 400:
        answer = polled(subscriber)
        assert answer is not RESYNC
        got += answer
    for thread in threads:
        thread.join()
    assert sorted(hint.body for hint in got) == sorted(list(range(50)) * 8)


def test_another_publisher_means_reading_again(tmp_path: Path, publisher: Publisher, subscriber: Subscriber) -> None:
    publisher.close()
    second = Publisher(tmp_path, "state")
    try:
        assert polled(subscriber) is RESYNC
        second.publish("changed", 1)
        assert polled(subscriber) == [Hint("changed", 1)]
    finally:
        second.close()


def test_an_event_loop_can_subscribe_too(tmp_path: Path, publisher: Publisher) -> None:
    async def story() -> None:
        subscriber = AsyncSubscriber(tmp_path, "state")
        try:
            assert await subscriber.poll(10) is RESYNC
            publisher.publish("changed", 1)
            publisher.publish("changed", 2)
            hints: list[Hint] = []
            while len(hints) < 2:
                answer = await subscriber.poll(10)
                assert answer is not RESYNC
                hints += answer
            assert hints == [Hint("changed", 1), Hint("changed", 2)]
            assert await subscriber.poll(0) == []
        finally:
            subscriber.close()

    asyncio.run(story())


def test_subscribing_where_no_appliance_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(BusAbsent):
        Subscriber(tmp_path / "typo" / "run", "state")
