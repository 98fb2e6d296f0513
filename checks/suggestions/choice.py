"""What of all that was looked at is suggested, and ticked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from checks.model import Result, State
from checks.suggestions.address import Address
from checks.suggestions.candidates import Candidate, Reason

WELL = (State.OK, State.WARNING)
VERIFIED = (Reason.ASKED, Reason.WEB)
NOT_TICKED = (Reason.NAME, Reason.UNVERIFIED)
EVERYWHERE = (
    "Every port of {host} that was tried answers, as a firewall or a proxy before it does. Tick those behind which you "
    "know a service."
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    candidate: Candidate
    result: Result
    is_ticked: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """note: what to say when little was found; empty otherwise."""

    suggestions: tuple[Suggestion, ...]
    note: str = ""


def suggestions(address: Address, found: Sequence[tuple[Candidate, Result]]) -> Looked:
    """found: every candidate of the address with its first result, in the candidates' order."""
    well_web = [one for one, result in found if one.reason is Reason.WEB and result.state in WELL]
    secure = {_place(one) for one in well_web if not _is_plain_http(one)}
    answered = {one.options["url"] for one, result in found if one.reason in VERIFIED and _measured(result, "size")}
    chosen = [
        Suggestion(one, result, _is_ticked(one, result, is_web=bool(well_web)))
        for one, result in found
        if _is_worth_it(one, result)
        and not (_is_plain_http(one) and _place(one) in secure)
        and not (one.reason is Reason.UNVERIFIED and one.options["url"] in answered)
    ]
    if _answers_everywhere(found):
        return Looked(tuple(_unticked(one) for one in chosen), EVERYWHERE.format(host=address.host))
    if any(one.result.state in WELL and one.candidate.reason is not Reason.NAME for one in chosen):
        return Looked(tuple(chosen))
    shown = {suggestion.candidate.name for suggestion in chosen}
    chosen += [
        Suggestion(one, result, is_ticked=False)
        for one, result in found
        if one.reason is Reason.PING and one.name not in shown
    ]
    return Looked(tuple(chosen), _note(address, found))


def _is_worth_it(one: Candidate, result: Result) -> bool:
    match one.reason:
        case Reason.ASKED:
            return True
        case Reason.WEB | Reason.UNVERIFIED:  # Also when the answer is an error: somebody is there.
            return _measured(result, "size")
        case Reason.CERTIFICATE:  # Also one that has expired or was signed by nobody known: it is there.
            return _measured(result, "days")
    return result.state is State.OK


def _is_ticked(one: Candidate, result: Result, *, is_web: bool) -> bool:
    """What was typed is watched even while it is down, unless it is a port behind which a web server answers: a check
    of that says more. A name alone is looked up by every other check as well, and to trust any certificate is for a
    person to decide."""
    if one.reason is Reason.ASKED:
        return one.kind != "tcp" or not is_web
    return result.state in WELL and one.reason not in NOT_TICKED


def _answers_everywhere(found: Sequence[tuple[Candidate, Result]]) -> bool:
    """Nobody runs all of that on one machine: something before it answers in its stead."""
    ports = [result.state is State.OK for one, result in found if one.reason is Reason.PORT]
    return bool(ports) and all(ports)


def _unticked(one: Suggestion) -> Suggestion:
    return replace(one, is_ticked=one.is_ticked and one.candidate.reason is not Reason.PORT)


def _is_plain_http(one: Candidate) -> bool:
    return one.reason is Reason.WEB and one.options["url"].startswith("http://")


def _place(one: Candidate) -> tuple[str, str, int | None]:
    """Host, path and port of a web address; the usual ports of http and https count as one."""
    parts = urlsplit(one.options["url"])
    return parts.hostname or "", f"{parts.path}?{parts.query}", None if parts.port in (80, 443) else parts.port


def _measured(result: Result, label: str) -> bool:
    return any(perfdata.label == label for perfdata in result.perfdata)


def _note(address: Address, found: Sequence[tuple[Candidate, Result]]) -> str:
    """The first line of why; a name that cannot be looked up explains everything else."""
    for one, result in found:
        if one.reason is Reason.NAME and result.state is not State.OK:
            return f"The name {address.host} was not found: {result.output.partition(chr(10))[0]}."
    where = f"port {address.port}" if address.port is not None else "the usual ports"
    return (
        f"Nothing answered well at {address.host}, on {where}. A firewall may keep this machine out; what you tick is "
        "watched all the same."
    )
