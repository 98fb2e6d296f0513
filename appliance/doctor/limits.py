"""How many files and processes the appliance may have, and how near to that it is."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient

FILES_COUNT_MIN = 4_096  # Of the hard limit: hundreds of senders and a year of blocks.
FILES_COUNT_WANTED = 65_536  # What store and query ask for, so that every block may be open.
TASKS_COUNT_MIN = 512  # Seven processes have some 120 threads; plugins and probes come on top.
NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one process. hard_count, soft_count: None is no limit."""

    process: str  # Empty: the supervisor, from which the others have theirs, or this command when none runs.
    hard_count: int | None
    soft_count: int | None
    used_count: int


def examine(patient: Patient) -> Iterator[Finding]:
    for files in read_files(patient):
        yield from judge_files(files)
    tasks = read_tasks(patient.pid)
    if tasks is not None:
        yield judge_tasks(tasks)


def read_files(patient: Patient) -> Iterator[Limit]:
    """Of the appliance; when none runs, of this command, which has the limits of the same shell."""
    rows = patient.status.processes if patient.status else []
    for pid, name in [(patient.pid, ""), *((row.pid, row.name) for row in rows if row.pid)]:
        try:
            process = psutil.Process(pid)
            soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
            yield Limit(name, _count(hard), _count(soft), process.num_fds())
        except psutil.Error:  # It has just ended, or is another user's.
            continue


def read_tasks(pid: int | None) -> Limit | None:
    """Threads of the user: that is what RLIMIT_NPROC counts."""
    try:
        process = psutil.Process(pid)
        soft, hard = process.rlimit(psutil.RLIMIT_NPROC)
        uid = process.uids().real
    except psutil.Error:
        return None
    used_count = 0
    for each in psutil.process_iter(["uids", "num_threads"]):
        if each.info["uids"] and each.info["uids"].real == uid:
            used_count += each.info["num_threads"] or 0
    # Root is not held to it.
    return Limit("", None if uid == 0 else _count(hard), None if uid == 0 else _count(soft), used_count)


def _count(limit: int) -> int | None:
    return None if limit in (resource.RLIM_INFINITY, -1) else limit


def judge_files(limit: Limit) -> Iterator[Finding]:
    what = f"open files of {limit.process}" if limit.process else "open files"
    raise_it = "raise it: LimitNOFILE=65536 in the service, or ulimit -n and /etc/security/limits.conf for a shell"
    hard = "no limit" if limit.hard_count is None else f"at most {limit.hard_count:,}"
    value = f"{limit.used_count:,}, {hard}"
    if limit.soft_count is not None and limit.used_count > NEAR * limit.soft_count:
        yield fault(what, f"{limit.used_count:,} of {limit.soft_count:,}", raise_it)
    elif limit.process:
        return  # What is as it should be is said once.
    elif limit.hard_count is not None and limit.hard_count < FILES_COUNT_MIN:
        yield fault(what, value, raise_it)
    elif limit.hard_count is not None and limit.hard_count < FILES_COUNT_WANTED:
        yield advice(what, f"{value}, of {FILES_COUNT_WANTED:,} that store and query ask for", raise_it)
    else:
        yield ok(what, value)


def judge_tasks(limit: Limit) -> Finding:
    what = "threads and processes of this user"
    if limit.soft_count is None:
        return ok(what, f"{limit.used_count:,}, no limit")
    value = f"{limit.used_count:,} of {limit.soft_count:,}"
    if limit.soft_count - limit.used_count < TASKS_COUNT_MIN:
        return advice(what, value, f"leave room for {TASKS_COUNT_MIN}: raise ulimit -u, or LimitNPROC in the service")
    return ok(what, value)
