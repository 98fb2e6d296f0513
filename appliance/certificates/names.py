"""What this machine is called: the names and addresses that its certificate is made out for."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

import psutil  # type: ignore[import-untyped]

from appliance.certificates.authority import general_name
from appliance.certificates.errors import CertificateError

# A machine with many containers has as many addresses, and each handshake sends the certificate.
NAMES_COUNT_MAX = 100


def machine_names(given: Sequence[str] = ()) -> tuple[str, ...]:
    """What a person gave first, then the host's name, its name for multicast DNS, and its addresses.

    Raises: CertificateError, if a given one is neither a host name nor an address.
    """
    addresses = [each.address for rows in psutil.net_if_addrs().values() for each in rows if each.family in _FAMILIES]
    return ordered(given, socket.gethostname(), addresses)


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def ordered(given: Sequence[str], hostname: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """Each once, at most NAMES_COUNT_MAX; addresses that hold on one link only are left out.

    Raises: CertificateError, for a given one that is no name.
    """
    found = dict.fromkeys(_checked(name) for name in given)
    short = hostname.partition(".")[0]
    for name in (hostname, short, f"{short}.local", "localhost"):
        if _is_name(name):
            found[name.lower()] = None
    parsed = [ipaddress.ip_address(text) for text in addresses if "%" not in text]
    usable = [each for each in parsed if not each.is_link_local and not each.is_multicast and not each.is_unspecified]
    found.update(dict.fromkeys(str(each) for each in sorted(usable, key=lambda each: (each.is_loopback, each.version))))
    return tuple(found)[:NAMES_COUNT_MAX]


def _checked(name: str) -> str:
    text = name.strip().strip("[]").lower()
    if not _is_name(text):
        raise CertificateError(f"{name!r} is neither a host name nor an address, such as henge.example or 192.0.2.7")
    return text


def _is_name(text: str) -> bool:
    try:
        found = general_name(text).value
    except ValueError:
        return False
    labels = str(found).split(".")
    is_address = not isinstance(found, str)
    return is_address or all(label and label.replace("-", "").replace("_", "").isalnum() for label in labels)
