"""Reports of crashes: what is in them, how many there are, and that no secret is."""

from __future__ import annotations

import signal
from pathlib import Path

from appliance.crashes import FOLDER, REPORT_BYTES_MAX, REPORTS_COUNT_MAX, Crash, read, reports, text_of, write
from appliance.doctor.crashed import judge
from tests.appliance.children import CANARY
from tests.appliance.house import running

NOW_MS = 1_800_000_000_000
CRASH = Crash(process="store", pid=7, exit="SIGSEGV", at_ms=NOW_MS, lived_ms=12_000, lines=("the last words",))


def test_an_exception_leaves_a_report_without_its_secrets(tmp_path: Path) -> None:
    with running("crashing_tree", tmp_path) as house:
        house.wait_ready()
        (report,) = reports(house.data_dir)
        text = report.path.read_text()
        assert (report.process, report.exit) == ("crash_with_secrets", "exit 1")
        assert "in crash_with_secrets" in text  # Its place in the code.
        assert "RuntimeError: no answer from https://" in text
        assert "henge:    0." in text
        assert "open files" in text
        assert CANARY not in text
        assert house.stop() == 0
        assert reports(house.data_dir) == [report], "a stop is no crash"
        assert [path.name for path in (house.data_dir / FOLDER).iterdir()] == [report.path.name]


def test_a_signal_leaves_a_report_with_the_line_where_it_was(tmp_path: Path) -> None:
    with running("signalled_tree", tmp_path) as house:
        house.wait_ready()
        (report,) = reports(house.data_dir)
        assert report.exit == "SIGSEGV"
        assert "Fatal Python error: Segmentation fault" in report.path.read_text()
        assert "in crash_by_signal" in report.path.read_text()


def test_a_supervisor_that_a_signal_ended_leaves_one_at_the_next_start(tmp_path: Path) -> None:
    with running("crash_twice_tree", tmp_path) as house:
        house.wait_ready()
        house.popen.send_signal(signal.SIGABRT)
        assert house.wait_end() == -signal.SIGABRT
    with running("crash_twice_tree", tmp_path / "again", data_dir=house.data_dir) as house:
        house.wait_ready()
        report = next(one for one in reports(house.data_dir) if one.process == "supervisor")
        assert (report.pid, report.exit) == (house_pid(report.path), "Aborted")
        assert "in run_appliance" in report.path.read_text()


def house_pid(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def test_the_newest_reports_are_kept(tmp_path: Path) -> None:
    for number in range(REPORTS_COUNT_MAX + 5):
        write(tmp_path, Crash(process="web", pid=number, exit="exit 1", at_ms=NOW_MS + number * 1_000, lived_ms=0))
    found = reports(tmp_path)
    assert [report.pid for report in found] == list(range(REPORTS_COUNT_MAX + 4, 4, -1))
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / FOLDER).iterdir())


def test_a_long_report_keeps_its_end() -> None:
    lines = (*("x" * 4_000 for _ in range(200)), "the end")
    text = text_of(Crash(process="web", pid=1, exit="exit 1", at_ms=NOW_MS, lived_ms=0, lines=lines))
    assert len(text.encode()) <= REPORT_BYTES_MAX
    assert text.endswith("the end\n")


def test_a_folder_that_cannot_be_written_is_no_second_crash(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("somebody's file")
    assert write(tmp_path, CRASH) is None


def test_only_reports_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, CRASH)
    assert path is not None
    assert "the last words" in str(read(tmp_path, path.name))
    (tmp_path / "henge.toml").write_text("secret")
    for name in ("../henge.toml", "henge.toml", "20260101T000000Z-web-1.txt"):
        assert read(tmp_path, name) is None


def test_what_the_doctor_says(tmp_path: Path) -> None:
    assert judge([], "crashes", NOW_MS).verdict == "ok"
    write(tmp_path, CRASH)
    assert "store (SIGSEGV)" in judge(reports(tmp_path), "crashes", NOW_MS).value
    assert judge(reports(tmp_path), "crashes", NOW_MS + 8 * 86_400_000).verdict == "ok"
