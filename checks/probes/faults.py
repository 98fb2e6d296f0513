"""Errors of the network in words, and whose fault each is: the target's (CRITICAL) or this machine's (UNKNOWN)."""

from __future__ import annotations

import errno
import ssl

from checks.model import State
from checks.probes.options import one_line


class NameFault(OSError):
    """A name could not be resolved; `state` says whether that is the target's fault."""

    def __init__(self, state: State, text: str) -> None:
        super().__init__(text)
        self.state = state
        self.text = text


OURS = {
    errno.EMFILE: "this process has no file descriptor left",
    errno.ENFILE: "this machine has no file descriptor left",
    errno.ENOBUFS: "this machine has no network buffer left",
    errno.ENOMEM: "this machine has no memory left",
    errno.EADDRNOTAVAIL: "this machine has no local port or address left for it",
    errno.EACCES: "this machine does not allow the connection",
    errno.EPERM: "this machine does not allow the connection",
    errno.ENETUNREACH: "this machine has no route to that network",
    errno.ENETDOWN: "this machine's network is down",
    errno.EAFNOSUPPORT: "this machine does not support that kind of address",
}
"""What this machine lacks; none of it says anything about the target."""

THEIRS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by the other side",
    errno.EPIPE: "connection closed by the other side",
    errno.ECONNABORTED: "connection aborted",
    errno.EHOSTUNREACH: "no route to the host",
    errno.EHOSTDOWN: "the host is down",
    errno.ETIMEDOUT: "no answer to the connection attempt",
}


def describe(error: OSError) -> tuple[State, str]:
    """What an error of a connection means."""
    if isinstance(error, NameFault):
        return error.state, error.text
    if isinstance(error, ssl.SSLCertVerificationError):
        return State.CRITICAL, f"certificate refused: {one_line(error.verify_message or str(error))}"
    if isinstance(error, ssl.SSLError):
        return State.CRITICAL, f"TLS failed: {one_line(ssl_reason(error))}"
    number = error.errno
    if number in OURS:
        return State.UNKNOWN, OURS[number]
    if number in THEIRS:
        return State.CRITICAL, THEIRS[number]
    if isinstance(error, TimeoutError):
        return State.CRITICAL, "no answer in time"
    if isinstance(error, ConnectionError):
        return State.CRITICAL, "connection closed by the other side"
    return State.CRITICAL, one_line(error.strerror or str(error) or type(error).__name__)


def ssl_reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason in lower case, such as "wrong version number"."""
    return (error.reason or error.strerror or str(error)).replace("_", " ").lower()
