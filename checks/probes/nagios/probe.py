"""The `nagios` probe: any external check_* program, run by the spawner."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from msgspec.structs import replace

from appliance.bus import BusError, BusRefused
from checks.model import PERFDATA_COUNT_MAX, Result, State
from checks.nagios.output import parse_output, state_of_exit
from checks.nagios.plugin import PluginOutcome, PluginRun
from checks.probes import Probe, ProbeContext
from checks.probes.findings import Findings, cut
from checks.probes.nagios.options import NagiosOptions
from checks.probes.options import one_line

TIMEOUT_STATES = {"critical": State.CRITICAL, "warning": State.WARNING, "unknown": State.UNKNOWN}
LONG_LINE_COUNT_MAX = 100
PLUGIN_FOLDERS = (  # Where packages put plugins: Debian, Fedora, the project's own default, SUSE; then programs.
    "/usr/lib/nagios/plugins",
    "/usr/lib64/nagios/plugins",
    "/usr/local/nagios/libexec",
    "/usr/lib/monitoring-plugins",
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
)


class NagiosProbe(Probe[NagiosOptions]):
    kind = "nagios"
    title = "Nagios plugin"
    summary = "Runs any check_* program and reads its exit code and performance data"
    options_type = NagiosOptions

    def target(self, options: NagiosOptions) -> str:
        return options.host.strip("[]")

    async def run(self, options: NagiosOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        if context.plugins is None:
            findings.fault(State.UNKNOWN, "this process cannot run programs")
            return findings.result()
        program, *arguments = options.words()
        path = located(program)
        if path is None:
            findings.fault(State.UNKNOWN, f"{program} is in none of the folders {', '.join(PLUGIN_FOLDERS)}")
            return findings.result()
        findings.note(f"running {path}")
        run = PluginRun(argv=[path, *arguments], env=options.env, cwd=options.cwd, timeout_s=context.timeout_s)
        try:
            outcome = await context.plugins.run(run)
        except BusRefused as error:
            findings.fault(State.UNKNOWN, f"the program was not run: {one_line(error.message)}")
            return findings.result()
        except BusError as error:
            findings.fault(State.UNKNOWN, f"the program was not run: {one_line(str(error))}")
            return findings.result()
        return result_of(options, outcome, findings)


def located(program: str, folders: Sequence[str] = PLUGIN_FOLDERS) -> str | None:
    """The full path of a program that is named alone; None, if it is nowhere."""
    if program.startswith("/"):
        return program
    return next((path for folder in folders if os.access(path := f"{folder}/{program}", os.X_OK)), None)


def result_of(options: NagiosOptions, outcome: PluginOutcome, findings: Findings) -> Result:
    """What the end of a plugin means."""
    found = parse_output(outcome.stdout)
    stderr = one_line(outcome.stderr)
    text = found.text or (f"(no output; on stderr: {stderr})" if stderr else "(no output)")
    if outcome.refusal:
        findings.fault(State.UNKNOWN, outcome.refusal)
        text = ""
    elif outcome.timed_out:
        _judge_time_out(options, outcome, findings)
        text = f"it had printed: {found.text}" if found.text else ""
    elif outcome.flooded:
        findings.fault(State.UNKNOWN, "the program wrote without end and was ended")
    elif outcome.signal is not None:
        findings.fault(State.UNKNOWN, f"the program was ended by {signal_name(outcome.signal)}")
    else:
        assert outcome.exit_status is not None
        state, complaint = state_of_exit(outcome.exit_status)
        if complaint:
            findings.fault(state, complaint)
        else:
            findings.settle(state)
        findings.note(f"exit code {outcome.exit_status} after {outcome.duration_s:.3f} s")
    for line in found.long_text[:LONG_LINE_COUNT_MAX]:
        findings.note_plain(line)
    if stderr:
        findings.note_plain(f"stderr: {stderr}")
    if outcome.truncated:
        findings.note("the output was cut")
    return replace(findings.result(cut(text)), perfdata=found.perfdata[:PERFDATA_COUNT_MAX])


def _judge_time_out(options: NagiosOptions, outcome: PluginOutcome, findings: Findings) -> None:
    after = f"the program did not end within {outcome.duration_s:.1f} s and was ended with all that it had started"
    if outcome.waited_s > outcome.duration_s / 10:
        # Our own queue took part of its time: that is no word about the target.
        findings.fault(State.UNKNOWN, f"{after}; it had waited {outcome.waited_s:.1f} s for its turn")
    else:
        findings.fault(TIMEOUT_STATES[options.timeout_state], after)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
