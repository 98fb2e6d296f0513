"""The listeners: whether their addresses can be had, or whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.config import Address
from appliance.doctor.finding import Finding, advice, fault, ok
from appliance.doctor.patient import Patient
from appliance.errors import CannotStart
from appliance.holders import Holder, holders
from appliance.listeners import LISTENERS, open_listeners

LOOKED_ELSEWHERE = "restart it if the settings are meant, or give its --config and --set to henge doctor as well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    setting: str
    wanted: Address | None  # By the settings as they are now; None: off.
    had: Address | None = None  # Of the appliance that runs; None also when none does.
    is_running: bool = False
    trouble: str = ""  # Why it cannot be opened, when none runs.
    holders: tuple[Holder, ...] = ()
    our_pids: frozenset[int] = frozenset()


def examine(patient: Patient) -> Iterator[Finding]:
    for reading in read(patient):
        yield judge(reading)


def read(patient: Patient) -> Iterator[Reading]:
    """Without a running appliance each listener is opened for an instant: no other question has the true answer."""
    if patient.pid is not None and patient.status is None:
        return  # What is open is not known; appliance.doctor.tree says that it does not answer.
    addresses = patient.status.addresses if patient.status else {}
    for listener in LISTENERS:
        wanted = listener.address(patient.config)
        had = _address(addresses.get(listener.tcp or ""))
        trouble = ""
        if patient.pid is None and wanted is not None:
            try:
                open_listeners(patient.config, {listener.tcp or "", listener.udp or ""}, (listener,)).close()
            except CannotStart as error:
                trouble = str(error)
        asked = had or wanted
        yield Reading(
            setting=listener.setting,
            wanted=wanted,
            had=had,
            is_running=patient.status is not None,
            trouble=trouble,
            holders=tuple(holders(asked.port)) if asked is not None and asked.port and (trouble or had) else (),
            our_pids=patient.pids,
        )


def _address(told: object) -> Address | None:
    """As the ready file writes it: `http://127.0.0.1:8420` or `127.0.0.1:2003`."""
    if not isinstance(told, str):
        return None
    host, _, port = told.removeprefix("http://").removeprefix("https://").rpartition(":")
    return Address(host.strip("[]"), int(port))


def judge(reading: Reading) -> Finding:
    what, wanted, had = reading.setting, reading.wanted, reading.had
    if reading.trouble:
        named = [f"{holder.name} (process {holder.pid})" for holder in reading.holders if holder.pid is not None]
        who = f", held by {' and '.join(named)}" if named else ""
        problem, _, way_out = reading.trouble.removeprefix(f"{reading.setting}: ").partition("; ")
        return fault(what, problem + who, way_out or "correct the setting")
    if not reading.is_running or (wanted is None and had is None):
        return ok(what, "off" if wanted is None else f"{wanted}, free")
    if wanted is None or had is None:
        value = "off in the settings, and open" if wanted is None else f"{wanted} in the settings, and not open"
        return advice(what, value, LOOKED_ELSEWHERE)
    others = [holder for holder in reading.holders if holder.pid is not None and holder.pid not in reading.our_pids]
    if others:
        value = f"{had}; {others[0].name} (process {others[0].pid}) has a socket there as well"
        return advice(what, value, f"see whether that program takes what is meant for us: kill {others[0].pid} ends it")
    if wanted.port not in (0, had.port):
        return advice(what, f"{had}, and the settings say {wanted}", LOOKED_ELSEWHERE)
    return ok(what, f"{had}, open by this appliance")
