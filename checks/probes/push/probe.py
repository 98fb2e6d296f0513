"""The `push` probe: has the beat of a job come in time?

The web process records each call of the address in the document "beat" of the check; this probe reads it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from checks.model import Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.findings import Findings
from checks.probes.options import one_line
from checks.probes.push.options import PushOptions

BEAT = "beat"  # The kind of document; its id is the check's.
WORDS = {state.word: state for state in (State.OK, State.WARNING, State.CRITICAL, State.UNKNOWN)}


class PushProbe(Probe[PushOptions]):
    kind = "push"
    title = "Heartbeat"
    summary = "Waits for your job to call an address, and alarms when it does not"
    options_type = PushOptions

    def target(self, options: PushOptions) -> str:
        return ""

    async def run(self, options: PushOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        if context.state is None:
            findings.fault(State.UNKNOWN, "this process cannot read the beats")
            return findings.result()
        allowed_s = options.period_s + options.grace_s
        beat = context.state.get(BEAT, context.check_id) if context.check_id else None
        if beat is None:
            return self._without_beat(findings, context, allowed_s)
        at_ms = int(beat.body.get("at_ms", beat.updated_ms))
        age_s = _age_s(context, at_ms)
        findings.note(f"the last beat came at {_time(at_ms)}")
        findings.measure("age", round(age_s, 3), "s", warning=options.period_s, critical=allowed_s)
        said = one_line(str(beat.body.get("output", "")), characters_max=500)
        state = beat_state(beat.body.get("state", State.OK))
        text = f"the last beat came {duration(age_s)} ago" + (f": {said}" if said else "")
        if age_s > allowed_s:
            findings.fault(State.CRITICAL, f"the beat is missing: at most {duration(allowed_s)} may lie between two")
        elif state is not State.OK:
            findings.fault(state, f"the job reported {state.word}")
        elif age_s > options.period_s:
            text += f"; late, but within the {duration(options.grace_s)} of grace"
        return findings.result(text)

    def _without_beat(self, findings: Findings, context: ProbeContext, allowed_s: float) -> Result:
        """No beat yet is well for as long as one beat may take, counted from the making of the check."""
        assert context.state is not None
        check = context.state.get("check", context.check_id) if context.check_id else None
        if check is not None and _age_s(context, check.created_ms) > allowed_s:
            findings.fault(State.CRITICAL, f"no beat has ever come, and the first was due after {duration(allowed_s)}")
            return findings.result()
        return findings.result("waiting for the first beat")


def beat_state(said: Any) -> State:
    """What a beat says of its job: a word or a plugin's code; anything else is UNKNOWN."""
    if isinstance(said, str):
        return WORDS.get(said.lower(), State.UNKNOWN)
    return State(said) if isinstance(said, int) and said in WORDS.values() else State.UNKNOWN


def _age_s(context: ProbeContext, at_ms: int) -> float:
    """Seconds since a wall-clock time, counted on a clock that does not step from the second look on.

    A wall clock set forward by a day would otherwise make every beat late at once.
    """
    now_s = context.clock.monotonic_s()
    seen: tuple[int, float, float] | None = context.memory.get(context.check_id)
    if seen is None or seen[0] != at_ms:
        seen = (at_ms, now_s, max(0.0, (context.clock.now_ms() - at_ms) / 1000))
        if context.check_id:
            context.memory[context.check_id] = seen
    return seen[2] + (now_s - seen[1])


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """A time in the two largest units that it has: "1 h 5 min"."""
    left = round(seconds)
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
