"""The `tcp` probe: connect to a port, perhaps say something and wait for an answer."""

from __future__ import annotations

import asyncio

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.connection import READ_BYTES_MAX, Stream, connected
from checks.probes.faults import NameFault, describe
from checks.probes.findings import Findings
from checks.probes.options import one_line
from checks.probes.tcp.options import TcpOptions, unescape
from checks.probes.trust import client_context


class TcpProbe(Probe[TcpOptions]):
    kind = "tcp"
    title = "TCP port"
    summary = "Connects to a port, and may say something and wait for an answer"
    options_type = TcpOptions

    def target(self, options: TcpOptions) -> str:
        return options.host.strip("[]")

    async def run(self, options: TcpOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        if context.resolver is None:
            findings.fault(State.UNKNOWN, "this process cannot open connections")
            return findings.result()
        tls = client_context(verify_chain=options.verify_tls) if options.tls else None
        received = bytearray()
        text, phase = "", "connecting"
        try:
            async with (
                asyncio.timeout(context.timeout_s),
                connected(
                    options.host, options.port, context.resolver, findings, tls=tls, server_name=options.server_name
                ) as stream,
            ):
                phase = f"waiting for {_shown(options.expect.encode())}"
                await _talk(options, stream, received)
            seconds = findings.elapsed_s
            if options.expect and unescape(options.expect) not in received:
                findings.fault(State.CRITICAL, f"{_shown(options.expect.encode())} did not come; {_came(received)}")
            findings.took(seconds, warning_s=options.warning_s, critical_s=options.critical_s)
            text = f"{options.host} port {options.port} answered in {seconds:.3f} s"
            if received and findings.state is State.OK:
                text += f": {_shown(received)}"
        except TimeoutError:
            came = f"; {_came(received)}" if phase != "connecting" else ""
            findings.fault(State.CRITICAL, f"no answer within {context.timeout_s:g} s, {phase}{came}")
        except OSError as error:
            state, reason = describe(error)
            where = "" if isinstance(error, NameFault) else f"{options.host} port {options.port}: "
            findings.fault(state, where + reason)
        return findings.result(text)


async def _talk(options: TcpOptions, stream: Stream, received: bytearray) -> None:
    """Send, and read until what is expected has come, the other side closes, or enough was read."""
    reader, writer = stream
    if options.send:
        writer.write(unescape(options.send))
        await writer.drain()
    expected = unescape(options.expect)
    while expected and expected not in received and len(received) < READ_BYTES_MAX:
        chunk = await reader.read(4096)
        if not chunk:
            return
        received += chunk


def _shown(content: bytes | bytearray) -> str:
    return repr(one_line(bytes(content[:200]).decode("utf-8", "replace"), characters_max=80))


def _came(received: bytearray) -> str:
    return f"received {len(received):,} bytes: {_shown(received)}" if received else "received nothing"
