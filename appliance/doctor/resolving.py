"""Whether names become addresses in time, asked with names that mean this machine alone."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient

# Below .localhost no name server asks another one, and "there is no such name" is an answer.
# Source: RFC 6761, section 6.3.
ASKED_SERVER = "henge-doctor.localhost"
ANSWER_S_MAX = 3.0
SLOW_S = 1.0  # A check by name has this on top of its own time.
NO_ANSWER = (socket.EAI_AGAIN, socket.EAI_FAIL)


@dataclass(frozen=True, slots=True)
class Reading:
    """One name."""

    name: str
    took_s: float | None  # None: no answer within the limit.
    addresses: tuple[str, ...] = ()
    error_number: int = 0  # Of getaddrinfo(3); 0: none.
    error_text: str = ""


def examine(_patient: Patient) -> Iterator[Finding]:
    names = ("localhost", socket.gethostname(), ASKED_SERVER)
    answers: list[queue.SimpleQueue[Reading]] = [queue.SimpleQueue() for _ in names]
    for name, answer in zip(names, answers, strict=True):
        threading.Thread(target=lambda name=name, answer=answer: answer.put(read(name)), daemon=True).start()
    deadline_s = time.monotonic() + ANSWER_S_MAX
    for name, answer in zip(names, answers, strict=True):
        try:
            reading = answer.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            reading = Reading(name, None)
        yield judge(reading)


def read(name: str) -> Reading:
    """May take as long as the resolver likes."""
    started_s = time.monotonic()
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) and error.errno else socket.EAI_NONAME
        return Reading(name, time.monotonic() - started_s, (), number, getattr(error, "strerror", None) or str(error))
    return Reading(name, time.monotonic() - started_s, tuple(sorted({str(each[4][0]) for each in found})))


def judge(reading: Reading) -> Finding:
    what = "name server" if reading.name == ASKED_SERVER else f"name {reading.name}"
    servers = "correct the name servers in /etc/resolv.conf, or give checks addresses instead of names"
    if reading.took_s is None:
        return advice(what, f"no answer within {ANSWER_S_MAX:g} s", servers)
    if reading.name == "localhost" and not (
        reading.addresses and all(ip_address(address.partition("%")[0]).is_loopback for address in reading.addresses)
    ):
        value = ", ".join(reading.addresses) or reading.error_text
        return fault(what, value, 'put the line "127.0.0.1 localhost" into /etc/hosts')
    if reading.error_number in NO_ANSWER:
        return advice(what, reading.error_text, servers)
    if reading.took_s > SLOW_S:
        return advice(what, f"answers after {reading.took_s:.1f} s", servers)
    if reading.name == ASKED_SERVER:
        return ok(what, "answers")
    if not reading.addresses:
        return advice(what, reading.error_text, f'put the line "127.0.1.1 {reading.name}" into /etc/hosts')
    return ok(what, ", ".join(reading.addresses))
