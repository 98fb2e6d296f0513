"""Store, intake and query as processes of their own, spoken to through the client that the other rooms hold."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import msgspec
import numpy as np
import pytest

from tests.running import CHECKOUT, HENGE
from tests.waiting import wait_until
from tsdb import client
from tsdb.client import TsdbClient
from tsdb.errors import NotReady, RefusedQuery, RefusedSample
from tsdb.sample import Matcher, MatchOp, labels_from


class Room:
    """The three processes on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = {name: self.start(name) for name in ("store", "intake", "query")}
        wait_until((folder / "run").exists, what="the folder of sockets")
        self.client = TsdbClient(folder / "run")

    def start(self, name: str) -> subprocess.Popen[bytes]:
        argv = [*HENGE, "run", name, "--data", str(self.folder), "--set", "graphite.listen=127.0.0.1:0"]
        argv += ["--set", "graphite.pickle_listen=127.0.0.1:0", "--set", "statsd.listen=127.0.0.1:0"]
        with (self.folder / f"{name}.out").open("ab") as out:
            return subprocess.Popen(argv, stdout=out, stderr=out, cwd=CHECKOUT)

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait(10)
        self.processes[name] = self.start(name)

    def stop(self) -> None:
        self.client.close()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            assert process.wait(20) == 0


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    running = Room(tmp_path_factory.mktemp("room"))
    yield running
    running.stop()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_what_is_acknowledged_is_selected_bit_for_bit(room: Room) -> None:
    at_ms = now_ms()
    values = np.array([1.5, -0.0, np.inf, -np.inf, 5e-324, 0.1 + 0.2])
    room_labels = [labels_from({"__name__": "exact", "n": str(n)}) for n in range(values.size)]
    answer = room.client.append([(labels, at_ms, value) for labels, value in zip(room_labels, values, strict=True)])
    assert answer.accepted_count == values.size
    found = room.client.select([Matcher("__name__", MatchOp.EQUAL, "exact")], at_ms, at_ms)
    assert list(found.labels) == room_labels
    assert found.value.tobytes() == values.tobytes()


def test_names_are_looked_up(room: Room) -> None:
    at_ms = now_ms()
    room.client.append([(labels_from({"__name__": "looked_up", "host": f"h{n}"}), at_ms, n) for n in range(3)])
    selector = [[Matcher("__name__", MatchOp.EQUAL, "looked_up")]]
    assert room.client.label_values("host", selector, at_ms - 1, at_ms) == ["h0", "h1", "h2"]
    assert room.client.label_values("__name__", [], at_ms - 1, at_ms, contains="LOOKED") == ["looked_up"]
    assert {"__name__", "host"} <= set(room.client.label_names([], at_ms - 1, at_ms))
    assert room.client.series(selector, at_ms - 1, at_ms)[0] == {"__name__": "looked_up", "host": "h0"}
    assert room.client.selectors(['looked_up{host!~"h1"}']) == [
        [Matcher("__name__", MatchOp.EQUAL, "looked_up"), Matcher("host", MatchOp.NOT_REGEX, "h1")]
    ]


def test_a_selector_is_read_once_and_a_wrong_one_is_refused_each_time(room: Room) -> None:
    known, new, wrong = 'asked{a="1"}', "asked_too", "{"
    first = room.client.selectors([known])
    with mock.patch.object(room.client._query, "call", side_effect=room.client._query.call) as call:
        assert room.client.selectors([known, known]) == first * 2
        assert call.call_count == 0
        assert room.client.selectors([new, known, new]) == [
            [Matcher("__name__", MatchOp.EQUAL, "asked_too")],
            *first,
            [Matcher("__name__", MatchOp.EQUAL, "asked_too")],
        ]
        assert [one.args[1] for one in call.call_args_list] == [{"texts": [new]}]
        for _ in range(2):
            with pytest.raises(RefusedQuery):
                room.client.selectors([known, wrong])
        assert call.call_count == 3


def test_who_changes_the_matchers_that_it_was_given_changes_its_own(room: Room) -> None:
    room.client.selectors(["mine"])[0].clear()
    assert room.client.selectors(["mine"]) == [[Matcher("__name__", MatchOp.EQUAL, "mine")]]


def test_selectors_that_are_kept_are_few_and_short(room: Room) -> None:
    with mock.patch.object(client, "SELECTOR_COUNT_MAX", 3):
        for texts in (["a", "b"], ["c", "d"], [f"e{n}" for n in range(5)]):
            assert len(room.client.selectors(texts)) == len(texts)
            assert len(room.client._matchers_by_text) <= 3
    long = "x" * (client.SELECTOR_CHARS_MAX + 1)
    room.client.selectors([long])
    assert long not in room.client._matchers_by_text


def test_errors_come_back_as_what_they_are(room: Room) -> None:
    with pytest.raises(RefusedQuery, match="not supported yet"):
        room.client.query_instant('{job="a" or job="b"}', now_ms())
    with pytest.raises(RefusedQuery):
        room.client.query_instant("sum(", now_ms())
    with pytest.raises(RefusedQuery):
        room.client.query_instant("(" * 15_000 + "1" + ")" * 15_000, now_ms())
    with pytest.raises(RefusedSample):
        room.client.write("json", b"{not json", sender="test")
    with pytest.raises(RefusedSample):
        room.client.write("rows", msgspec.msgpack.encode([({"a": "b"}, now_ms(), 1.0)]), sender="test")


def count_kept(room: Room, at_ms: int) -> float:
    try:
        answer = room.client.query_instant("sum(count_over_time(kept[1m]))", at_ms)
    except NotReady:
        return 0
    return float(answer.value[0]) if answer.value.size else 0


def test_a_refreshed_range_keeps_its_old_steps_until_they_change(room: Room) -> None:
    """Goal: late samples, deletes and a new store are seen at once, through the processes. Method: compare each answer
    with the one that is evaluated anew."""
    end_ms = now_ms() // 10_000 * 10_000
    times_ms = range(end_ms - 600_000, end_ms + 1, 10_000)
    series = labels_from({"__name__": "refreshed"})
    ask = ("sum(refreshed)", end_ms - 600_000, end_ms, 10_000)

    def kept_count() -> int:
        found, anew = room.client.query_range(*ask), room.client.query_range(*ask, skips_cache=True)
        assert found.timestamp_ms.tolist() == anew.timestamp_ms.tolist()
        assert found.value.tolist() == anew.value.tolist()
        return int(found.figures["kept_step_count"])

    room.client.append([(series, at_ms, 1.0) for at_ms in times_ms])
    assert [kept_count(), kept_count()] == [0, 61]
    room.client.append([(series, end_ms - 100_000, 5.0)])
    assert [kept_count(), kept_count()] == [50, 61]
    room.client.delete([[Matcher("__name__", MatchOp.EQUAL, "refreshed")]], end_ms - 300_000, end_ms - 200_000)
    assert [kept_count(), kept_count()] == [30, 61]
    room.kill("store")
    wait_until(lambda: store_answers(room), what="the store after a kill")
    assert [kept_count(), kept_count()] == [0, 61]


def store_answers(room: Room) -> bool:
    try:
        room.client.series([[Matcher("__name__", MatchOp.EQUAL, "refreshed")]], 0, 2**53)
    except NotReady:
        return False
    return True


def test_killed_processes_lose_nothing_that_was_acknowledged(room: Room) -> None:
    """Goal: an acknowledgement survives kill -9 of any of the three. Method: kill each, append and ask again."""
    start_ms = now_ms()
    for number, name in enumerate(("store", "intake", "query", "store")):
        rows = [(labels_from({"__name__": "kept", "n": str(n)}), start_ms + number, n + 0.25) for n in range(500)]
        assert room.client.append(rows).accepted_count == 500
        room.kill(name)

        wanted = 500.0 * (number + 1)
        wait_until(
            lambda at_ms=start_ms + number, wanted=wanted: count_kept(room, at_ms) == wanted,
            what=f"{wanted} samples after kill -9 of {name}",
        )


def test_a_second_store_on_the_same_folder_refuses(room: Room) -> None:
    argv = [*HENGE, "run", "store", "--data", str(room.folder)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=CHECKOUT, timeout=30, env={**os.environ})
    assert done.returncode != 0
    assert "already" in done.stdout + done.stderr
