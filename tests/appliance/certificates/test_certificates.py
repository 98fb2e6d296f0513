"""What the appliance makes is taken by OpenSSL, and what cannot be used is named."""

from __future__ import annotations

import datetime as dt
import ssl
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from appliance.certificates import is_own
from appliance.certificates.authority import issue, names_of, new_authority
from appliance.certificates.errors import CertificateError
from appliance.certificates.faults import faults
from appliance.certificates.folder import keep_certificate
from appliance.certificates.names import machine_names, ordered
from appliance.certificates.renewal import needs_renewal

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
TODAY = dt.datetime.now(dt.UTC)  # OpenSSL looks at the clock of the machine.
DAY = dt.timedelta(days=1)
NAMES = ("henge.example", "henge.local", "192.0.2.7", "2001:db8::7")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """In memory. Raises: ssl.SSLError, as a browser would refuse."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [one.do_handshake, other.do_handshake]
    for _ in range(10):
        for each in tuple(waiting):
            try:
                each()
                waiting.remove(each)
            except ssl.SSLWantReadError:
                continue
    assert not waiting


@pytest.mark.parametrize("name", [*NAMES, "HENGE.example"])
def test_who_trusts_the_authority_trusts_the_server_by_each_of_its_names(tmp_path: Path, name: str) -> None:
    kept = keep_certificate(tmp_path, NAMES, TODAY)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(kept.certificate, kept.key)
    handshake(server, ssl.create_default_context(cadata=kept.authority_pem.decode()), name)


@pytest.mark.parametrize("name", ["other.example", "192.0.2.8", "example"])
def test_for_other_names_it_is_refused(tmp_path: Path, name: str) -> None:
    kept = keep_certificate(tmp_path, NAMES, TODAY)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(kept.certificate, kept.key)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(server, ssl.create_default_context(cadata=kept.authority_pem.decode()), name)


def test_openssl_verifies_the_chain_strictly_and_agrees_on_the_fingerprint(tmp_path: Path) -> None:
    kept = keep_certificate(tmp_path, NAMES, TODAY)
    authority = tmp_path / "tls" / "authority.pem"
    words = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(authority)]
    assert "OK" in subprocess.run([*words, str(kept.certificate)], check=True, capture_output=True, text=True).stdout
    asked = ["openssl", "x509", "-in", str(authority), "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    assert said.strip().partition("=")[2] == kept.authority_fingerprint


def test_the_authority_vouches_for_no_other_authority() -> None:
    authority = new_authority("henge", NOW)
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    keep_certificate(tmp_path, NAMES, NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()}
    assert modes == {"authority.pem": 0o644, "authority.key": 0o600, "certificate.pem": 0o644, "key.pem": 0o600}
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "tls").iterdir()}


def test_what_is_good_is_left_alone(tmp_path: Path) -> None:
    first = keep_certificate(tmp_path, NAMES, NOW)
    before = contents(tmp_path)
    again = keep_certificate(tmp_path, NAMES[1:], NOW + 300 * DAY)
    assert (first.renewed_because, first.has_new_authority) == ("there was none", True)
    assert (again.renewed_because, again.has_new_authority) == ("", False)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("names", "later", "reason"),
    [
        (NAMES, 366 * DAY, ""),
        (NAMES, 367 * DAY, "it ends on 2027-04-02"),
        (NAMES, 500 * DAY, "it ends on 2027-04-02"),
        (NAMES, -DAY, ""),
        (NAMES, -2 * DAY, "it begins on 2026-02-28, and the clock of this machine says 2026-02-27"),
        ((*NAMES, "192.0.2.8"), DAY, "it is not made out for 192.0.2.8"),
        (("2001:0db8:0::7", "HENGE.example"), DAY, ""),
    ],
)
def test_when_it_is_renewed(names: tuple[str, ...], later: dt.timedelta, reason: str) -> None:
    authority = new_authority("henge", NOW)
    certificate = issue(authority, authority.key.public_key(), NAMES, NOW)
    assert needs_renewal(certificate, names, NOW + later) == reason


def test_a_renewal_keeps_the_authority_and_the_key(tmp_path: Path) -> None:
    keep_certificate(tmp_path, NAMES, NOW)
    before = contents(tmp_path)
    renewed = keep_certificate(tmp_path, (*NAMES, "192.0.2.8"), NOW + DAY)
    after = contents(tmp_path)
    assert renewed.renewed_because == "it is not made out for 192.0.2.8"
    assert {name for name in before if before[name] != after[name]} == {"certificate.pem"}


def test_an_authority_near_its_end_is_replaced_and_that_is_said(tmp_path: Path) -> None:
    keep_certificate(tmp_path, NAMES, NOW)
    assert not keep_certificate(tmp_path, NAMES, NOW + 3500 * DAY).has_new_authority
    last = keep_certificate(tmp_path, NAMES, NOW + 3630 * DAY)
    assert (last.has_new_authority, last.renewed_because) == (True, "another authority issued it")
    assert faults(last.certificate.read_bytes(), last.key.read_bytes(), NAMES, NOW + 3640 * DAY) == []


def test_no_certificate_outlives_its_authority() -> None:
    authority = new_authority("henge", NOW)
    late = issue(authority, authority.key.public_key(), NAMES, NOW + 3600 * DAY)
    assert late.not_valid_after_utc == authority.certificate.not_valid_after_utc


@pytest.mark.parametrize("lost", ["certificate.pem", "key.pem"])
def test_a_lost_file_of_the_server_is_made_again(tmp_path: Path, lost: str) -> None:
    first = keep_certificate(tmp_path, NAMES, NOW)
    (tmp_path / "tls" / lost).unlink()
    again = keep_certificate(tmp_path, NAMES, NOW)
    assert again.authority_fingerprint == first.authority_fingerprint
    assert faults(again.certificate.read_bytes(), again.key.read_bytes(), NAMES, NOW) == []


def test_a_certificate_cut_short_is_made_again(tmp_path: Path) -> None:
    kept = keep_certificate(tmp_path, NAMES, NOW)
    kept.certificate.write_bytes(kept.certificate.read_bytes()[:100])
    assert keep_certificate(tmp_path, NAMES, NOW).renewed_because == "there was none"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("authority.key", b"", "no private key"),
        ("authority.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"),
        ("key.pem", b"nonsense", "no private key"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_replaced(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    keep_certificate(tmp_path, NAMES, NOW)
    (tmp_path / "tls" / name).write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(CertificateError, match=words) as refused:
        keep_certificate(tmp_path, (*NAMES, "more.example"), NOW)
    assert name in str(refused.value)
    assert contents(tmp_path) == before


def test_the_key_of_another_authority_is_noticed(tmp_path: Path) -> None:
    keep_certificate(tmp_path, NAMES, NOW)
    other = tmp_path / "other"
    other.mkdir()
    keep_certificate(other, NAMES, NOW)
    (tmp_path / "tls" / "authority.key").write_bytes((other / "tls" / "authority.key").read_bytes())
    with pytest.raises(CertificateError, match="is not the key of"):
        keep_certificate(tmp_path, NAMES, NOW)


def test_whose_it_is(tmp_path: Path) -> None:
    assert is_own(keep_certificate(tmp_path, NAMES, NOW).certificate.read_bytes())
    team = trustme.CA(organization_name="Team").issue_cert("henge.example")
    assert not is_own(team.cert_chain_pems[0].bytes())


def given(ca: trustme.CA, *names: str) -> tuple[bytes, bytes]:
    made = ca.issue_cert(*names, not_after=NOW.replace(tzinfo=None) + 90 * DAY)
    return b"".join(each.bytes() for each in made.cert_chain_pems), made.private_key_pem.bytes()


@pytest.fixture(scope="module")
def team() -> trustme.CA:
    return trustme.CA()


def locked(key_pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(key_pem, None)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret"))


SPOILED: list[tuple[str, Callable[[bytes, bytes, bytes, bytes], tuple[bytes, bytes]], str]] = [
    ("no certificate", lambda c, k, oc, ok: (b"", k), "no certificate in the file"),
    ("the key twice", lambda c, k, oc, ok: (k, k), "no certificate in the file"),
    ("no key", lambda c, k, oc, ok: (c, b""), "no private key in the file"),
    ("the certificate twice", lambda c, k, oc, ok: (c, c), "no private key in the file"),
    ("a key cut short", lambda c, k, oc, ok: (c, k[:60]), "no private key in the file"),
    ("a locked key", lambda c, k, oc, ok: (c, locked(k)), "openssl pkey"),
    ("the key of another", lambda c, k, oc, ok: (c, ok), "belongs to another certificate"),
    ("the wrong order", lambda c, k, oc, ok: (oc + c, k), "number 2 in the file"),
    ("a stranger as issuer", lambda c, k, oc, ok: (c + oc, k), "did not issue"),
]


@pytest.mark.parametrize(("spoil", "words"), [row[1:] for row in SPOILED], ids=[row[0] for row in SPOILED])
def test_what_cannot_be_used_is_named(
    team: trustme.CA, spoil: Callable[[bytes, bytes, bytes, bytes], tuple[bytes, bytes]], words: str
) -> None:
    found = faults(*spoil(*given(team, "henge.example"), *given(team, "other.example")), ("henge.example",), TODAY)
    assert any(words in fault for fault in found), found


@pytest.mark.parametrize(
    ("made_for", "asked", "words"),
    [
        (("henge.example",), ("henge.example", "HENGE.example"), ""),
        (("*.example",), ("henge.example",), ""),
        (("*.example",), ("a.henge.example",), "not made out for a.henge.example, but for *.example"),
        (("*.example",), ("example",), "not made out for example"),
        (("192.0.2.7",), ("192.0.2.7",), ""),
        (("192.0.2.7",), ("192.0.2.8",), "not made out for 192.0.2.8"),
    ],
)
def test_names_of_a_brought_one(
    team: trustme.CA, made_for: tuple[str, ...], asked: tuple[str, ...], words: str
) -> None:
    found = [fault for fault in faults(*given(team, *made_for), asked, TODAY) if "ended" not in fault]
    assert (words in "".join(found)) if words else found == []


def test_one_out_of_date_is_named_with_the_clock(team: trustme.CA) -> None:
    certificate, key = given(team, "henge.example")
    late, early = (faults(certificate, key, (), when) for when in (TODAY + 90_000 * DAY, NOW - 90_000 * DAY))
    assert any("ended on" in fault and "the clock of this machine says" in fault for fault in late)
    assert any("begins on" in fault for fault in early)


def test_names_of_this_machine_can_be_put_into_a_certificate() -> None:
    names = machine_names(("[2001:DB8::7]", "Henge.Example"))
    assert names[:2] == ("2001:db8::7", "henge.example")
    assert {"localhost", "127.0.0.1"} <= set(names)
    authority = new_authority(names[0], NOW)
    assert needs_renewal(issue(authority, authority.key.public_key(), names, NOW), names, NOW) == ""


@pytest.mark.parametrize(
    ("hostname", "addresses", "expected"),
    [
        ("box", ["127.0.0.1"], ("box", "box.local", "localhost", "127.0.0.1")),
        ("box.lan", ["::1", "10.0.0.2"], ("box.lan", "box", "box.local", "localhost", "10.0.0.2", "::1")),
        ("Büro", [], ("büro", "büro.local", "localhost")),
        ("a b", ["fe80::1%eth0", "fe80::1", "169.254.1.1"], ("localhost",)),
    ],
)
def test_names_in_order(hostname: str, addresses: list[str], expected: tuple[str, ...]) -> None:
    assert ordered((), hostname, addresses) == expected


def test_names_are_bounded() -> None:
    assert len(ordered((), "box", [f"10.0.{n // 256}.{n % 256}" for n in range(1000)])) == 100


@pytest.mark.parametrize("name", ["", "a b", "http://box", "box:443", "-", "a..b", "x" * 64 + ".example"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(CertificateError, match="neither a host name nor an address"):
        ordered((name,), "box", [])


def test_names_are_written_as_certificates_have_them() -> None:
    authority = new_authority("henge", NOW)
    assert names_of(issue(authority, authority.key.public_key(), ("Büro.example", "::1"), NOW)) == [
        "xn--bro-hoa.example",
        "::1",
    ]
