"""carbon's rule files at work in the intake: names through the doors, files that change, what comes of bad ones."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.metrics import Metrics
from tests.tsdb.ingest.fake_store import FakeStore
from tests.tsdb.ingest.test_intake import Start as StartIntake
from tests.tsdb.ingest.test_intake import start as start_intake
from tests.tsdb.ingest.test_intake_pickles import frame
from tsdb.ingest.decoded import Decoded
from tsdb.ingest.graphite import carbon_rules, known_names
from tsdb.ingest.graphite.carbon_rules import CarbonRules, RuleFolders
from tsdb.ingest.graphite.lines import decode
from tsdb.ingest.ledger import Ledger
from tsdb.ingest.limits import IntakeLimits
from tsdb.ingest.pump import Pump
from tsdb.ingest.register import SeriesRegister

__all__ = ["start_intake"]  # The fixture.
LOG = logging.getLogger("tests.carbon_rules")


@dataclass
class Rig:
    rules: CarbonRules
    store: FakeStore
    metrics: Metrics
    register: SeriesRegister
    folder: Path

    def sent(self, *lines: str) -> Decoded:
        return self.rules.apply(decode("".join(f"{line}\n" for line in lines).encode(), 0))

    def names(self, *names: str) -> list[str]:
        found = self.sent(*(f"{name} 1 100" for name in names))
        stored = found.names.to_list()
        return stored if found.name_index is None else [stored[number] for number in found.name_index.tolist()]

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_text(text)
        os.utime(path, ns=(before + 10**9, before + 10**9))
        self.rules._read_files()

    def error(self, name: str) -> str:
        files = self.rules.stats()["files"]
        assert isinstance(files, dict)
        return str(files[name]["error"])

    def metric(self, name: str, **labels: str) -> float:
        return sum(s.value for s in self.metrics.snapshot() if s.name == name and labels.items() <= s.labels.items())


Start = Callable[[], Rig]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def started() -> Rig:
        store, metrics, register = FakeStore(), Metrics(), SeriesRegister()
        ledger = Ledger(metrics, SystemClock(), LOG)
        pump = Pump(store, register, ledger, IntakeLimits(), LOG)
        folders = RuleFolders(tmp_path / "carbon", tmp_path / "kept")
        rules = CarbonRules(
            *(folders, pump, register.seeds), ledger=ledger, metrics=metrics, clock=SystemClock(), log=LOG
        )
        return Rig(rules, store, metrics, register, folders.rules)

    return started


def test_without_files_a_batch_passes_as_it_is(start: Start) -> None:
    rig = start()
    batch = decode(b"a 1 100\n", 0)
    assert rig.rules.apply(batch) is batch


def test_known_names_and_new_ones_are_treated_alike(start: Start) -> None:
    rig = start()
    rig.write("blacklist.conf", "^bad\n")
    rig.write("whitelist.conf", "^(bad|old|a|é)\n")
    rig.write("rewrite-rules.conf", "[pre]\n^old = new\n")
    for _ in range(2):
        found = rig.sent("a 1 100", "old.x 2 101", "bad 3 102", "é 4 103", "old.x 5 104", "no 6 105", "bad 7 106")
        assert found.names.to_list() == ["a", "new.x", "é", "new.x"]
        assert found.timestamp_ms.tolist() == [100_000, 101_000, 103_000, 104_000]
        assert found.value.tolist() == [1, 2, 4, 5]
        assert found.refusals.count_by_reason == {"blacklist": 2, "whitelist": 1}
        assert not found.refusals.examples
    assert rig.metric("henge_graphite_rewritten_total") == 4


def test_the_register_finds_changed_names_by_the_hashes_that_come_with_them(start: Start) -> None:
    rig = start()
    rig.write("rewrite-rules.conf", "[pre]\n^old = new\n")
    rig.register.begin(1)
    found = rig.sent("old.x 1 100", "b 1 100", "old.y 1 100")
    plain = decode(b"new.x 1 100\nb 1 100\nnew.y 1 100\n", 0)
    assert found.hashes is not None
    for left, right in zip(rig.register._find(found)[2:], rig.register._find(plain)[2:], strict=True):
        assert left.tolist() == right.tolist()
    part = found.slice(1, 2)
    assert part.hashes is not None
    assert part.hashes.first.tolist() == found.hashes.first[1:].tolist()


def test_a_name_is_decided_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = start()
    rig.write("blacklist.conf", "^bad\n")
    decided: list[str] = []
    decide = known_names.KnownNames._decide
    monkeypatch.setattr(
        known_names.KnownNames, "_decide", lambda self, name: decided.append(name) or decide(self, name)
    )
    for _ in range(3):
        rig.names("bad", "a", "bad", "b")
    assert decided == ["bad", "a", "b"]


def test_names_without_end_are_forgotten(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_names, "NAMES_COUNT_MAX", 10)
    monkeypatch.setattr(known_names, "CONCERNED_COUNT_MAX", 5)
    rig = start()
    rig.write("rewrite-rules.conf", "[pre]\n^old = new\n")
    for number in range(30):
        assert rig.names(f"x{number}", f"old{number}", "old") == [f"x{number}", f"new{number}", "new"]
        assert rig.names("old", f"old{number}", "old") == ["new", f"new{number}", "new"]
        assert rig.rules._names is not None
        assert len(rig.rules._names._lookup) <= 10
        assert len(rig.rules._names._concerned) <= 5 + 3


def test_what_is_made_reaches_the_store_beside_the_samples(start: Start) -> None:
    rig = start()
    rig.write("aggregation-rules.conf", "all.<x> (10) = sum h.*.<x>\nhigh (60) = max h.*.cpu\n")
    assert rig.names("h.a.cpu", "h.b.cpu", "h.a.mem", "other") == ["h.a.cpu", "h.b.cpu", "h.a.mem", "other"]
    rig.rules.flush()
    assert rig.store.samples() == [("all.cpu", 100_000, 2.0), ("all.mem", 100_000, 1.0), ("high", 60_000, 1.0)]
    assert rig.metric("henge_graphite_aggregated_total") == 5
    assert rig.metric("henge_ingest_samples_total", protocol="graphite_aggregated") == 3


def test_an_interval_that_is_open_is_stored_at_a_stop_and_lost_with_a_store_that_is_away(start: Start) -> None:
    rig = start()
    rig.write("aggregation-rules.conf", "all (3600) = count h.*\n")
    now_s = SystemClock().now_ms() // 1_000
    rig.sent(f"h.a 1 {now_s}")
    rig.rules.flush()
    assert not rig.store.stored
    rig.rules.finish(lambda: True)
    assert rig.store.samples() == [("all", 1_000 * (now_s - now_s % 3_600), 1.0)]
    rig.sent(f"h.a 1 {now_s}")
    rig.store.is_away = True
    rig.rules.finish(lambda: True)
    assert rig.metric("henge_ingest_refused_total", protocol="graphite_aggregated", reason="store_away") == 1


def test_an_interval_goes_on_over_a_change_of_the_rules(start: Start) -> None:
    rig = start()
    rig.write("aggregation-rules.conf", "all (10) = sum h.*\n")
    rig.names("h.a")
    rig.write("aggregation-rules.conf", "all (10) = sum h.*\nmore (10) = sum g.*\n")
    rig.names("h.a", "g.a")
    rig.rules.flush()
    assert rig.store.samples() == [("all", 100_000, 2.0), ("more", 100_000, 1.0)]


def test_too_many_outputs_are_counted_and_the_samples_kept(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsdb.ingest.graphite.aggregator.OUTPUTS_COUNT_MAX", 1)
    rig = start()
    rig.write("aggregation-rules.conf", "all.<x> (10) = sum <x>\n")
    found = rig.sent("a 1 100", "b 1 100")
    assert len(found) == 2
    assert found.refusals.count_by_reason == {"too_many_aggregates": 1}


def test_a_bad_file_keeps_the_last_good_one_over_a_start_too(start: Start) -> None:
    rig = start()
    rig.write("blacklist.conf", "^bad\n")
    rig.write("blacklist.conf", "^good\n(\n")
    assert rig.names("bad", "good") == ["good"]
    assert rig.error("blacklist.conf").startswith("line 2: the regular expression '(' is wrong")
    assert "the last good one goes on, 1 rules" in rig.error("blacklist.conf")
    assert rig.metric("henge_graphite_rule_file_good", file="blacklist.conf") == 0
    rig = start()
    assert rig.names("bad", "good") == ["good"]
    rig.write("blacklist.conf", "^good\n")
    assert rig.names("bad", "good") == ["bad"]
    assert rig.error("blacklist.conf") == ""
    assert rig.metric("henge_graphite_rule_file_good", file="blacklist.conf") == 1


def test_of_a_file_that_was_never_good_the_right_lines_count(start: Start) -> None:
    rig = start()
    rig.write("blacklist.conf", "(\n^x\n")
    assert rig.names("x", "y") == ["y"]
    assert "its right lines count" in rig.error("blacklist.conf")


def test_rules_go_with_their_file(start: Start) -> None:
    rig = start()
    rig.write("blacklist.conf", "^bad\n")
    (rig.folder / "blacklist.conf").unlink()
    rig.rules._read_files()
    assert rig.names("bad") == ["bad"]
    assert start().names("bad") == ["bad"]


def test_a_file_is_read_again_while_the_intake_runs(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carbon_rules, "FLUSH_EVERY_S", 0)
    rig = start()
    rig.rules._look_every_s = 0
    rig.folder.mkdir()
    (rig.folder / "blacklist.conf").write_text("^bad\n")
    turns = iter([False, True])
    rig.rules.run(lambda: next(turns), lambda _: None)
    assert rig.names("bad") == []


def test_rules_count_at_every_door_of_graphite(start_intake: StartIntake, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "blacklist.conf").write_text("^bad\n")
    (tmp_path / "rules" / "rewrite-rules.conf").write_text("[pre]\n^old = new\n")
    (tmp_path / "rules" / "aggregation-rules.conf").write_text("all (86400) = sum new.*\n")
    rig = start_intake(rule_folders=RuleFolders(tmp_path / "rules", tmp_path / "kept"))
    now_s = SystemClock().now_ms() // 1_000
    rig.send(f"bad.a 1 {now_s}\nold.a 1 {now_s}\n".encode())
    rig.send_datagram(f"bad.b 1 {now_s}\nold.b 2 {now_s}\n".encode())
    connection = socket.create_connection(rig.pickle_address, timeout=10)
    rig.connections.append(connection)
    connection.sendall(frame([("bad.c", (now_s, 1)), ("old.c", (now_s, 4))]))
    assert rig.samples(3) == [(f"new.{name}", 1_000 * now_s, value) for name, value in (("a", 1), ("b", 2), ("c", 4))]
    rig.stop()
    assert ("all", 1_000 * (now_s - now_s % 86_400), 7.0) in rig.store.samples()
    assert (rig.refused("blacklist"), rig.refused("blacklist", "graphite_pickle")) == (2, 1)
