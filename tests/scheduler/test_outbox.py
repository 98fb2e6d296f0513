"""The rules of the outbox that are pure, and those that a day of virtual time shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from appliance.metrics import Metrics
from appliance.state.model import Message
from appliance.state.mutations import PutDocument, QueueMessage
from checks.channels import Channel
from scheduler.inventory import Inventory
from scheduler.outbox import ATTEMPT_COUNT_MAX, BACKOFF_MAX_S, MessageIds, Outbox, backoff_s, wait_s
from tests.checks.fakes import MirrorBox
from tests.scheduler.virtual import START_MS, MemoryState, Phone, VirtualClock, refuse, run, virtual_time

DAY_S = 86_400


@pytest.fixture(name="clock")
def clock_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    with virtual_time(monkeypatch) as clock:
        yield clock


def test_back_off_doubles_up_to_five_minutes_and_lasts_more_than_a_day() -> None:
    waits = [backoff_s(count) for count in range(1, ATTEMPT_COUNT_MAX)]
    assert waits[:8] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert sum(waits) > DAY_S


def message(due_ms: int) -> Message:
    return Message(
        id="m",
        channel="c",
        body={},
        status="pending",
        due_ms=due_ms,
        attempt_count=1,
        last_error="",
        created_ms=0,
        delivered_ms=None,
    )


@pytest.mark.parametrize(
    ("due_in_ms", "want_s"),
    [(0, 0), (-5_000, 0), (5_000, 5), (int(BACKOFF_MAX_S * 1000), BACKOFF_MAX_S), (3_600_000, 0)],
    ids=["now", "past", "soon", "the longest back-off", "a clock that stepped back an hour"],
)
def test_when_a_message_is_due(due_in_ms: int, want_s: float) -> None:
    assert wait_s(message(START_MS + due_in_ms), START_MS) == want_s


def test_ids_keep_their_order_when_the_clock_steps_back_and_after_a_restart(clock: VirtualClock) -> None:
    ids = MessageIds(clock, [])
    first = [ids.new() for _ in range(3)]
    clock.stepped_ms -= 3_600_000
    later = MessageIds(clock, [*first, "not-one-of-ours"])
    drawn = [*first, *(later.new() for _ in range(3))]
    assert drawn == sorted(drawn)
    assert len(set(drawn)) == 6


def outbox_with(clock: VirtualClock, phone: Phone) -> tuple[MemoryState, Outbox]:
    state = MemoryState(clock)
    channel = {"kind": "webhook", "name": "hook", "options": {"url": "http://phone/"}}
    state.put(
        [
            PutDocument(kind="channel", id="c1", body=channel),
            QueueMessage(
                id="m1",
                channel="c1",
                due_ms=clock.now_ms(),
                body={"id": "m1", "event": "alert", "check": {"name": "web"}, "incident": {"id": "i1"}},
            ),
        ]
    )
    inventory = Inventory(state, MirrorBox())
    inventory.read_channels()
    return state, Outbox(state, inventory.channels, phone, clock, Metrics())


def test_a_message_is_given_up_after_more_than_a_day_and_that_is_recorded(clock: VirtualClock) -> None:
    async def story() -> tuple[MemoryState, Phone]:
        phone = Phone(clock, answer=refuse)
        state, outbox = outbox_with(clock, phone)
        asyncio.get_running_loop().create_task(outbox.run())
        await asyncio.sleep(2 * DAY_S)
        return state, phone

    state, phone = run(clock, story())
    assert phone.tried[-1][0] > DAY_S
    assert len(phone.tried) == ATTEMPT_COUNT_MAX
    assert state.queued["m1"].status == "failed"
    assert "HTTP 500" in state.queued["m1"].last_error
    assert state.happened[-1].body["outcome"] == "given_up"


def test_what_waits_for_a_channel_that_was_deleted_is_given_up(clock: VirtualClock) -> None:
    async def story() -> MemoryState:
        state, _ = outbox_with(clock, Phone(clock))
        empty = Inventory(state, MirrorBox())
        outbox = Outbox(state, empty.channels, Phone(clock), clock, Metrics())
        asyncio.get_running_loop().create_task(outbox.run())
        await asyncio.sleep(1)
        return state

    queued = run(clock, story()).queued["m1"]
    assert (queued.status, queued.last_error) == ("failed", "the channel was deleted")


def test_a_delivery_that_cannot_be_recorded_yet_is_not_sent_again(clock: VirtualClock) -> None:
    async def story() -> tuple[MemoryState, Phone]:
        phone = Phone(clock)
        state, outbox = outbox_with(clock, phone)
        state.is_away = True
        asyncio.get_running_loop().create_task(outbox.run())
        await asyncio.sleep(60)
        outbox.wake()
        await asyncio.sleep(60)
        state.is_away = False
        await asyncio.sleep(10)
        return state, phone

    state, phone = run(clock, story())
    assert len(phone.took) == 1
    assert state.queued["m1"].status == "delivered"
    assert state.queued["m1"].delivered_ms is not None


def test_a_transport_that_fails_in_a_way_of_its_own_does_not_end_the_outbox(clock: VirtualClock) -> None:
    def stumble(channel: object, body: object) -> None:
        raise ZeroDivisionError("a mistake of the transport")

    async def story() -> Phone:
        phone = Phone(clock, answer=stumble)
        _, outbox = outbox_with(clock, phone)
        asyncio.get_running_loop().create_task(outbox.run())
        await asyncio.sleep(6)
        phone.answer = lambda channel, body: None
        await asyncio.sleep(20)
        return phone

    assert len(run(clock, story()).took) == 1


def test_an_outage_is_told_several_at_once_and_each_incident_in_its_order(clock: VirtualClock) -> None:
    """Three messages of each of 100 incidents to a receiver that takes 40 ms for an answer."""

    class SlowPhone(Phone):
        now = 0
        most = 0

        async def send(self, channel: Channel, body: Mapping[str, Any], *, now_ms: int) -> str:
            SlowPhone.now += 1
            SlowPhone.most = max(SlowPhone.most, SlowPhone.now)
            await asyncio.sleep(0.04)
            SlowPhone.now -= 1
            return await super().send(channel, body, now_ms=now_ms)

    async def story() -> SlowPhone:
        phone = SlowPhone(clock)
        state, outbox = outbox_with(clock, phone)
        state.put(
            [
                QueueMessage(
                    id=f"n{round_:02d}-{incident:03d}",
                    channel="c1",
                    due_ms=clock.now_ms(),
                    body={
                        "id": f"{round_}",
                        "event": event,
                        "check": {"name": "web"},
                        "incident": {"id": f"i{incident}"},
                    },
                )
                for round_, event in enumerate(("alert", "update", "resolved"))
                for incident in range(100)
            ]
        )
        asyncio.get_running_loop().create_task(outbox.run())
        await asyncio.sleep(2)
        return phone

    phone = run(clock, story())
    assert len(phone.took) == 301
    assert 8 <= phone.most <= 16
    for incident in range(100):
        events = [body["event"] for _, _, body in phone.took if body["incident"]["id"] == f"i{incident}"]
        assert events[-3:] == ["alert", "update", "resolved"]
