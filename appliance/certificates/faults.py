"""What is wrong with a certificate and a key that somebody brings, in words that say what to do."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.certificates.authority import names_of
from appliance.certificates.errors import CertificateError

RSA_BITS_MIN = 2048


def faults(certificate_pem: bytes, key_pem: bytes, names: Sequence[str], now: dt.datetime) -> list[str]:
    """Empty, if a server may use them. names: those that it must be made out for, each; none are asked for if empty."""
    try:
        chain, key = read_chain(certificate_pem), read_key(key_pem)
    except CertificateError as error:
        return [str(error)]
    return [
        *_of_fit(chain, key),
        *_of_chain(chain),
        *_of_time(chain, now),
        *_of_strength(chain),
        *_of_names(chain[0], names),
    ]


def read_chain(certificate_pem: bytes) -> list[x509.Certificate]:
    """At least one. Raises: CertificateError."""
    try:
        return x509.load_pem_x509_certificates(certificate_pem)
    except ValueError as error:
        raise CertificateError(
            "there is no certificate in the file, or a damaged one; it must be PEM, which begins with "
            f"-----BEGIN CERTIFICATE----- ({error})"
        ) from error


def read_key(key_pem: bytes) -> PrivateKeyTypes:
    """Raises: CertificateError."""
    try:
        return serialization.load_pem_private_key(key_pem, None)
    except TypeError as error:
        raise CertificateError(
            "the key is locked with a passphrase, which nobody could type when the machine starts; "
            "unlock it with: openssl pkey -in KEY -out UNLOCKED-KEY"
        ) from error
    except ValueError as error:
        raise CertificateError(
            "there is no private key in the file, or a damaged one; it must be PEM, which begins with "
            f"-----BEGIN PRIVATE KEY----- ({error})"
        ) from error


def _of_fit(chain: Sequence[x509.Certificate], key: PrivateKeyTypes) -> Iterator[str]:
    fitting = [place for place, each in enumerate(chain) if _raw(each) == _raw_of_key(key)]
    if not fitting:
        yield "the key belongs to another certificate; take the one that the certificate was asked for with"
    elif fitting[0] != 0:
        place = fitting[0] + 1
        yield f"the server's certificate is number {place} in the file; it must come first, its issuers behind it"


def _of_chain(chain: Sequence[x509.Certificate]) -> Iterator[str]:
    for one, issuer in itertools.pairwise(chain):
        try:
            one.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            who, other = one.subject.rfc4514_string(), issuer.subject.rfc4514_string()
            yield f"{other!r} did not issue {who!r}; each certificate must be followed by that of its issuer"


def _of_time(chain: Sequence[x509.Certificate], now: dt.datetime) -> Iterator[str]:
    clock = f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC"
    for each in chain:
        who = each.subject.rfc4514_string()
        if now > each.not_valid_after_utc:
            yield f"{who!r} ended on {each.not_valid_after_utc:%Y-%m-%d}; renew it ({clock})"
        elif now < each.not_valid_before_utc:
            yield f"{who!r} begins on {each.not_valid_before_utc:%Y-%m-%d}; wait, or set the clock right ({clock})"


def _of_strength(chain: Sequence[x509.Certificate]) -> Iterator[str]:
    leaf = chain[0]
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        yield f"its RSA key has {key.key_size} bits, {RSA_BITS_MIN} are the least that browsers take; ask for a new one"
    if isinstance(leaf.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        yield f"it is signed with {leaf.signature_hash_algorithm.name}, which browsers refuse; ask for a new one"
    try:
        uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(uses):
        yield "it is not made out for servers (extended key usage); ask for one that is"


def _of_names(leaf: x509.Certificate, names: Sequence[str]) -> Iterator[str]:
    known = names_of(leaf)
    if not known:
        yield "it names no host (subject alternative name), and browsers look nowhere else; ask for a new one"
        return
    for name in names:
        if not any(_covers(each, name.lower()) for each in known):
            yield f"it is not made out for {name}, but for {', '.join(known)}"


def _covers(pattern: str, name: str) -> bool:
    """Whether a name of a certificate stands for a host; a star stands for one label, the first (RFC 6125)."""
    if not pattern.startswith("*."):
        return pattern.lower() == name
    return name.partition(".")[2] == pattern[2:].lower() and bool(name.partition(".")[0])


def _raw(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(*_FORM)


def _raw_of_key(key: PrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(*_FORM)


_FORM = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
