"""The `dns` probe: ask a name server, compare the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.txtbase
import dns.resolver
import dns.reversename

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.dns.options import DnsOptions
from checks.probes.faults import NameFault, describe
from checks.probes.findings import Findings
from checks.probes.options import one_line
from checks.probes.resolver import Resolver

UDP_TRIES_COUNT = 3  # A datagram may be lost; each try gets an equal share of the time.


class DnsProbe(Probe[DnsOptions]):
    kind = "dns"
    title = "DNS"
    summary = "Asks a name server and compares what it answers"
    options_type = DnsOptions

    def target(self, options: DnsOptions) -> str:
        return options.server or options.name.rstrip(".")

    async def run(self, options: DnsOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        if context.resolver is None:
            findings.fault(State.UNKNOWN, "this process cannot ask name servers")
            return findings.result()
        text = ""
        # A server that the check names is the target; the machine's own says nothing about the name when it is silent.
        silence = State.CRITICAL if options.server else State.UNKNOWN
        try:
            question = _question(options)
            async with asyncio.timeout(context.timeout_s):
                servers = await _servers(options, context.resolver)
                answer = await _ask(options, question, servers, findings)
            text = _judge(options, findings, answer, servers[0])
        except (TimeoutError, dns.exception.Timeout):
            named = options.server or "this machine's name servers"
            findings.fault(silence, f"no answer from {named} within {context.timeout_s:g} s")
        except NameFault as error:
            findings.fault(error.state, error.text)
        except OSError as error:
            state, reason = describe(error)
            named = options.server or "this machine's name servers"
            findings.fault(silence if state is State.CRITICAL else state, f"{named}: {reason}")
        except (dns.exception.DNSException, ValueError) as error:
            findings.fault(State.CRITICAL, f"the answer cannot be read: {one_line(str(error) or type(error).__name__)}")
        return findings.result(text)


def _question(options: DnsOptions) -> dns.message.QueryMessage:
    """Raises: dns.exception.DNSException, if the name is none."""
    if options.record_type == "PTR" and not options.name.rstrip(".").endswith(".arpa"):
        name = dns.reversename.from_address(options.name)
    else:
        name = dns.name.from_text(options.name)
    return dns.message.make_query(name, options.record_type, use_edns=0)


async def _servers(options: DnsOptions, resolver: Resolver) -> list[str]:
    """Addresses to ask in turn. Raises: NameFault."""
    if options.server:
        return (await resolver.addresses(options.server))[:1]
    try:
        servers = [str(server) for server in dns.resolver.Resolver().nameservers]
    except dns.resolver.NoResolverConfiguration:
        servers = []
    if not servers:
        raise NameFault(State.UNKNOWN, "this machine has no name server configured; name one in the option server")
    return servers[:3]


async def _ask(
    options: DnsOptions, question: dns.message.QueryMessage, servers: Sequence[str], findings: Findings
) -> dns.message.Message:
    """Raises: dns.exception.Timeout, OSError."""
    tries = [server for _ in range(UDP_TRIES_COUNT if options.transport == "udp" else 1) for server in servers]
    for index, server in enumerate(tries):
        left_s = findings.left_s / (len(tries) - index)
        try:
            if options.transport == "tcp":
                answer = await dns.asyncquery.tcp(question, server, timeout=left_s, port=options.port)
            else:
                answer, _ = await dns.asyncquery.udp_with_fallback(
                    question, server, timeout=left_s, port=options.port, ignore_unexpected=True, ignore_errors=True
                )
        except (dns.exception.Timeout, OSError) as error:
            findings.note(f"{server} port {options.port}: {_silence(error, left_s)}")
            if index == len(tries) - 1:
                raise
        else:
            findings.note(f"{server} answered {dns.rcode.to_text(answer.rcode())}")
            return answer
    raise AssertionError("there is at least one try")


def _silence(error: Exception, waited_s: float) -> str:
    return describe(error)[1] if isinstance(error, OSError) else f"no answer in {waited_s:.1f} s"


def _judge(options: DnsOptions, findings: Findings, answer: dns.message.Message, server: str) -> str:
    """Hold the answer against the options; returns the line that describes it."""
    seconds = findings.elapsed_s
    findings.took(seconds, warning_s=options.warning_s, critical_s=options.critical_s)
    rcode = dns.rcode.to_text(answer.rcode())
    what = f"{options.name} {options.record_type}"
    if rcode != options.rcode:
        findings.fault(State.CRITICAL, f"{what}: {server} answered {rcode}, expected {options.rcode}")
        return ""
    values = _values(answer, options.record_type)
    findings.measure("records", len(values))
    if options.rcode != "NOERROR":
        return f"{what} is {rcode}, as expected, in {seconds:.3f} s"
    if not values:
        findings.fault(State.CRITICAL, f"{what}: there is no such record")
        return ""
    missing = [value for value in options.expected if _plain(value) not in values]
    extra = sorted(set(values) - {_plain(value) for value in options.expected})
    shown = one_line(", ".join(values), characters_max=120)
    if options.expected and options.match == "any" and len(missing) == len(options.expected):
        findings.fault(State.CRITICAL, f"{what} is {shown}; expected one of {', '.join(options.expected)}")
    elif options.match != "any" and missing:
        findings.fault(State.CRITICAL, f"{what} lacks {', '.join(missing)}; it is {shown}")
    elif options.expected and options.match == "exact" and extra:
        findings.fault(State.CRITICAL, f"{what} has also {', '.join(extra)}, which is not expected")
    return f"{what} is {shown}, in {seconds:.3f} s"


def _values(answer: dns.message.Message, record_type: str) -> list[str]:
    """The values of the records of a type, as a person writes them, sorted."""
    wanted = dns.rdatatype.from_text(record_type)
    found = set()
    for rrset in answer.answer:
        if rrset.rdtype != wanted:
            continue
        for rdata in rrset:
            if isinstance(rdata, dns.rdtypes.txtbase.TXTBase):
                found.add(_plain(b"".join(rdata.strings).decode("utf-8", "replace")))
            else:
                found.add(_plain(rdata.to_text()))
    return sorted(found)


def _plain(value: str) -> str:
    """One writing for values that mean the same: names in any case, with or without the last dot, quoted or not."""
    return value.strip().strip('"').rstrip(".").lower()
