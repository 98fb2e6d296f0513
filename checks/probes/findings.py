"""What one run finds, gathered step by step, and made a Result at the end."""

from __future__ import annotations

from checks.model import (
    INSTANCE_COUNT_MAX,
    OUTPUT_BYTES_MAX,
    PERFDATA_COUNT_MAX,
    SEVERITY,
    Instance,
    Metric,
    Perfdata,
    Result,
    State,
)
from checks.probes import ProbeContext

TRANSCRIPT_COUNT_MAX = 100
LINE_BYTES_MAX = 500  # 100 lines of it are 50 kB at most, in the one stored result of a check.


class Findings:
    """The state is the worst that was found; the output names the worst first, in the order of finding."""

    def __init__(self, context: ProbeContext) -> None:
        self._clock = context.clock
        self._at_ms = context.clock.now_ms()
        self._started_s = context.clock.monotonic_s()
        self._timeout_s = context.timeout_s
        self._settled = State.OK
        self._faults: list[tuple[State, str]] = []
        self._perfdata: list[Perfdata] = []
        self._transcript: list[str] = []

    @property
    def state(self) -> State:
        return max((self._settled, *(state for state, _ in self._faults)), key=SEVERITY.__getitem__)

    @property
    def at_ms(self) -> int:
        return self._at_ms

    @property
    def elapsed_s(self) -> float:
        return max(0.0, self._clock.monotonic_s() - self._started_s)

    @property
    def left_s(self) -> float:
        """What is left of the check's time; never below a millisecond, so that it can be a time-out."""
        return max(0.001, self._timeout_s - self.elapsed_s)

    def note(self, line: str) -> None:
        """Keep a line of evidence for the transcript, with the time since the start."""
        if len(self._transcript) < TRANSCRIPT_COUNT_MAX:
            self._transcript.append(f"{self.elapsed_s * 1000:8.1f} ms  {line}")

    def note_plain(self, line: str) -> None:
        """Keep a line that somebody else wrote, as it is."""
        if len(self._transcript) < TRANSCRIPT_COUNT_MAX:
            self._transcript.append(cut(line, LINE_BYTES_MAX))

    def settle(self, state: State) -> None:
        """The state is known from elsewhere and needs no words of ours."""
        self._settled = state

    def fault(self, state: State, text: str) -> None:
        """Something is not as it should be."""
        self._faults.append((state, text))
        self.note(f"{state.name}: {text}")

    def measure(
        self,
        label: str,
        value: float,
        unit: str = "",
        *,
        warning: float | str | None = None,
        critical: float | str | None = None,
        minimum: float | None = 0,
        maximum: float | None = None,
    ) -> None:
        """Keep a number as performance data; the limits are those it was held against, as numbers or ranges."""
        self._perfdata.append(
            Perfdata(
                label=label,
                value=value,
                unit=unit,
                warning=_range_text(warning),
                critical=_range_text(critical),
                minimum=minimum,
                maximum=maximum,
            )
        )

    def limit(
        self, what: str, value: float, unit: str, *, warning: float | None, critical: float | None, digits: int = 3
    ) -> None:
        """A fault when the value is above a limit."""
        for state, limit in ((State.CRITICAL, critical), (State.WARNING, warning)):
            if limit is not None and value > limit:
                self.fault(state, f"{what} {value:.{digits}f}{unit} is over {limit:g}{unit}")
                return

    def took(self, seconds: float, *, warning_s: float | None, critical_s: float | None) -> None:
        """Keep a run's latency, and hold it against its limits."""
        self.measure("time", round(seconds, 6), "s", warning=warning_s, critical=critical_s, maximum=self._timeout_s)
        self.limit("took", seconds, " s", warning=warning_s, critical=critical_s)

    def result(
        self, text: str = "", *, metrics: tuple[Metric, ...] = (), instances: tuple[Instance, ...] = ()
    ) -> Result:
        """The end of the run. text: what is said when all is well, and after the faults otherwise."""
        assert len(instances) <= INSTANCE_COUNT_MAX, len(instances)
        faults = sorted(self._faults, key=lambda fault: -SEVERITY[fault[0]])
        parts = [fault for _, fault in faults]
        if text:
            parts.append(text)
        return Result(
            state=self.state,
            output=cut("; ".join(parts)),
            duration_s=self.elapsed_s,
            at_ms=self._at_ms,
            perfdata=tuple(self._perfdata[:PERFDATA_COUNT_MAX]),
            metrics=metrics,
            instances=instances,
            transcript=tuple(self._transcript),
        )


def _range_text(limit: float | str | None) -> str:
    """A limit as a range of the plugin guidelines; a number alone means "not above"."""
    if limit is None or isinstance(limit, str):
        return limit or ""
    return f"{limit:.12g}"


def cut(text: str, bytes_max: int = OUTPUT_BYTES_MAX) -> str:
    """The text, of at most so many bytes of UTF-8, with a mark where it was cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - 4].decode("utf-8", "ignore") + "…"
