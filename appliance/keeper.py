"""The keeper of the process tree: it carries out what the supervisor decides, watches, and keeps the record.

It runs on one event loop. Time-outs are its own (a start that hangs, a stop that does not end, memory over its
limit): each ends in a killed process, and the supervisor hears of one kind of trouble only, a child that is gone
and why.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable

from appliance import log as logs
from appliance.clock import Clock
from appliance.crashes import Crash
from appliance.estate import KeptChild, KeptRecord
from appliance.launch import Inheritance, RunningChild
from appliance.lives import LAST_WORDS_CHARS_MAX, TAIL_CHARS_MAX, Life, Record, exit_text_of
from appliance.metrics import Metrics
from appliance.processes import GIB, MIB, Process, processes_of
from appliance.supervisor import Action, Ended, GaveUp, Phase, Replace, Start, Stop, Subtree, Supervisor

log = logging.getLogger(__name__)

MEMORY_EVERY_S = 1.0
ABORT_GRACE_S = 1.0  # For faulthandler to write where a start hung.
LINES_PER_SECOND_MAX = 1_000  # Of one child. More is counted, not written: a flood must not cost the disk and a core.


class Keeper:
    """Starts a tree and keeps it.

    on_change is called, on the loop, whenever a child got ready or has ended; on_failed_start, with its name and why,
    when one has ended before it was ready; on_crash, when one has ended that nobody asked to.
    """

    def __init__(
        self,
        tree: Subtree,
        inheritance: Inheritance,
        *,
        clock: Clock,
        metrics: Metrics,
        on_change: Callable[[], None] = lambda: None,
        on_failed_start: Callable[[str, str], None] = lambda _name, _cause: None,
        on_crash: Callable[[Crash], None] = lambda _crash: None,
    ) -> None:
        self._supervisor = Supervisor(tree)
        self._processes = {process.name: process for process in processes_of(tree)}
        self._inheritance = inheritance
        self._clock = clock
        self._on_change = on_change
        self._on_failed_start = on_failed_start
        self._on_crash = on_crash
        self._lives: dict[str, Life] = {}
        self._successors: dict[str, Life] = {}  # They start beside those that they will replace.
        self._retired: set[Life] = set()  # They have been replaced, and finish what they have in hand.
        self._one_has_ended = asyncio.Event()
        self._pauses: dict[str, asyncio.TimerHandle] = {}  # Of those that are to be started after a pause.
        self._ended: asyncio.Future[Ended | None] = asyncio.get_running_loop().create_future()
        self._restarts_total = metrics.counter(
            "henge_process_restarts_total", "Restarts of a process after an end that nobody asked for."
        )
        self._start_time = metrics.gauge("henge_process_start_time_seconds", "When the process started, Unix time.")
        self._resident = metrics.gauge("henge_process_resident_memory_bytes", "Resident memory of the process.")
        self.records = {name: Record(name) for name in self._processes}
        for name in self._processes:
            self._restarts_total.inc(0, process=name)

    @property
    def all_up(self) -> bool:
        return self._supervisor.all_up

    @property
    def ending(self) -> bool:
        return self._supervisor.ending

    @property
    def reloading(self) -> bool:
        return self._supervisor.reloading

    @property
    def phases(self) -> dict[str, Phase]:
        return self._supervisor.phases

    async def run(self, kept: Iterable[KeptChild] = ()) -> Ended | None:
        """Start the tree and keep it until it has ended, or was left to another supervisor: None.

        kept: children that another supervisor has left to this one.
        """
        watching = asyncio.create_task(self._watch_memory())
        try:
            for child in kept:
                self._take(child)
            self._do(self._supervisor.start(self._lives))
            ended = await self._ended
            if ended is not None:
                await self._others_to_end()
            return ended
        finally:
            watching.cancel()

    async def _others_to_end(self) -> None:
        """Those that have been replaced. Their limits are those of every stop."""
        while self._retired or (self._supervisor.ending and self._successors):
            self._one_has_ended.clear()
            await self._one_has_ended.wait()

    async def leave(self) -> list[KeptChild]:
        """Leave the children to another supervisor, as they are; whoever does not answer yet is ended. run() returns.

        The caller lets nothing else run on this loop from the answer on.
        """
        await self._others_to_end()
        for life in [*self._successors.values(), *(life for life in self._lives.values() if not life.is_ready)]:
            life.child.end_now()
        kept = [
            KeptChild(name, life.child.pid, *life.child.leave(), life.started_ms)
            for name, life in self._lives.items()
            if life.is_ready
        ]
        for life in self._lives.values():
            life.cancel_timers()
        if not self._ended.done():
            self._ended.set_result(None)
        return kept

    def _take(self, kept: KeptChild) -> None:
        """One that runs, and was started by the supervisor before. A stranger to this tree is asked to stop."""
        process = self._processes.get(kept.name)
        life = Life(process or Process(name=kept.name, entry=""), None, [], kept.started_ms, is_ready=True)
        life.running = RunningChild(
            *(kept.name, kept.pid, kept.output_fd, None),
            rest=kept.rest,
            on_ready=lambda: None,
            on_line=lambda line: self._line(life, line),
            on_exit=lambda status: self._exited(life, status),
        )
        if process is None:
            self._retired.add(life)
            self._let_go(life)
            return
        self._lives[kept.name] = life
        self._note(life)

    def stop(self, reason: str, *, failed: bool = False) -> None:
        """Stop everything in reverse order; run() returns when all are gone."""
        self._do(self._supervisor.stop(reason, failed=failed))

    def kill_all(self) -> None:
        """End everything now. For somebody who will not wait for a stop."""
        self.stop("killed", failed=True)
        for life in self._all_lives():
            life.child.send(signal.SIGKILL)

    def _all_lives(self) -> list[Life]:
        return [*self._lives.values(), *self._successors.values(), *self._retired]

    def remember(self, records: Iterable[KeptRecord]) -> None:
        """What happened to the processes under the supervisor before."""
        for kept in records:
            if (record := self.records.get(kept.name)) is not None:
                record.restarts += kept.restarts
                record.last_exit = record.last_exit or kept.last_exit
                record.last_words = record.last_words or kept.last_words
                self._restarts_total.inc(kept.restarts, process=kept.name)

    def restart(self, name: str) -> None:
        log.info("restarting %s, as asked", name)
        self._do(self._supervisor.restart(name))

    def reload(self, names: Iterable[str], tree: Subtree) -> None:
        """Restart these one at a time. tree: the same processes, with the limits that they have from now on."""
        self._processes = {process.name: process for process in processes_of(tree)}
        assert self._processes.keys() == self.records.keys(), "BUG: another set of processes"
        wanted = list(names)
        if wanted:
            log.info("restarting one at a time, as asked: %s", ", ".join(wanted))
            self._inheritance.nursery.open()  # The new processes have the code that is on disk by now.
        self._do(self._supervisor.reload(wanted))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(name, after_s):
                    self._start_after(after_s, self._processes[name])
                case Stop(name):
                    self._stop(name)
                case Replace(name):
                    self._replace(self._processes[name])
                case GaveUp(subtree, reason):
                    log.error("%s gives up and is restarted as a whole: %s", subtree, reason)
                case Ended():
                    if not self._ended.done():
                        self._ended.set_result(action)

    def _start_after(self, pause_s: float, process: Process) -> None:
        if pause_s and process.name not in self._lives:
            self._pauses[process.name] = asyncio.get_running_loop().call_later(pause_s, self._start, process)
        else:
            self._start(process)

    def _start(self, process: Process) -> None:
        name = process.name
        self._pauses.pop(name, None)
        if (successor := self._lives.get(name)) is not None:  # It was about to replace the one that has just ended.
            if successor.is_ready:
                asyncio.get_running_loop().call_soon(self._ready, successor)
            return
        life = self._begun(process, is_successor=False)
        if isinstance(life, str):  # As if it had started and ended.
            asyncio.get_running_loop().call_soon(self._gone, process, life)
            return
        self._lives[name] = life
        self._note(life)

    def _replace(self, process: Process) -> None:
        life = self._begun(process, is_successor=True)
        if isinstance(life, str):
            asyncio.get_running_loop().call_soon(self._not_replaced, process.name, life)
        else:
            self._successors[process.name] = life

    def _begun(self, process: Process, *, is_successor: bool) -> Life | str:
        """A process that has been started; or why it could not be: no memory or no process numbers left."""
        try:
            child = RunningChild.start(
                process,
                self._inheritance,
                is_successor=is_successor,
                on_ready=lambda: self._ready(life),
                on_line=lambda line: self._line(life, line),
                on_exit=lambda status: self._exited(life, status),
            )
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        life = Life(process, child, [], self._clock.now_ms())
        self._after(life, process.start_timeout_s, self._start_too_long)
        log.info("%s is process %d%s", process.name, child.pid, ", beside the one before it" * is_successor)
        return life

    def _note(self, life: Life) -> None:
        """From now on this is the process of its name."""
        record = self.records[life.process.name]
        record.pid, record.started_ms = life.child.pid, life.started_ms
        self._start_time.set(life.started_ms / 1000, process=record.name)

    def _stop(self, name: str) -> None:
        if (pause := self._pauses.pop(name, None)) is not None:
            pause.cancel()
            asyncio.get_running_loop().call_soon(self._gone, self._processes[name], "not started again")
            return
        for life in (self._lives.get(name), self._successors.get(name)):
            if life is not None:  # It could not even be started; that is about to be told.
                self._let_go(life)

    def _let_go(self, life: Life) -> None:
        life.child.send(signal.SIGTERM)
        self._after(life, life.process.stop_timeout_s, self._stop_too_long)

    def _ready(self, life: Life) -> None:
        name = life.process.name
        if self._successors.get(name) is life:
            self._take_over(life)
            return
        if life.ended_because is not None or self.phases[name] is not Phase.STARTING:
            return  # Ready too late: it is being ended, and the timer that sees to it must run on.
        life.cancel_timers()
        life.is_ready = True
        log.info("%s is ready", name)
        self._do(self._supervisor.ready(name))
        self._on_change()

    def _take_over(self, life: Life) -> None:
        """Another process has the name; the one before it finishes what it has in hand."""
        name = life.process.name
        if life.ended_because is not None or self._supervisor.ending:
            return
        life.cancel_timers()
        life.is_ready = True
        old, self._lives[name] = self._lives[name], self._successors.pop(name)
        self._retired.add(old)
        self._let_go(old)
        self._note(life)
        self.records[name].kept_because = None
        log.info("%s is ready in the place of process %d", name, old.child.pid)
        self._do(self._supervisor.replaced(name))
        self._on_change()

    def _not_replaced(self, name: str, cause: str) -> None:
        if not self._supervisor.ending:
            log.warning("the new %s ended: %s; the one before it goes on", name, cause)
        self.records[name].kept_because = cause
        self._on_failed_start(name, cause)
        self._do(self._supervisor.replaced(name))

    def _exited(self, life: Life, status: int) -> None:
        life.cancel_timers()
        self._one_has_ended.set()
        name = life.process.name
        if life.lines_left_out_count:
            log.warning("%s wrote %d more lines than are kept", name, life.lines_left_out_count)
        exit_text = life.ended_because or exit_text_of(status)
        has_words = life.ended_because is None and status != 0 and life.words
        cause = f"{exit_text} ({life.words})" if has_words else exit_text
        if life in self._retired:
            self._retired.discard(life)
            log.info("%s, process %d, has stopped: %s", name, life.child.pid, cause)
            return
        if self.phases[name] is not Phase.STOPPING and not self._supervisor.ending:
            self._report(life, exit_text)
        if self._successors.get(name) is life:
            del self._successors[name]
            self._not_replaced(name, cause)
            return
        record = self.records[name]
        record.pid = None
        record.resident_bytes = 0
        record.last_exit = exit_text
        record.last_words = life.words
        if (successor := self._successors.pop(name, None)) is not None:
            self._lives[name] = successor
            self._note(successor)
        else:
            del self._lives[name]
        self._gone(life.process, cause)

    def _report(self, life: Life, exit_text: str) -> None:
        now_ms = self._clock.now_ms()
        self._on_crash(
            Crash(
                process=life.process.name,
                pid=life.child.pid,
                exit=exit_text,
                at_ms=now_ms,
                lived_ms=now_ms - life.started_ms,
                lines=tuple(life.tail),
                memory_bytes_max=life.process.memory_bytes_max,
            )
        )

    def _gone(self, process: Process, cause: str) -> None:
        name = process.name
        was_meant = self.phases[name] is Phase.STOPPING
        if self.phases[name] is Phase.STARTING and not self._supervisor.ending:
            # What it was forked with may be older than what it read from disk, in the middle of an upgrade.
            self._inheritance.nursery.open()
            self._on_failed_start(name, cause)
        actions = self._supervisor.exited(name, cause, self._clock.monotonic_s())
        if was_meant:
            log.info("%s has stopped: %s", name, cause)
        elif self._supervisor.ending:
            log.warning("%s ended: %s", name, cause)
        else:
            self.records[name].restarts += 1
            self._restarts_total.inc(process=name)
            log.warning("%s ended: %s; starting it again (restart %d)", name, cause, self.records[name].restarts)
        self._do(actions)
        self._on_change()

    def _start_too_long(self, life: Life) -> None:
        life.ended_because = f"not ready within {life.process.start_timeout_s:g} s"
        life.child.send(signal.SIGABRT)
        self._after(life, ABORT_GRACE_S, lambda life: life.child.send(signal.SIGKILL))

    def _stop_too_long(self, life: Life) -> None:
        life.ended_because = f"SIGKILL, it did not stop within {life.process.stop_timeout_s:g} s"
        log.warning("%s did not stop within %g s and is killed", life.process.name, life.process.stop_timeout_s)
        life.child.send(signal.SIGKILL)

    async def _watch_memory(self) -> None:
        while True:
            for life in self._all_lives():
                self._weigh(life)
            await asyncio.sleep(MEMORY_EVERY_S)

    def _weigh(self, life: Life) -> None:
        resident_bytes, private_bytes = life.child.memory_bytes()
        if self._lives.get(life.process.name) is life:
            self.records[life.process.name].resident_bytes = resident_bytes
            self._resident.set(resident_bytes, process=life.process.name)
        if private_bytes > life.process.memory_bytes_max and life.ended_because is None:
            life.ended_because = f"memory {_size(private_bytes)} over {_size(life.process.memory_bytes_max)}"
            life.child.send(signal.SIGKILL)

    def _line(self, life: Life, line: str) -> None:
        """One line of output into the log, as long as it is not a flood."""
        second = int(self._clock.monotonic_s())
        if second != life.lines_second:
            if life.lines_left_out_count:
                log.warning("%s wrote %d more lines than are kept", life.process.name, life.lines_left_out_count)
            life.lines_second, life.lines_count, life.lines_left_out_count = second, 0, 0
        life.lines_count += 1
        if life.lines_count > LINES_PER_SECOND_MAX:
            life.lines_left_out_count += 1
            return
        record = logs.parse_line(life.process.name, line)
        # A bare line at the margin may be the last one of a traceback; what is indented is inside it.
        if record.levelno >= logging.ERROR or (record.name == logs.BARE_OUTPUT and not line.startswith(" ")):
            life.words = record.getMessage()[:LAST_WORDS_CHARS_MAX]
        life.tail.append(logs.plain(record)[-TAIL_CHARS_MAX:])
        logs.write(record)

    def _after(self, life: Life, seconds: float, act: Callable[[Life], None]) -> None:
        life.timers.append(asyncio.get_running_loop().call_later(seconds, act, life))


def _size(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{size_bytes / MIB:.0f} MiB"
