"""The `tls` probe: days left, who signed it, whom it is for."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.connection import connected
from checks.probes.faults import NameFault, describe
from checks.probes.findings import Findings
from checks.probes.options import one_line
from checks.probes.resolver import Resolver
from checks.probes.tls.certificate import Certificate, read_certificate
from checks.probes.tls.options import TlsOptions
from checks.probes.trust import client_context

X509_V_ERR_CERT_HAS_EXPIRED = 10  # openssl/x509_vfy.h


class TlsProbe(Probe[TlsOptions]):
    kind = "tls"
    title = "TLS certificate"
    summary = "Looks at a certificate: days left, who signed it, whom it is for"
    options_type = TlsOptions

    def target(self, options: TlsOptions) -> str:
        return options.host.strip("[]")

    async def run(self, options: TlsOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        if context.resolver is None:
            findings.fault(State.UNKNOWN, "this process cannot open connections")
            return findings.result()
        text = ""
        try:
            async with asyncio.timeout(context.timeout_s):
                der, version, refusal = await _certificate(options, context.resolver, findings)
            text = _judge(options, findings, read_certificate(der), version, refusal, now_ms=context.clock.now_ms())
        except TimeoutError:
            findings.fault(State.CRITICAL, f"no TLS agreed within {context.timeout_s:g} s")
        except OSError as error:
            state, reason = describe(error)
            where = "" if isinstance(error, NameFault) else f"{options.host} port {options.port}: "
            findings.fault(state, where + reason)
        except ValueError as error:
            findings.fault(State.CRITICAL, f"the certificate cannot be read: {one_line(str(error))}")
        return findings.result(text)


async def _certificate(
    options: TlsOptions, resolver: Resolver, findings: Findings
) -> tuple[bytes, str, ssl.SSLCertVerificationError | None]:
    """The peer's certificate (DER), the version of TLS, and why the chain was refused, if it was.

    A refused handshake gives no certificate, so a second one without demands fetches it.
    """
    refusal = None
    if options.verify_chain:
        try:
            return (*await _shake_hands(options, resolver, findings, verify_chain=True), None)
        except ssl.SSLCertVerificationError as error:
            refusal = error
    return (*await _shake_hands(options, resolver, findings, verify_chain=False), refusal)


async def _shake_hands(
    options: TlsOptions, resolver: Resolver, findings: Findings, *, verify_chain: bool
) -> tuple[bytes, str]:
    tls = client_context(verify_chain=verify_chain, verify_name=False)
    async with connected(options.host, options.port, resolver, findings, tls=tls, server_name=options.server_name) as (
        _,
        writer,
    ):
        session: ssl.SSLObject = writer.get_extra_info("ssl_object")
        der = session.getpeercert(binary_form=True)
        if der is None:
            raise ValueError("the server sent none")
        return der, session.version() or "TLS"


def _judge(
    options: TlsOptions,
    findings: Findings,
    certificate: Certificate,
    version: str,
    refusal: ssl.SSLCertVerificationError | None,
    *,
    now_ms: int,
) -> str:
    """Hold the certificate against the options; returns the line that describes it."""
    days = certificate.days_left(now_ms)
    until = datetime.fromtimestamp(certificate.until_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    findings.note(f"certificate {certificate.serial} for {', '.join(certificate.names[:8]) or 'no name'}")
    findings.measure(
        "days",
        round(days, 2),
        "d",
        warning=f"{options.warning_days:g}:",
        critical=f"{options.critical_days:g}:",
        minimum=None,
    )
    findings.measure("time", round(findings.elapsed_s, 6), "s")
    if refusal is not None and not (days <= 0 and refusal.verify_code == X509_V_ERR_CERT_HAS_EXPIRED):
        findings.fault(*describe(refusal))
    name = options.server_name or options.host.strip("[]")
    if options.verify_name and not certificate.is_for(name):
        names = ", ".join(certificate.names[:5]) or "no name at all"
        findings.fault(State.CRITICAL, f"the certificate is for {one_line(names)}, not for {name}")
    if certificate.from_ms > now_ms:
        findings.fault(State.CRITICAL, "the certificate is not valid yet")
    if days <= 0:
        findings.fault(State.CRITICAL, f"the certificate expired {-days:.1f} days ago, at {until}")
    elif days < options.critical_days:
        findings.fault(State.CRITICAL, f"{days:.1f} days left, under {options.critical_days:g}")
    elif days < options.warning_days:
        findings.fault(State.WARNING, f"{days:.1f} days left, under {options.warning_days:g}")
    return one_line(
        f"certificate of {certificate.subject}: valid until {until} ({days:.0f} days), "
        f"signed by {certificate.issuer}, {version}"
    )
