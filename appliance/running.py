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

from appliance import crashes, readyfile
from appliance.accepted import settings_fd
from appliance.belongings import Belongings, opened, taken_over
from appliance.browser import open_page
from appliance.bus import AsyncClient, BusError, Request, Server
from appliance.changes import Checked, ExecAsked, ReloadAsked, Report
from appliance.clock import Clock, SystemClock
from appliance.config import Config, ConfigError
from appliance.errors import CannotStart
from appliance.estate import EarlySignals, Estate, hand_over
from appliance.keeper import Keeper
from appliance.launch import Inheritance
from appliance.listeners import OpenListeners
from appliance.log import LOG_FOLDER, LOG_NAME, TERMINAL_LOGGER
from appliance.metrics import Metrics
from appliance.processes import load_tree, processes_of
from appliance.readyfile import ReadyFile, web_url
from appliance.reloading import Prepared, Reloading
from appliance.succession import Succession
from appliance.supervisor import Ended, Subtree
from appliance.version import version

log = logging.getLogger(TERMINAL_LOGGER)

SERVICE = "supervisor"
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
    estate: Estate | None = None  # Of the executable that was this process before.


def run_appliance(config: Config, options: UpOptions, early: EarlySignals | None = None) -> int:
    """Run until stopped. Returns: the exit status. Raises: CannotStart, when it did not even begin.

    early: with options.estate, which this process takes over.
    """
    tree = load_tree(options.tree, config)
    if options.estate is not None:
        ended = _run(config, options, tree, taken_over(options.estate), early)
    else:
        wanted = {name for process in processes_of(tree) for name in process.sockets}
        with opened(config, options.ready_file, wanted) as belongings:
            ended = _run(config, options, tree, belongings, None)
    if ended.failed:
        log.error("stopped: %s; the log has more: %s", ended.reason, config.data_dir / LOG_FOLDER / LOG_NAME)
        return 1
    log.info("stopped (%s)", ended.reason)
    return 0


def _run(
    config: Config, options: UpOptions, tree: Subtree, belongings: Belongings, early: EarlySignals | None
) -> Ended:
    """Until the end, or until this process is another executable: then it does not return."""
    inheritance = Inheritance(
        options=options.child_options,
        sockets=dict(belongings.listeners.sockets),
        settings_fd=settings_fd(config, belongings.listeners.addresses),
        lock_fd=belongings.lock.fd,
        lifeline_fd=belongings.lifeline_read_fd,
        nursery=belongings.nursery,
    )
    clock = SystemClock()
    appliance = _Appliance(config, options, belongings, clock, early)
    faults = crashes.FaultFile(config.data_dir)
    faults.open()
    began_ms = clock.now_ms()
    try:
        ended = asyncio.run(appliance.run(tree, inheritance))
    except Exception as error:
        crashes.write_exception(config.data_dir, error, at_ms=clock.now_ms(), started_ms=began_ms)
        raise
    finally:
        faults.close()
    if ended is None:
        assert appliance.succession.next is not None
        belongings.nursery.close()
        hand_over(*appliance.succession.next)
    return ended


class _RestartBody(msgspec.Struct):
    name: str


class _NoSuchProcess(Exception):
    code = "not_found"


@dataclass(slots=True, eq=False)
class _Appliance:
    """What happens between the first start and the last exit."""

    config: Config
    options: UpOptions
    belongings: Belongings
    clock: Clock
    early: EarlySignals | None
    metrics: Metrics = field(default_factory=Metrics)
    keeper: Keeper = field(init=False)
    reloading: Reloading = field(init=False)
    succession: Succession = field(init=False)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    started_ms: int = field(init=False)
    login_url: str | None = None
    announcing: asyncio.Task[None] | None = None
    is_announced: bool = False
    written: ReadyFile | None = None

    async def run(self, tree: Subtree, inheritance: Inheritance) -> Ended | None:
        """None: everything is left to another executable."""
        estate = self.options.estate
        self.started_ms = estate.started_ms if estate else self.clock.now_ms()
        self.keeper = Keeper(
            tree,
            inheritance,
            clock=self.clock,
            metrics=self.metrics,
            on_change=self._process_table_changed,
            on_failed_start=self._start_failed,
            on_crash=self._crashed,
        )
        self.reloading = Reloading(
            config=self.config,
            tree_target=self.options.tree,
            load=self.options.load_settings,
            listeners=self.listeners,
            inheritance=inheritance,
            keeper=self.keeper,
        )
        self.succession = Succession(estate, self.reloading, self.keeper, self.belongings, self.started_ms)
        self._listen_to_signals()
        stopping = threading.Event()
        service = self._serve(stopping)
        if estate is not None:
            asyncio.get_running_loop().call_soon(self._taken_over, estate, tree)
        ended: Ended | None = None
        try:
            ended = await self.keeper.run(estate.children if estate else ())
            return ended
        finally:
            if self.announcing is not None:
                self.announcing.cancel()
            if self.options.ready_file is not None and (ended is not None or self.succession.next is None):
                readyfile.remove(self.options.ready_file)
            stopping.set()
            service.join(timeout=1.0)

    @property
    def listeners(self) -> OpenListeners:
        return self.belongings.listeners

    def _taken_over(self, estate: Estate, tree: Subtree) -> None:
        """The children of the executable before are ours. Each is restarted with the code of this one."""
        assert self.early is not None
        for number in self.early.settled():
            self._asked_to_stop(number) if number is not signal.SIGHUP else self._asked_to_reload()
        self.login_url, self.is_announced = estate.login_url, True
        self.keeper.remember(estate.records)
        if estate.gone_back_because is None:
            log.info("this is Henge %s now, in the place of %s", version(), estate.version)
        else:
            log.error("Henge %s is back: %s", version(), estate.gone_back_because)
        self.succession.on_trial = True
        self.keeper.reload([process.name for process in processes_of(tree)], tree)
        self._process_table_changed()

    def _start_failed(self, name: str, cause: str) -> None:
        """A new executable whose children do not start is not kept."""
        estate = self.options.estate
        if self.succession.on_trial and estate is not None and estate.gone_back_because is None:
            why = f"{name} of Henge {version()} could not start: {cause}"
            self._leave(estate.argv, back_because=why)

    def _crashed(self, crash: crashes.Crash) -> None:
        if (path := crashes.write(self.config.data_dir, crash)) is not None:
            log.debug("the crash of %s left the report %s", crash.process, path)

    def _leave(self, argv: list[str], *, back_because: str | None = None) -> None:
        async def leave() -> None:
            try:
                await self.succession.leave(argv, self.login_url, back_because=back_because)
            except CannotStart as error:
                log.warning("the supervisor is not replaced: %s", error)

        task = asyncio.get_running_loop().create_task(leave())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

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

        def replace_supervisor(request: Request) -> Checked:
            argv, checked = self.succession.checked(request.body or ExecAsked())
            loop.call_soon_threadsafe(self._leave, argv)
            return checked

        server = Server(self.config.run_dir, SERVICE, metrics=self.metrics)
        server.handle("exec", replace_supervisor, ExecAsked | None)
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
            "succession": self.succession.status(),
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
        if self.keeper.ending or self.succession.next is not None:
            return
        self.succession.on_trial = self.succession.on_trial and self.keeper.reloading
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
