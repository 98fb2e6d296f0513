"""Trees of children that misbehave, each in its own way, for tests of the supervisor with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from appliance.child import ChildContext
from appliance.config import Config
from appliance.processes import Process
from appliance.supervisor import Child, Strategy, Subtree
from tests.waiting import wait_until

HERE = "tests.appliance.children"
MIB = 2**20


def serve(context: ChildContext) -> None:
    """A good child."""
    context.ready()
    context.stopping.wait()


def exit_at_once(context: ChildContext) -> None:
    """It is ready, and returns at once with status 0 though nobody asked."""
    context.ready()


def return_before_ready(_context: ChildContext) -> None:
    """It never gets ready, and ends with status 0."""


def crash_in_start(_context: ChildContext) -> None:
    raise RuntimeError("the well is dry")


def crash_twice(context: ChildContext) -> None:
    """It fails its first two starts, counted in a file, and is good from the third on."""
    attempts = context.config.data_dir / f"{context.name}.attempts"
    count = attempts.stat().st_size if attempts.exists() else 0
    with attempts.open("a") as stream:
        stream.write("x")
    if count < 2:
        raise RuntimeError(f"attempt {count} fails")
    serve(context)


CANARY = "canary7FinchesSingAtNoon"


def crash_with_secrets(context: ChildContext) -> None:
    """It fails in its first start, with an error that a careless library could write; then it is good."""
    mark = context.config.data_dir / "has_crashed"
    if mark.exists():
        serve(context)
        return
    mark.touch()
    context.log.warning("retrying with Authorization: Bearer %s", CANARY)
    context.log.warning("options are {'password': '%s', 'host': 'db.example'}", CANARY)
    raise RuntimeError(f"no answer from https://watch:{CANARY}@hooks.example/services/{CANARY}?token={CANARY}")


def crash_by_signal(context: ChildContext) -> None:
    """A fault in a library: the first start ends in the kernel's hands."""
    mark = context.config.data_dir / "has_crashed"
    if mark.exists():
        serve(context)
        return
    mark.touch()
    signal.raise_signal(signal.SIGSEGV)


def hang_in_start(_context: ChildContext) -> None:
    threading.Event().wait()


def eat_memory(context: ChildContext) -> None:
    context.ready()
    eaten = []
    while not context.stopping.wait(0.01):
        eaten.append(b"\1" * (8 * MIB))


def ignore_sigterm(context: ChildContext) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.ready()
    while True:
        time.sleep(60)


def hold_the_interpreter(context: ChildContext) -> None:
    """It is ready and then sits in one call that lets no other thread run, deaf to everything but the kernel."""
    import ctypes

    context.ready()
    ctypes.PyDLL(None).pause()  # PyDLL keeps the GIL.


def leave_a_descendant(context: ChildContext) -> None:
    """It starts a program of its own, which would outlive it."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (context.config.data_dir / "descendant.pid").write_text(str(program.pid))
    serve(context)


def talk(context: ChildContext) -> None:
    """It says something in every way there is."""
    context.log.info("a record with a field", extra={"check": "web", "count": 3})
    context.log.debug("a record below the level")
    print("a bare line")
    os.write(2, b"half a line, \xff not UTF-8, ")
    os.write(2, b"the other half\n")
    try:
        raise ValueError("a value")
    except ValueError:
        context.log.exception("a record with a trace")
    serve(context)


def flood(context: ChildContext) -> None:
    context.ready()
    for index in range(20_000):
        print("line", index)
    context.stopping.wait()


def echo(context: ChildContext) -> None:
    """Answer each connection on the inherited socket with this process's number."""
    listener = next(iter(context.sockets.values()))
    context.when_stopping(lambda: os.kill(os.getpid(), signal.SIGKILL))
    context.ready()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(str(os.getpid()).encode())


def echo_in_peace(context: ChildContext) -> None:
    """The same, and at a stop it writes down that it still works, until a file lets it go.

    Beside it a second one fails when a file says so, or waits.
    """
    folder = context.config.data_dir
    if (folder / "fail").exists():
        raise RuntimeError("the well is dry")
    while (folder / "wait").exists() and not context.stopping.wait(0.02):
        pass
    listener = context.sockets["web"]
    listener.setblocking(False)
    context.ready()
    while not context.stopping.wait(0.01):
        with contextlib.suppress(BlockingIOError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(str(os.getpid()).encode())
    (folder / f"{os.getpid()}.finishing").touch()
    wait_until(lambda: not (folder / "finish slowly").exists())


def give_login_links(context: ChildContext) -> None:
    """The page's process as the supervisor knows it: its service gives a link while there is no administrator."""
    from appliance.bus import Server

    links = iter([{"url": "http://127.0.0.1:1/first"}])
    server = Server(context.config.run_dir, "web", metrics=context.metrics)
    server.handle("login_link", lambda _request: next(links, None))
    server.start_thread(context.stopping)
    serve(context)


def recover_slowly(context: ChildContext) -> None:
    """Ready at once in its first start, and only when a file is there in its next."""
    has_run = context.config.data_dir / "has_run"
    if has_run.exists():
        while not (context.config.data_dir / "recovered").exists() and not context.stopping.wait(0.02):
            pass
    has_run.touch()
    serve(context)


def map_a_file(context: ChildContext) -> None:
    """Its memory is the pages of a file, which the kernel can take back."""
    import mmap

    with (context.config.data_dir / "big").open("w+b") as stream:
        stream.truncate(256 * MIB)
        mapped = mmap.mmap(stream.fileno(), 0)
        for offset in range(0, len(mapped), mmap.PAGESIZE):
            mapped[offset]
        serve(context)
        mapped.close()


def note_start_and_stop(context: ChildContext) -> None:
    """Write a line into a file at each start and stop, so that their order can be seen."""
    diary = context.config.data_dir / "diary"
    _note(diary, f"+{context.name}")
    time.sleep(0.05)  # So that an order kept by chance is not taken for one kept by rule.
    if context.name != "a":  # b and c start together: neither is ready before the other has begun.
        wait_until(lambda: {"+b", "+c"} <= set(diary.read_text().split()), what="the other to begin")
    _note(diary, f"{context.name} ready")
    context.ready()
    context.stopping.wait()
    time.sleep(0.05)
    _note(diary, f"-{context.name}")


def _note(diary: Path, line: str) -> None:
    with diary.open("a") as stream:
        stream.write(f"{line}\n")


def _process(function: str, name: str | None = None, **options: object) -> Process:
    limits = {"start_timeout_s": 10.0, "stop_timeout_s": 5.0} | options
    return Process(name=name or function, entry=f"{HERE}:{function}", **limits)  # type: ignore[arg-type]


def _tree(*members: Child | Subtree, **options: object) -> Subtree:
    limits: dict[str, object] = {"restarts_max": 5, "window_s": 60, "failed_starts_max": 2} | options
    return Subtree(name="top", members=members, **limits)  # type: ignore[arg-type]


def good_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "first", others_wait=True), _process("serve", "second"), _process("serve", "third"))


def diary_tree(_config: Config) -> Subtree:
    names = ("a", "b", "c")
    return _tree(*(_process("note_start_and_stop", name, others_wait=name == "a") for name in names))


def web_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "first"), _process("echo", sockets=("web",)))


def moving_tree(_config: Config) -> Subtree:
    """Its settings are read by nobody but the one whose sockets they open."""
    sockets = ("statsd", "statsd_udp", "graphite_pickle")
    return _tree(_process("serve", "other", reads=("log",)), _process("echo", sockets=sockets, reads=("log",)))


def listening_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "intake", sockets=("graphite", "graphite_udp")))


def overlapping_tree(_config: Config) -> Subtree:
    """A pair; the first has its successor beside it, on one socket."""
    return _tree(_process("echo_in_peace", sockets=("web",), overlaps=True), _process("serve", "other"))


def missing_module_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), Process(name="missing", entry="tests.appliance.not_there:run"))


def exit_at_once_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("exit_at_once"))


def return_before_ready_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("return_before_ready"))


def crash_in_start_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("crash_in_start"))


def crashing_tree(_config: Config) -> Subtree:
    return _tree(_process("crash_with_secrets"))


def signalled_tree(_config: Config) -> Subtree:
    return _tree(_process("crash_by_signal"))


def crash_twice_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("crash_twice"))


def long_pause_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("crash_in_start"), failed_starts_max=99, restarts_max=99)


def hang_in_start_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("hang_in_start", start_timeout_s=1.0), failed_starts_max=1)


def eat_memory_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("eat_memory", memory_bytes_max=96 * MIB), restarts_max=1)


def ignore_sigterm_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("ignore_sigterm", stop_timeout_s=0.5))


def slow_stop_tree(_config: Config) -> Subtree:
    return _tree(_process("serve", "good"), _process("ignore_sigterm", stop_timeout_s=600))


def orphan_tree(_config: Config) -> Subtree:
    """Each kind of child that could outlive its supervisor."""
    return _tree(
        _process("serve", "good"),
        _process("serve", "polite", orphan_signal=signal.SIGTERM),
        _process("ignore_sigterm", "deaf", orphan_signal=signal.SIGTERM),
        _process("hold_the_interpreter", "busy"),
    )


def descendant_tree(_config: Config) -> Subtree:
    return _tree(_process("leave_a_descendant"))


def talk_tree(_config: Config) -> Subtree:
    return _tree(_process("talk"))


def flood_tree(_config: Config) -> Subtree:
    return _tree(_process("flood"))


def login_tree(_config: Config) -> Subtree:
    return _tree(Process(name="web", entry=f"{HERE}:give_login_links", sockets=("web",)))


def slow_recovery_tree(_config: Config) -> Subtree:
    return _tree(_process("recover_slowly"))


def mapped_tree(_config: Config) -> Subtree:
    return _tree(_process("map_a_file", memory_bytes_max=128 * MIB))


def one_for_all_tree(_config: Config) -> Subtree:
    pair = Subtree(
        name="pair", members=(_process("serve", "left"), _process("serve", "right")), strategy=Strategy.ONE_FOR_ALL
    )
    return _tree(_process("serve", "outside"), pair)
