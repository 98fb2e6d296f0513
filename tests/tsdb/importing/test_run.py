"""A tree of whisper files into a running appliance: names, what is set aside, going on, counting."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.running import CHECKOUT, HENGE, Appliance
from tests.tsdb.importing.whisper_files import POINT, file_of, ring, write_file
from tsdb.client import WriteAnswer
from tsdb.errors import NotReady
from tsdb.importing import transfer as transfer_module
from tsdb.importing.journal import Done, Journal
from tsdb.importing.run import Source, Tally, _is_there, send
from tsdb.importing.transfer import Transfer
from tsdb.importing.tree import Found, Wanted, files, series_name
from tsdb.importing.whisper import BadFile
from tsdb.sample import Selection

NOW_S = int(time.time()) // 60 * 60 - 60


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("importing"), settings=["store.retention=raw:90d,1h:2y"]) as running:
        yield running


def whole(scale: float = 1.0) -> bytes:
    return file_of([(10, ring(10, 60, NOW_S, start=7, scale=scale)), (60, ring(60, 100, NOW_S, start=3, scale=scale))])


WHOLE_POINTS = 60 + 90  # An hour and a half of minutes before the ten minutes of the fine archive.


def imported(appliance: Appliance, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HENGE, "import", "whisper", *arguments, "--data", str(appliance.data_dir)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=60,
        check=False,
    )


NAMES = {  # path: name
    "a.wsp": "a",
    "servers/web1/cpu.wsp": "servers.web1.cpu",
    "_tagged/00a/b12/disk_DOT_used;dc=eu;host=web1_DOT_lan.wsp": "disk.used;dc=eu;host=web1.lan",
    "_tagged/00a/b12/disk;path=/var/lib.wsp": "disk;path=/var/lib",
}


@pytest.mark.parametrize(("path", "name"), NAMES.items())
def test_a_path_is_the_name_of_a_series(path: str, name: str) -> None:
    assert series_name(path) == name


def test_what_tells_no_name_is_refused() -> None:
    with pytest.raises(BadFile, match="TAG_HASH_FILENAMES"):
        series_name("_tagged/00a/b12/" + "0" * 64 + ".wsp")
    with pytest.raises(BadFile, match="UTF-8"):
        series_name(os.fsdecode(b"caf\xe9.wsp"))


def test_the_files_of_a_tree_come_in_order_and_links_to_folders_are_told(tmp_path: Path) -> None:
    for path in ("b/z.wsp", "b/a.wsp", "a.wsp", "a.txt"):
        write_file(tmp_path, path, b"")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "b/link.wsp").symlink_to(tmp_path / "a.wsp")
    found = [one.path if isinstance(one, Found) else one[0] for one in files(tmp_path)]
    assert found == ["round", "a.wsp", "b/a.wsp", "b/link.wsp", "b/z.wsp"]


def test_what_is_no_file_is_told_with_its_name_and_nothing_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wsp")
    (tmp_path / "device.wsp").symlink_to("/dev/zero")
    (tmp_path / "gone.wsp").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.wsp").symlink_to(tmp_path / "round.wsp")
    (tmp_path / "folder.wsp").mkdir()
    told = dict(one for one in files(tmp_path) if not isinstance(one, Found))
    assert told.keys() == {"pipe.wsp", "device.wsp", "gone.wsp", "round.wsp"}
    assert told["pipe.wsp"] == told["device.wsp"] == "not a file but a pipe, a socket or a device"


def test_a_file_that_shrinks_or_goes_while_it_is_read_is_set_aside(tmp_path: Path) -> None:
    write_file(tmp_path, "tree/odd name é;\n.wsp", whole())
    paths = [write_file(tmp_path, f"tree/{name}.wsp", whole()) for name in ("a", "b", "c", "d")]
    door, tally = KeptDoor(), Tally()
    changes = iter([lambda: paths[1].write_bytes(whole()[:500]), paths[2].unlink, lambda: None, lambda: None])
    with Journal(tmp_path / "journal") as journal, Transfer(door, lambda done: journal.note(done, 0)) as transfer:
        send(source_of(tmp_path / "tree"), tally, lambda _: next(changes)(), journal, transfer)
        assert len(journal) == 2
    assert (tally.files_count, tally.bad_count) == (2, 3)
    assert [path for path, _ in tally.bad] == ["b.wsp", "c.wsp", "odd name é;\n.wsp"]


def test_of_a_file_that_changed_what_may_be_rolled_up_is_not_sent_again(tmp_path: Path) -> None:
    path = write_file(tmp_path, "tree/a.wsp", file_of([(60, ring(60, 100, NOW_S - 600))]))
    source = replace(source_of(tmp_path / "tree"), rolled_before_ms=1_000 * (NOW_S - 3_000))
    with Journal(tmp_path / "journal") as journal:
        sent(tmp_path / "tree", journal, KeptDoor())
    path.write_bytes(file_of([(60, ring(60, 200, NOW_S))]))
    for is_told, wanted in ((True, (51, 149)), (False, (200, 0))):
        tally, door = Tally(), KeptDoor()
        with (
            Journal(tmp_path / "journal", is_fresh=not is_told) as journal,
            Transfer(door, lambda done: None) as transfer,
        ):
            send(source, tally, lambda _: None, journal, transfer)
        assert (tally.points_count, tally.left_out["sent_before"]) == wanted


def test_the_times_that_were_sent_of_a_path_grow_together_unless_there_is_a_gap(tmp_path: Path) -> None:
    def changed(size_bytes: int) -> Found:
        return Found("a.wsp", size_bytes, 5)

    with Journal(tmp_path / "journal") as journal:
        for number, (from_ms, newest_ms) in enumerate([(100, 200), (150, 300), (50, 250), (301, 400)]):
            journal.note([Done(changed(number), 1, newest_ms)], from_ms)
        assert journal.sent_ms(changed(9)) == (301, 400)
    lines = (tmp_path / "journal").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal").write_bytes(b"".join(lines[:3]))
    with Journal(tmp_path / "journal") as journal:
        assert journal.sent_ms(changed(9)) == (50, 300)
        assert journal.has(changed(2), 50)
        assert not journal.has(changed(1), 150), "the file has changed"


def test_a_tree_is_imported_counted_and_not_imported_again(appliance: Appliance, tmp_path: Path) -> None:
    for number in range(5):
        write_file(tmp_path, f"servers/web{number}/cpu.wsp", whole(1 / (number + 1)))
    write_file(tmp_path, "_tagged/0a1/b2c/disk_DOT_used;dc=eu.wsp", whole())
    done = imported(appliance, str(tmp_path), "--prefix", "old", "--verify")
    assert done.returncode == 0, done.stderr
    assert f"imported 6 files, {6 * WHOLE_POINTS:,} points" in done.stdout
    assert f"counted by query: {6 * WHOLE_POINTS:,} of {6 * WHOLE_POINTS:,} points of 6 files" in done.stdout
    (found,) = appliance.query('{"old.servers.web1.cpu"}', time_s=NOW_S)
    assert float(found["value"][1]) == NOW_S / 2
    (found,) = appliance.query('{"old.disk.used"}', time_s=NOW_S)
    assert found["metric"]["dc"] == "eu"
    again = imported(appliance, str(tmp_path), "--prefix", "old")
    assert "imported 0 files" in again.stdout
    assert "6 files were imported before" in again.stdout
    write_file(tmp_path, "servers/web9/cpu.wsp", whole())
    assert "imported 1 files" in imported(appliance, str(tmp_path), "--prefix", "old").stdout
    assert "imported 7 files" in imported(appliance, str(tmp_path), "--prefix", "old", "--restart").stdout


def test_bad_files_are_set_aside_and_do_not_end_the_run(appliance: Appliance, tmp_path: Path) -> None:
    write_file(tmp_path, "bad/a.wsp", whole()[:-1])
    write_file(tmp_path, "bad/b.wsp", b"no whisper file, but as long as a header")
    write_file(tmp_path, "bad/c;.wsp", whole())
    write_file(tmp_path, "bad/z.wsp", whole())
    done = imported(appliance, str(tmp_path))
    assert done.returncode == 1
    assert f"imported 1 files, {WHOLE_POINTS} points" in done.stdout
    assert "set aside: bad/a.wsp: truncated: archive 1 ends at byte" in done.stderr
    assert "set aside: bad/b.wsp: wrong header" in done.stderr
    assert "set aside: bad/c;.wsp: segment" in done.stderr
    assert "3 files were set aside" in done.stdout
    assert appliance.query('{"bad.z"}', time_s=NOW_S)


def test_what_is_older_than_every_rollup_is_told_first_and_left_out(appliance: Appliance, tmp_path: Path) -> None:
    day_s = NOW_S // 86_400 * 86_400
    write_file(tmp_path, "aged.wsp", file_of([(86_400, ring(86_400, 900, day_s))]))
    done = imported(appliance, str(tmp_path), "--verify")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nothing is kept for longer than 2y (store.retention, store.schemas): points before")
    assert "170 points are before that" in done.stdout
    assert "imported 1 files, 730 points" in done.stdout
    (found,) = appliance.query('count_over_time({"aged"}[700d])', time_s=NOW_S)
    assert float(found["value"][1]) == 700, "raw samples are kept for 90 days; these wait for their rollups"


def test_a_dry_run_tells_what_would_come_and_changes_nothing(tmp_path: Path) -> None:
    write_file(tmp_path, "tree/servers/a.wsp", whole())
    write_file(tmp_path, "tree/other/b.wsp", whole())
    command = [*HENGE, "import", "whisper", str(tmp_path / "tree"), "--dry-run", "--match", "serv*"]
    told = subprocess.run(
        [*command, "--data", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert f"would import 1 files, {WHOLE_POINTS} points from" in told.stdout
    since = subprocess.run(
        [*command, "--since", str(NOW_S - 60)], capture_output=True, text=True, cwd=CHECKOUT, timeout=60, check=False
    )
    assert "would import 1 files, 7 points from" in since.stdout
    assert not (tmp_path / "none").exists()


def test_a_point_is_there_if_its_sample_is_or_a_rollup_that_it_lies_in() -> None:
    hour_ms = 3_600_000
    there = np.array([hour_ms, 3 * hour_ms, 4 * hour_ms, 4 * hour_ms + 5])
    raw_alone = Selection(labels=[()], offsets=np.array([0, 4]), times_ms=there, value=np.zeros(4))
    found = replace(raw_alone, resolution_ms=hour_ms, raw_from_ms=4 * hour_ms + 1)
    points = np.array([1, hour_ms, hour_ms + 1, 3 * hour_ms - 1, 4 * hour_ms, 4 * hour_ms + 5, 4 * hour_ms + 4])
    assert _is_there(points, found, there).tolist() == [True, True, False, True, True, True, False]
    assert _is_there(points, raw_alone, there).tolist() == [False, True, False, False, True, True, False]


class KeptDoor:
    """A door that keeps what it is told, and can refuse."""

    def __init__(self) -> None:
        self.bodies_count = 0
        self.refusing = 0
        self.answers: list[WriteAnswer] = []

    def write(self, door: str, body: bytes | memoryview, *, sender: str) -> WriteAnswer:
        assert (door, sender) == ("arrow", "import")
        if self.refusing:
            self.refusing -= 1
            raise NotReady("the head is full")
        self.bodies_count += 1
        return self.answers.pop(0) if self.answers else WriteAnswer(accepted_count=1)


def source_of(root: Path) -> Source:
    return Source(root=root, wanted=Wanted(), from_ms=0, now_ms=NOW_S * 1_000)


def sent(root: Path, journal: Journal, door: KeptDoor) -> tuple[Tally, Transfer]:
    tally = Tally()
    with Transfer(door, lambda done: journal.note(done, 0)) as transfer:
        send(source_of(root), tally, lambda _: None, journal, transfer)
    return tally, transfer


def test_a_file_of_many_batches_is_done_when_the_last_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_module, "BATCH_POINTS_COUNT_MAX", 40)
    write_file(tmp_path, "tree/a.wsp", whole())
    write_file(tmp_path, "tree/b.wsp", whole())
    door = KeptDoor()
    door.answers = [
        WriteAnswer(40),
        WriteAnswer(39, {"too_many_series": 1}, "limit"),
        *[WriteAnswer(40) for _ in range(6)],
    ]
    with Journal(tmp_path / "journal") as journal:
        tally, transfer = sent(tmp_path / "tree", journal, door)
        assert (tally.files_count, transfer.undone_count, len(journal)) == (2, 1, 1)
    with Journal(tmp_path / "journal") as journal:
        tally, transfer = sent(tmp_path / "tree", journal, door)
        assert (tally.files_count, tally.done_before_count, len(journal)) == (1, 1, 2)


def test_an_appliance_that_is_not_ready_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "_RETRY_S", 0.0)
    write_file(tmp_path, "tree/a.wsp", whole())
    door = KeptDoor()
    door.refusing = 3
    with Journal(tmp_path / "journal") as journal:
        sent(tmp_path / "tree", journal, door)
        assert (door.bodies_count, len(journal)) == (1, 1)
    monkeypatch.setattr(transfer_module, "NOT_READY_S_MAX", 0.0)
    door.refusing = 1
    with Journal(tmp_path / "journal", is_fresh=True) as journal, pytest.raises(NotReady):
        sent(tmp_path / "tree", journal, door)


def test_a_torn_line_of_the_journal_costs_its_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    one, two, three = (Found(f"{name}.wsp", 100, 5) for name in "abc")
    with Journal(path) as journal:
        journal.note([Done(one, 3, 5_000), Done(two, 3, 5_000)], 1_000)
    path.write_bytes(path.read_bytes()[:-4])
    with Journal(path) as journal:
        assert journal.has(one, 1_000)
        assert not journal.has(two, 1_000)
        journal.note([Done(three, 1, 5_000)], 0)
    with Journal(path) as journal:
        assert journal.has(three, 0)
        assert not journal.has(one, 999), "older points are wanted now"
        assert not journal.has(Found("a.wsp", 100, 6), 1_000), "the file has changed"


def test_a_file_without_points_is_done(tmp_path: Path) -> None:
    write_file(tmp_path, "tree/a.wsp", file_of([(10, bytes(10 * POINT.itemsize))]))
    door = KeptDoor()
    with Journal(tmp_path / "journal") as journal:
        sent(tmp_path / "tree", journal, door)
        assert (door.bodies_count, len(journal)) == (0, 1)
