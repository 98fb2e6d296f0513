"""The files of the appliance's own authority and of its server, below tls/ in the data folder.

Each file is replaced in one step and brought to the disk. The key of the server is made once and outlives its
certificates, so that no moment has a certificate beside a key that does not fit.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.certificates.authority import Authority, fingerprint, issue, new_authority
from appliance.certificates.errors import CertificateError
from appliance.certificates.faults import read_chain, read_key
from appliance.certificates.renewal import needs_renewal
from appliance.folders import sync_folder

FOLDER = "tls"
AUTHORITY_CERTIFICATE, AUTHORITY_KEY = "authority.pem", "authority.key"
SERVER_CERTIFICATE, SERVER_KEY = "certificate.pem", "key.pem"


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in the folder now."""

    certificate: Path
    key: Path
    authority_pem: bytes
    authority_fingerprint: str
    ends: dt.datetime
    renewed_because: str  # Empty, if the certificate was good as it was.
    has_new_authority: bool  # The devices of the team have to be told to trust it.


def keep_certificate(data_dir: Path, names: Sequence[str], now: dt.datetime) -> Kept:
    """Make what is missing, renew what needs it, leave alone what is good. Two at once wait for each other.

    Raises: CertificateError, if a file is damaged or cannot be written; nothing of the old is lost then.
    """
    folder = data_dir / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with _alone(folder):
            return _kept(folder, names, now)
    except OSError as error:
        raise CertificateError(
            f"the certificate cannot be kept in {folder}: {error.strerror}; free or unlock it"
        ) from error


def _kept(folder: Path, names: Sequence[str], now: dt.datetime) -> Kept:
    authority, is_new = _authority(folder, names, now)
    key = _server_key(folder)
    path = folder / SERVER_CERTIFICATE
    certificate, reason = _server_certificate(path), "there was none"
    if certificate is not None:
        reason = _why_not(certificate, key, authority) or needs_renewal(certificate, names, now)
    if certificate is None or reason:
        certificate = issue(authority, key.public_key(), names, now)
        _write(path, _pem(certificate) + _pem(authority.certificate), 0o644)
    return Kept(
        certificate=path,
        key=folder / SERVER_KEY,
        authority_pem=_pem(authority.certificate),
        authority_fingerprint=fingerprint(authority.certificate),
        ends=certificate.not_valid_after_utc,
        renewed_because=reason,
        has_new_authority=is_new,
    )


def _authority(folder: Path, names: Sequence[str], now: dt.datetime) -> tuple[Authority, bool]:
    """The one that is there, or a new one where there is none or its end is near."""
    certificate_path, key_path = folder / AUTHORITY_CERTIFICATE, folder / AUTHORITY_KEY
    # The key is written first: a certificate says that both are there.
    if certificate_path.exists():
        found = Authority(_one(certificate_path), _ec_key(key_path))
        if found.certificate.public_key() != found.key.public_key():
            raise CertificateError(f"{key_path} is not the key of {certificate_path}; restore both, or remove both")
        if not needs_renewal(found.certificate, (), now):
            return found, False
    made = new_authority(names[0], now)
    _write(key_path, _key_pem(made.key), 0o600)
    _write(certificate_path, _pem(made.certificate), 0o644)
    return made, True


def _server_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    path = folder / SERVER_KEY
    if path.exists():
        return _ec_key(path)
    key = ec.generate_private_key(ec.SECP256R1())
    _write(path, _key_pem(key), 0o600)
    return key


def _server_certificate(path: Path) -> x509.Certificate | None:
    """None too for a damaged one: it is made again, and nothing is lost by that."""
    try:
        return read_chain(path.read_bytes())[0]
    except (FileNotFoundError, CertificateError):
        return None


def _why_not(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, authority: Authority) -> str:
    if certificate.public_key() != key.public_key():
        return "it does not fit the key"
    if certificate.issuer != authority.certificate.subject:
        return "another authority issued it"
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return "another authority issued it"
    return ""


def _one(path: Path) -> x509.Certificate:
    try:
        return read_chain(path.read_bytes())[0]
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}") from error


def _ec_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        found = read_key(path.read_bytes())
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}; restore it from a backup, or remove it to have a new one") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{path} is not a key that Henge made; move it elsewhere, and name it by web.tls_key")
    return found


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # Held for the milliseconds that two signatures take.
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes, mode: int) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)  # Of one who was interrupted; nobody else writes here meanwhile.
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
