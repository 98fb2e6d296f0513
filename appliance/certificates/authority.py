"""An authority of the appliance's own, and the certificates that it issues (RFC 5280).

The people of a team let their devices trust the authority once; the certificate of the server may then change with the
addresses of the machine, and is renewed, without anybody being asked again.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = dt.timedelta(days=3650)
# Browsers refuse certificates of servers that are valid for longer than 398 days.
SERVER_LIFE = dt.timedelta(days=397)
# Clocks of phones and of machines without a battery lag; a certificate made a moment ago has to be valid for them.
BEGINS_EARLIER = dt.timedelta(days=1)
ORGANIZATION = "Henge"
COMMON_NAME_START = "Henge CA "
COMMON_NAME_CHARS_MAX = 64  # X.520


@dataclass(frozen=True, slots=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_authority(host: str, now: dt.datetime) -> Authority:
    """An authority that may vouch for servers alone, not for further authorities. host: a name for people to tell
    it from that of another machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{COMMON_NAME_START}{host}"[:COMMON_NAME_CHARS_MAX]),
        ]
    )
    certificate = (
        _begun(name, name, key.public_key(), now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue(
    authority: Authority, key: ec.EllipticCurvePublicKey, names: Sequence[str], now: dt.datetime
) -> x509.Certificate:
    """A certificate for a server that is reached by any of names: host names and addresses, the best known first."""
    assert names, "a certificate for nothing"
    issuer = authority.certificate.subject
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:COMMON_NAME_CHARS_MAX])])
    ends = min(now + SERVER_LIFE, authority.certificate.not_valid_after_utc)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        _begun(subject, issuer, key, now, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def general_name(name: str) -> x509.GeneralName:
    """A host name or an address as certificates hold it. Raises: ValueError, if it is neither."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode("ascii").lower())


def names_of(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that a certificate is made out for, in its order."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(each.value) for each in found if isinstance(each, x509.DNSName | x509.IPAddress)]


def is_own(certificate_pem: bytes) -> bool:
    """Whether the certificate, or the first of several, was issued by an authority of an appliance.

    Raises: ValueError, if it is none.
    """
    issuer = x509.load_pem_x509_certificate(certificate_pem).issuer
    names = [str(each.value) for each in issuer.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return any(name.startswith(COMMON_NAME_START) for name in names)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 as browsers show it: 32 pairs of capital digits with colons between."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    ends: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEGINS_EARLIER)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
