"""The log: one JSON object a line in <data>/log/henge.log, rotated, written by the supervisor alone.

A child writes to its standard output. Its log records go there as lines that begin with the record separator of
JSON text sequences (RFC 7464), so that the supervisor can tell them from what a library prints; both end in the log
with the child's name. One writer means one rotation, and the order of lines is the order of arrival.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import msgspec

LOG_FOLDER = "log"
LOG_NAME = "henge.log"
FILE_BYTES_MAX = 10 * 2**20
OLD_FILE_COUNT = 5  # With the current one at most 60 MiB: months of a calm appliance, an hour of a very noisy one.
RECORD_MARK = "\x1e"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
BARE_OUTPUT = "output"  # The logger's name of a line that is no record: what a library prints, a traceback.
TERMINAL_LOGGER = "appliance.running"  # Its plain information is for the terminal too.
OWN = "supervisor"  # The process name of what the supervisor itself has to say.

# What every LogRecord has; anything else came in by `extra=` and belongs to the structured line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "process_label"}


class _Line(msgspec.Struct, omit_defaults=True):
    """One record as it travels from a child and as it stands in the file."""

    at_ms: int
    level: str
    process: str
    logger: str
    text: str
    traceback: str = ""
    fields: dict[str, Any] = {}


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON."""

    def __init__(self, process: str, mark: str = "") -> None:
        super().__init__()
        self._process = process
        self._mark = mark

    def format(self, record: logging.LogRecord) -> str:
        line = _Line(
            at_ms=int(record.created * 1000),
            level=record.levelname.lower(),
            process=getattr(record, "process_label", self._process),
            logger=record.name,
            text=record.getMessage(),
            traceback=_traceback(self, record),
            fields={key: value for key, value in vars(record).items() if key not in _STANDARD},
        )
        return self._mark + msgspec.json.encode(line, enc_hook=str).decode()


class HumanFormatter(logging.Formatter):
    """One record for the eyes: local time, process, level when it is not plain information, text."""

    def __init__(self, process: str, *, tracebacks: bool) -> None:
        super().__init__()
        self._process = process
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        process = getattr(record, "process_label", self._process)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{at}  {process:<10}  {level}{record.getMessage()}"
        traceback = _traceback(self, record) if self._tracebacks else ""
        return f"{text}\n{traceback}" if traceback else text


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The record's exception as text; one that crossed the pipe is text already."""
    if record.exc_info and not record.exc_text:
        record.exc_text = formatter.formatException(record.exc_info)
    return record.exc_text or ""


class _CalmFile(logging.handlers.RotatingFileHandler):
    """A full disk must not stop the supervisor: what cannot be written is counted and told when there is room."""

    lost_count = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self.lost_count and record.levelno > logging.DEBUG:
            lost, self.lost_count = self.lost_count, 0
            super().emit(_record(OWN, logging.WARNING, f"{lost} lines could not be written to this log"))
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name.
        self.lost_count += 1


class _CalmTerminal(logging.StreamHandler[TextIO]):
    """A terminal that has gone away is no reason to stop."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name.
        pass


def _for_the_terminal(record: logging.LogRecord) -> bool:
    """What the user at the terminal waits for, and what is grave anywhere; the rest is in the file."""
    return record.levelno >= logging.WARNING or record.name == TERMINAL_LOGGER


def supervisor_log(data_dir: Path, level: str, terminal: TextIO | None = None) -> logging.Logger:
    """Set up the log of `henge up`: the file, and the terminal. Raises: OSError."""
    folder = data_dir / LOG_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    file = _CalmFile(folder / LOG_NAME, maxBytes=FILE_BYTES_MAX, backupCount=OLD_FILE_COUNT, encoding="utf-8")
    file.setFormatter(JsonFormatter(OWN))
    screen = _CalmTerminal(terminal or sys.stderr)
    screen.setFormatter(HumanFormatter(OWN, tracebacks=False))  # They are in the file.
    screen.addFilter(_for_the_terminal)
    _install([file, screen], level)
    return logging.getLogger("appliance")


def child_log(name: str, level: str, *, supervised: bool) -> logging.Logger:
    """Set up the log of one process: to its supervisor, or to the terminal when it was started alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(name, RECORD_MARK) if supervised else HumanFormatter(name, tracebacks=True))
    _install([handler], level)
    logging.captureWarnings(capture=True)
    return logging.getLogger(name)


def _install(handlers: list[logging.Handler], level: str) -> None:
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(LEVELS[level])


def parse_line(process: str, line: str) -> logging.LogRecord:
    """One line of a child's output as a record with the child's name: its own record, or bare text."""
    if line.startswith(RECORD_MARK):
        with contextlib.suppress(msgspec.MsgspecError, ValueError):
            told = msgspec.json.decode(line[len(RECORD_MARK) :], type=_Line)
            record = _record(process, LEVELS.get(told.level, logging.ERROR), told.text)
            record.name = told.logger
            record.created = told.at_ms / 1000
            record.exc_text = told.traceback or None
            record.__dict__.update({key: value for key, value in told.fields.items() if key not in _STANDARD})
            return record
    return _record(process, logging.INFO, line)


def plain(record: logging.LogRecord) -> str:
    """A record as a person reads it in a report: what it says, and its traceback."""
    if record.name == BARE_OUTPUT:
        return record.getMessage()
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
    text = f"{moment} {record.levelname.lower()} {record.name}: {record.getMessage()}"
    return f"{text}\n{record.exc_text}" if record.exc_text else text


def write(record: logging.LogRecord) -> None:
    """Hand a child's record to the handlers, with the level of the log applied as to our own."""
    root = logging.getLogger()
    if record.levelno >= root.level:
        root.handle(record)


def _record(process: str, level: int, text: str) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": BARE_OUTPUT,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": text,
            "process_label": process,
        }
    )
