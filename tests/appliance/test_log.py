"""The log: what goes over the pipe and into the file, and that nothing about it stops the appliance."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import log as logs


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
        if handler not in handlers:
            handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log" / "henge.log").read_text().splitlines()]


def over_the_pipe(record: logging.LogRecord) -> logging.LogRecord:
    return logs.parse_line("store", logs.JsonFormatter("store", logs.RECORD_MARK).format(record))


def record_of(text: str, **rest: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "tsdb.store", "levelno": 30, "levelname": "WARNING", "msg": text, **rest})


@given(
    st.text(), st.dictionaries(st.sampled_from(["check", "count", "path"]), st.text() | st.integers(-(2**53), 2**53))
)
def test_a_record_comes_over_the_pipe_as_it_was(text: str, fields: dict[str, object]) -> None:
    arrived = over_the_pipe(record_of(text, **fields))
    assert (arrived.getMessage(), arrived.levelno, arrived.name) == (text, logging.WARNING, "tsdb.store")
    assert {key: getattr(arrived, key) for key in fields} == fields


@given(st.text(st.characters(exclude_characters="\n")))
def test_any_other_line_is_text(line: str) -> None:
    arrived = logs.parse_line("store", line)
    assert (arrived.getMessage(), arrived.levelno) == (line, logging.INFO)


def test_a_field_that_json_does_not_know_becomes_text() -> None:
    assert over_the_pipe(record_of("x", path=Path("/a"))).__dict__["path"] == "/a"


def test_a_percent_sign_in_a_childs_text_is_not_a_format() -> None:
    assert over_the_pipe(record_of("100% of %s")).getMessage() == "100% of %s"


def test_file_has_all_and_terminal_what_matters(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs.supervisor_log(tmp_path, "info", terminal)
    logging.getLogger("appliance.keeper").info("store is ready")
    logging.getLogger("appliance.keeper").debug("below the level")
    logging.getLogger(logs.TERMINAL_LOGGER).info("stopping")
    logs.write(over_the_pipe(record_of("disk is slow")))
    logs.write(over_the_pipe(record_of("detail", levelno=logging.DEBUG, levelname="DEBUG")))
    assert [line["text"] for line in lines(tmp_path)] == ["store is ready", "stopping", "disk is slow"]
    assert lines(tmp_path)[2]["process"] == "store"
    shown = [line[10:] for line in terminal.getvalue().splitlines()]
    assert shown == ["supervisor  stopping", "store       warning: disk is slow"]


def test_a_process_that_runs_alone_has_its_own_name_at_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.child_log("store", "info", supervised=False).info("ready")
    assert capsys.readouterr().err[10:] == "store       ready\n"


def test_file_rotates_and_keeps_a_bounded_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 2_000)
    logs.supervisor_log(tmp_path, "info", io.StringIO())
    for index in range(500):
        logging.getLogger("appliance").info("line %d with some length to it", index)
    files = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert files == ["henge.log", *(f"henge.log.{number}" for number in range(1, logs.OLD_FILE_COUNT + 1))]
    assert all(path.stat().st_size <= 2_000 for path in (tmp_path / "log").iterdir())


def test_a_full_disk_is_counted_and_told_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.supervisor_log(tmp_path, "info", io.StringIO())
    log = logging.getLogger("appliance")
    file = next(each for each in logging.getLogger().handlers if isinstance(each, logs._CalmFile))

    def full(_text: str) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file.stream, "write", full)
        log.info("lost 1")
        log.info("lost 2")
    log.info("room again")
    assert [line["text"] for line in lines(tmp_path)] == ["2 lines could not be written to this log", "room again"]


def test_a_terminal_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs.supervisor_log(tmp_path, "info", terminal)
    terminal.close()
    logging.getLogger("appliance").error("still kept")
    assert [line["text"] for line in lines(tmp_path)] == ["still kept"]
