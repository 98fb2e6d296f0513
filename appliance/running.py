"""A running appliance: folder, sockets, process tree, its service on the bus, the ready file, the word to the user."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec

from appliance import readyfile
from appliance.accepted import settings_fd
from appliance.browser import open_page
from appliance.bus import AsyncClient, BusError, Request, Server
from appliance.changes import ReloadAsked, Report
from appliance.clock import Clock, SystemClock
from appliance.config import Config, ConfigError
from appliance.errors import CannotStart
from appliance.keeper import Keeper
from appliance.launch import Inheritance, new_nursery
from appliance.listeners import OpenListeners, open_listeners
from appliance.lock import lock_folder, prepare_folder
from appliance.log import LOG_FOLDER, LOG_NAME, TERMINAL_LOGGER, supervisor_log
from appliance.metrics import Metrics
from appliance.processes import load_tree, processes_of
from appliance.readyfile import ReadyFile, web_url
from appliance.reloading import Prepared, Reloading
from appliance.supervisor import Ended, Subtree
from appliance.version import version

log = logging.getLogger(TERMINAL_LOGGER)

SERVICE = "supervisor"
STDERR_FD = 2
APPLY_WAIT_S = 20.0  # For the loop to begin with a reload; a nursery takes a second to start on a loaded machine.
LOGIN_LINK_WAIT_S = 3.0  # For the page's process to answer; without an answer the start goes on without a link.
# A process is shown in the ready file when it is ready, and at the latest so long after the end of the one before:
# a reader never holds a dead pid for longer, however long the recovery takes.
READY_FILE_LATE_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What `henge up` was asked for, beside the settings."""

    tree: str  # "module:function", the process table.
    child_options: tuple[str, ...]  # The options of `henge run` that give a child the same settings.
    ready_file: Path | None
    open_browser: bool
    load_settings: Callable[[], Config]  # Reads the settings again; raises ConfigError.


def run_appliance(config: Config, options: UpOptions) -> int:
    """Run until stopped. Returns: the exit status. Raises: CannotStart, when it did not even begin."""
    _fill_standard_descriptors()
    prepare_folder(config.data_dir)
    with contextlib.ExitStack() as stack:
        lock = lock_folder(config.data_dir)
        stack.callback(lock.release)
        _prepare_ready_file(options.ready_file)
        nursery = new_nursery()
        stack.callback(nursery.close)
        nursery.open()
        try:
            supervisor_log(config.data_dir, config.log.level)
        except OSError as error:
            raise CannotStart(f"the log {error.filename} cannot be written: {error.strerror}") from error
        tree = load_tree(options.tree, config)
        wanted = {name for process in processes_of(tree) for name in process.sockets}
        listeners = open_listeners(config, wanted)
        stack.callback(listeners.close)
        lifeline_read_fd, lifeline_write_fd = os.pipe()
        stack.callback(os.close, lifeline_write_fd)
        stack.callback(os.close, lifeline_read_fd)
        inheritance = Inheritance(
            options=options.child_options,
            sockets=dict(listeners.sockets),
            settings_fd=settings_fd(config, listeners.addresses),
            lock_fd=lock.fd,
            lifeline_fd=lifeline_read_fd,
            nursery=nursery,
        )
        ended = asyncio.run(_Appliance(config, options, listeners, SystemClock()).run(tree, inheritance))
    if ended.failed:
        log.error("stopped: %s; the log has more: %s", ended.reason, config.data_dir / LOG_FOLDER / LOG_NAME)
        return 1
    log.info("stopped (%s)", ended.reason)
    return 0


def _fill_standard_descriptors() -> None:
    """Whoever closed 0, 1 or 2 for us must not find a lock or a socket there, which children take for their output."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR_FD:
        os.set_inheritable(fd, True)
    os.close(fd)


def _prepare_ready_file(path: Path | None) -> None:
    """A file left by a killed appliance would tell of dead processes."""
    if path is None:
        return
    readyfile.remove(path)
    if not os.access(path.parent, os.W_OK):
        raise CannotStart(
            f"--ready-file {path}: the folder {path.parent} is absent or cannot be written; make it first"
        )


class _RestartBody(msgspec.Struct):
    name: str


class _NoSuchProcess(Exception):
    code = "not_found"


@dataclass(slots=True, eq=False)
class _Appliance:
    """What happens between the first start and the last exit."""

    config: Config
    options: UpOptions
    listeners: OpenListeners
    clock: Clock
    metrics: Metrics = field(default_factory=Metrics)
    keeper: Keeper = field(init=False)
    reloading: Reloading = field(init=False)
    started_ms: int = field(init=False)
    login_url: str | None = None
    announcing: asyncio.Task[None] | None = None
    is_announced: bool = False
    written: ReadyFile | None = None

    async def run(self, tree: Subtree, inheritance: Inheritance) -> Ended:
        self.started_ms = self.clock.now_ms()
        self.keeper = Keeper(
            tree, inheritance, clock=self.clock, metrics=self.metrics, on_change=self._process_table_changed
        )
        self.reloading = Reloading(
            config=self.config,
            tree_target=self.options.tree,
            load=self.options.load_settings,
            listeners=self.listeners,
            inheritance=inheritance,
            keeper=self.keeper,
        )
        self._listen_to_signals()
        stopping = threading.Event()
        service = self._serve(stopping)
        try:
            return await self.keeper.run()
        finally:
            if self.announcing is not None:
                self.announcing.cancel()
            if self.options.ready_file is not None:
                readyfile.remove(self.options.ready_file)
            stopping.set()
            service.join(timeout=1.0)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._asked_to_stop, signal.SIGTERM)
        loop.add_signal_handler(signal.SIGINT, self._asked_to_stop, signal.SIGINT)
        if _at_terminal():  # It has gone away then. Under nohup it does not concern us, and stays so.
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                loop.add_signal_handler(signal.SIGHUP, self._asked_to_stop, signal.SIGHUP)
        else:
            loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)

    def _asked_to_reload(self) -> None:
        """By a signal, which nobody waits for the answer of: the log has it."""
        try:
            self._reload(self.reloading.prepare(ReloadAsked()))
        except (ConfigError, CannotStart) as error:
            log.error("the reload is refused, and everything goes on as it was: %s", error)

    def _reload(self, prepared: Prepared) -> Report:
        report = self.reloading.apply(prepared)
        if report.addresses:
            log.info(
                "addresses now: %s", ", ".join(f"{key} {value or 'off'}" for key, value in report.addresses.items())
            )
            self._process_table_changed()
        return report

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if not self.keeper.ending:
            log.info("stopping all processes (%s)%s", number.name, "; Ctrl-C again ends them at once" * _at_terminal())
            self.keeper.stop(number.name)
        elif number is signal.SIGINT:
            log.warning("ending all processes at once")
            self.keeper.kill_all()

    def _serve(self, stopping: threading.Event) -> threading.Thread:
        """The service "supervisor". Its handlers run in a thread of its own and hand orders to the loop."""
        loop = asyncio.get_running_loop()

        def restart(request: Request) -> None:
            if request.body.name not in self.keeper.records:
                known = ", ".join(self.keeper.records)
                raise _NoSuchProcess(f"there is no process {request.body.name!r}; the processes are {known}")
            loop.call_soon_threadsafe(self.keeper.restart, request.body.name)

        async def apply(prepared: Prepared) -> Report:
            return self._reload(prepared)

        def reload(request: Request) -> Report:
            prepared = self.reloading.prepare(request.body or ReloadAsked())
            return asyncio.run_coroutine_threadsafe(apply(prepared), loop).result(APPLY_WAIT_S)

        server = Server(self.config.run_dir, SERVICE, metrics=self.metrics)
        server.handle("status", lambda _request: self.status())
        server.handle("restart", restart, _RestartBody)
        server.handle("reload", reload, ReloadAsked | None)
        # A fault in this service must not take the tree down: the server has logged it.
        return server.start_thread(stopping, on_crash=lambda _error: None)

    def status(self) -> dict[str, Any]:
        """The process table and the addresses; asked from another thread, so it only reads."""
        phases = self.keeper.phases
        return {
            "pid": os.getpid(),
            "version": version(),
            "started_ms": self.started_ms,
            "reloading": self.keeper.reloading,
            "addresses": msgspec.to_builtins(self._ready_file()),
            "processes": [
                {
                    "name": record.name,
                    "pid": record.pid,
                    "state": phases[record.name].value,
                    "restarts": record.restarts,
                    "last_exit": record.last_exit,
                    "last_words": record.last_words,
                    "rss_bytes": record.resident_bytes,
                    "started_ms": record.started_ms,
                    "kept_because": record.kept_because,
                }
                for record in self.keeper.records.values()
            ],
        }

    def _ready_file(self) -> ReadyFile:
        def text(setting: str) -> str | None:
            address = self.listeners.addresses.get(setting)
            return str(address) if address else None

        return ReadyFile(
            web=web_url(self.listeners.addresses.get("web.listen")),
            graphite=text("graphite.listen"),
            graphite_pickle=text("graphite.pickle_listen"),
            statsd=text("statsd.listen"),
            statsd_management=text("statsd.management_listen"),
            login_url=self.login_url,
            pid=os.getpid(),
            processes={name: record.pid for name, record in self.keeper.records.items()},
        )

    def _process_table_changed(self) -> None:
        if self.keeper.ending:
            return
        if not self.is_announced:
            if self.keeper.all_up and self.announcing is None:
                self.announcing = asyncio.create_task(self._announce())
        elif self.keeper.all_up:
            self._write_ready_file()
        else:
            asyncio.get_running_loop().call_later(READY_FILE_LATE_S, self._write_ready_file)

    async def _announce(self) -> None:
        """Everything answers: ask for the first log-in link, write the file, tell the user."""
        self.login_url = await self._login_url()
        self.is_announced = True
        self._write_ready_file()
        took_s = (self.clock.now_ms() - self.started_ms) / 1000
        log.debug("everything answers after %.1f s", took_s)
        _show(self._banner())
        page = self.login_url or web_url(self.listeners.addresses.get("web.listen"))
        if self.options.open_browser and page is not None:
            open_page(page)

    async def _login_url(self) -> str | None:
        """The one-time link, while nobody is administrator yet."""
        if "web" not in self.keeper.records:
            return None
        client = AsyncClient(self.config.run_dir, "web")
        try:
            reply = await client.call("login_link", timeout_s=LOGIN_LINK_WAIT_S, type=dict[str, str | None] | None)
        except (BusError, msgspec.MsgspecError) as error:
            log.warning("no log-in link could be had: %s", error)
            return None
        finally:
            client.close()
        return reply.body.get("url") if reply.body else None

    def _write_ready_file(self) -> None:
        path = self.options.ready_file
        now = self._ready_file()
        if path is None or self.keeper.ending or now == self.written:
            return
        try:
            now.write(path)
            self.written = now
        except OSError as error:
            log.warning("the ready file %s cannot be written: %s", path, error.strerror)

    def _banner(self) -> str:
        told = self._ready_file()
        rows = [
            ("Page", told.web),
            ("First log-in", told.login_url and f"{told.login_url}  (works once)"),
            ("Graphite", told.graphite and f"{told.graphite}  (TCP and UDP)"),
            ("StatsD", told.statsd and f"{told.statsd}  (TCP and UDP)"),
            ("Data", str(self.config.data_dir)),
            ("Stop", "Ctrl-C" if _at_terminal() else f"kill {told.pid}"),
        ]
        lines = [f"  {name:<14}{text}" for name, text in rows if text]
        return "\n".join(["", f"Henge {version()} is running.", "", *lines, ""])


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _show(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # A closed terminal is no reason to stop.
        click.echo(text)
