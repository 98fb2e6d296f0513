"""The `ping` probe: echo requests, loss and round-trip time."""

from __future__ import annotations

import asyncio
import os

import icmplib

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.faults import NameFault
from checks.probes.findings import Findings
from checks.probes.options import one_line
from checks.probes.ping.options import PingOptions

PACKET_TIMEOUT_S_MAX = 2.0


class PingProbe(Probe[PingOptions]):
    kind = "ping"
    title = "Ping"
    summary = "Sends echo requests and measures loss and round-trip time"
    options_type = PingOptions

    def target(self, options: PingOptions) -> str:
        return options.host.strip("[]")

    async def run(self, options: PingOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        if context.resolver is None:
            findings.fault(State.UNKNOWN, "this process cannot send packets")
            return findings.result()
        text = ""
        try:
            async with asyncio.timeout(context.timeout_s):
                addresses = await context.resolver.addresses(options.host, ip_version=options.ip_version)
                address = next((found for found in addresses if ":" not in found), addresses[0])
                findings.note(f"{options.host} is {', '.join(addresses[:8])}; asking {address}")
                host = await _ping(options, address, findings)
            text = _judge(options, findings, host)
        except TimeoutError:
            findings.fault(State.CRITICAL, f"no end within {context.timeout_s:g} s")
        except NameFault as error:
            findings.fault(error.state, error.text)
        except icmplib.SocketPermissionError:
            findings.fault(
                State.UNKNOWN,
                f"this machine does not let us ping: put group {os.getegid()} into the sysctl "
                f"net.ipv4.ping_group_range, or give the program the capability CAP_NET_RAW",
            )
        except (icmplib.ICMPLibError, OSError) as error:
            findings.fault(State.UNKNOWN, f"this machine cannot ping: {one_line(str(error))}")
        return findings.result(text)


async def _ping(options: PingOptions, address: str, findings: Findings) -> icmplib.Host:
    """Raises: icmplib.ICMPLibError, when no socket can be had."""
    pauses_s = (options.count - 1) * options.interval_s
    # All packets lost must still end within the check's time: 10 % stay for the rest.
    packet_timeout_s = min(PACKET_TIMEOUT_S_MAX, max(0.05, (findings.left_s * 0.9 - pauses_s) / options.count))

    async def ping(*, privileged: bool) -> icmplib.Host:
        return await icmplib.async_ping(
            address,
            count=options.count,
            interval=options.interval_s,
            timeout=packet_timeout_s,
            privileged=privileged,
            payload_size=options.payload_bytes,
        )

    try:
        return await ping(privileged=False)
    except icmplib.SocketPermissionError:
        return await ping(privileged=True)  # The kernel's group range excludes us; root or a capability may do.


def _judge(options: PingOptions, findings: Findings, host: icmplib.Host) -> str:
    """Hold loss and time against the options; returns the line that describes them."""
    if host.packets_sent == 0:
        findings.fault(State.UNKNOWN, f"no packet to {host.address} could be sent: this machine has no route to it")
        return ""
    loss_percent = 100.0 * (1 - host.packets_received / host.packets_sent)
    findings.measure(
        "pl",
        round(loss_percent, 2),
        "%",
        warning=options.warning_loss_percent,
        critical=options.critical_loss_percent,
        maximum=100,
    )
    for state, limit in (
        (State.CRITICAL, options.critical_loss_percent),
        (State.WARNING, options.warning_loss_percent),
    ):
        if loss_percent >= limit and (loss_percent > 0 or limit == 0):
            findings.fault(state, f"{loss_percent:.0f}% of {host.packets_sent} packets lost, the limit is {limit:g}%")
            break
    if host.packets_received == 0:
        return ""
    for label, value in (("rta", host.avg_rtt), ("rtmax", host.max_rtt), ("rtmin", host.min_rtt)):
        limits = (options.warning_rtt_ms, options.critical_rtt_ms) if label == "rta" else (None, None)
        findings.measure(label, max(0.0, round(value, 3)), "ms", warning=limits[0], critical=limits[1])
    findings.limit(
        "round trip", host.avg_rtt, " ms", warning=options.warning_rtt_ms, critical=options.critical_rtt_ms, digits=1
    )
    return f"{host.address}: {loss_percent:.0f}% loss, round trip {host.avg_rtt:.2f} ms"
