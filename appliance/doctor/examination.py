"""All looks, at once and each within a bound: a name server or a network disk that hangs takes only its own."""

from __future__ import annotations

import importlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from appliance.doctor.finding import Finding, Verdict, advice
from appliance.doctor.patient import Patient

# What is looked at: "module:function", which takes a Patient and gives findings. Strings, for no arrow points up.
EXAMINERS: Mapping[str, str] = {
    "processes": "appliance.doctor.tree:examine",
    "crashes": "appliance.doctor.crashed:examine",
    "disk": "appliance.doctor.disk:examine",
    "budget": "tsdb.doctor.budget:examine",
    "folder": "appliance.doctor.ownership:examine",
    "state": "appliance.doctor.state_file:examine",
    "samples": "tsdb.doctor.damage:examine",
    "backups": "tsdb.doctor.backups:examine",
    "clock": "appliance.doctor.clock:examine",
    "ports": "appliance.doctor.ports:examine",
    "names": "appliance.doctor.resolving:examine",
    "limits": "appliance.doctor.limits:examine",
    "udp": "tsdb.doctor.datagrams:examine",
    "system": "appliance.doctor.system:examine",
    "locale": "appliance.doctor.locales:examine",
}
LOOK_S_MAX = 15.0  # The check of a state file of 1 GB takes some 5 s.

Examiner = Callable[[Patient], Iterable[Finding]]


class Look(msgspec.Struct, frozen=True):
    """One row of the table, and what it found."""

    name: str
    findings: tuple[Finding, ...]


def examine(
    patient: Patient, examiners: Mapping[str, str] = EXAMINERS, *, look_s_max: float = LOOK_S_MAX
) -> list[Look]:
    """Every look, in the order of the table. One that fails or takes too long is a finding itself."""
    deadline_s = time.monotonic() + look_s_max
    answers: dict[str, queue.SimpleQueue[tuple[Finding, ...]]] = {name: queue.SimpleQueue() for name in examiners}
    for name, target in examiners.items():
        # Daemons: a thread that is stuck in the kernel must not keep the command from ending.
        threading.Thread(target=_look, args=(target, patient, answers[name]), daemon=True).start()
    return [Look(name, _awaited(answer, deadline_s, look_s_max)) for name, answer in answers.items()]


def _look(target: str, patient: Patient, answer: queue.SimpleQueue[tuple[Finding, ...]]) -> None:
    module, _, function = target.partition(":")
    try:
        examiner: Examiner = getattr(importlib.import_module(module), function)
        answer.put(tuple(examiner(patient)))
    except Exception as error:  # noqa: BLE001 - Whatever is wrong with one look, the others are still worth having.
        way_out = "correct what it names, or look at it by hand"
        answer.put((advice("this look failed", f"{type(error).__name__}: {error}", way_out),))


def _awaited(
    answer: queue.SimpleQueue[tuple[Finding, ...]], deadline_s: float, look_s_max: float
) -> tuple[Finding, ...]:
    try:
        return answer.get(timeout=max(0.0, deadline_s - time.monotonic()))
    except queue.Empty:
        way_out = "see whether a disk or a server that it needs hangs, then call henge doctor again"
        return (advice("this look did not end", f"{look_s_max:g} s", way_out),)


def count(looks: Sequence[Look], verdict: Verdict) -> int:
    return sum(finding.verdict == verdict for look in looks for finding in look.findings)
