"""What a certificate says, in the words of a check. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The parts that are judged. Times: epoch ms, UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]  # DNS names and addresses of subjectAltName.
    from_ms: int
    until_ms: int
    serial: str

    def days_left(self, now_ms: int) -> float:
        return (self.until_ms - now_ms) / DAY_MS

    def is_for(self, name: str) -> bool:
        """Whether the certificate is for a host name or an address.

        Source: RFC 6125, section 6.4: a wildcard stands for one whole left-most label, and the subject's common name
        is not looked at.
        """
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return any(_matches(pattern, name) for pattern in self.names)
        return any(_is_address(text, address) for text in self.names)


def read_certificate(der: bytes) -> Certificate:
    """Raises: ValueError, if the bytes are not an X.509 certificate."""
    found = x509.load_der_x509_certificate(der)
    names: list[str] = []
    try:
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += alternatives.get_values_for_type(x509.DNSName)
        names += [str(address) for address in alternatives.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        pass  # Such a certificate is for nobody; the name check says so.
    return Certificate(
        subject=_name(found.subject),
        issuer=_name(found.issuer),
        names=tuple(names),
        from_ms=int(found.not_valid_before_utc.timestamp() * 1000),
        until_ms=int(found.not_valid_after_utc.timestamp() * 1000),
        serial=f"{found.serial_number:x}",
    )


def _name(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        values = name.get_attributes_for_oid(oid)
        if values:
            return str(values[0].value)
    return name.rfc4514_string()


def _matches(pattern: str, name: str) -> bool:
    wanted, given = pattern.lower().rstrip("."), name.lower().rstrip(".")
    if wanted == given:
        return True
    first, _, rest = given.partition(".")
    return wanted.startswith("*.") and bool(first) and "." in rest and wanted[2:] == rest


def _is_address(text: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return ipaddress.ip_address(text) == address
    except ValueError:
        return False
