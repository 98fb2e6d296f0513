"""What real plugins printed, taken apart; every case of the oracle."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from appliance.clock import SystemClock
from checks.model import State
from checks.nagios.output import parse_output, state_of_exit
from checks.nagios.plugin import PluginOutcome
from checks.probes import ProbeContext
from checks.probes.findings import Findings
from checks.probes.nagios.options import NagiosOptions
from checks.probes.nagios.probe import result_of
from tests.shared import shared


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shared("conformance/nagios/outputs.json").read_text())["cases"]
    assert len(found) > 100
    return found


def test_every_real_output_gives_its_state_and_first_line() -> None:
    for case in cases():
        code = case["exit"]
        outcome = PluginOutcome(
            exit_status=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stdout=case["stdout"],
            stderr=case["stderr"],
        )
        result = result_of(NagiosOptions(command="/x"), outcome, Findings(ProbeContext(clock=SystemClock())))
        assert result.state == (State(code) if 0 <= code <= 3 else State.UNKNOWN), case["command"]
        first = case["stdout"].split("\n")[0].partition("|")[0].strip()
        assert first in result.output, case["command"]
        assert "\n" not in result.output, case["command"]
        assert result.output


def test_every_real_item_of_performance_data_is_found() -> None:
    """Method: count the items on single-line outputs by a dumb pattern."""
    for case in cases():
        lines = case["stdout"].strip("\n").split("\n")
        if (
            len(lines) > 1
            or "|" not in lines[0]
            or "corner" in case.get("note", "")
            or "quoted" in case.get("note", "")
        ):
            continue
        data = lines[0].partition("|")[2]
        found = parse_output(case["stdout"]).perfdata
        assert len(found) == len(re.findall(r"=-?[\d.]+", data)), case["command"]
        for item in found:
            assert re.search(rf"{re.escape(item.label)}'?=", data), case["command"]


def test_perfdata_of_the_first_line_and_after_the_long_text() -> None:
    output = parse_output("line one|a=1\nline two\nline three | b=2;3;4;0;10 c=5\nd=6")
    assert output.text == "line one"
    assert output.long_text == ("line two", "line three")
    assert [(item.label, item.value) for item in output.perfdata] == [("a", 1), ("b", 2), ("c", 5), ("d", 6)]


@pytest.mark.parametrize(
    ("code", "state", "text"),
    [
        (0, State.OK, ""),
        (3, State.UNKNOWN, ""),
        (42, State.UNKNOWN, "exit code 42 is none of 0, 1, 2, 3"),
        (126, State.UNKNOWN, "exit code 126 is none of 0, 1, 2, 3, a program that cannot be executed"),
        (127, State.UNKNOWN, "exit code 127 is none of 0, 1, 2, 3, a program that is missing"),
        (255, State.UNKNOWN, "exit code 255 is none of 0, 1, 2, 3"),
    ],
)
def test_exit_codes(code: int, state: State, text: str) -> None:
    assert state_of_exit(code) == (state, text)


ENDED = "the program did not end within {:.1f} s and was ended with all that it had started"
OUTCOMES = {  # how it ended: (outcome, state, output)
    "nothing printed": (PluginOutcome(exit_status=0), State.OK, "(no output)"),
    "only on stderr": (
        PluginOutcome(exit_status=2, stderr="boom\nbang\n"), State.CRITICAL, "(no output; on stderr: boom bang)",
    ),
    "missing": (PluginOutcome(refusal="/x does not exist"), State.UNKNOWN, "/x does not exist"),
    "killed": (
        PluginOutcome(signal=11, stdout="hm"), State.UNKNOWN, "the program was ended by SIGSEGV; hm",
    ),
    "hung": (
        PluginOutcome(timed_out=True, duration_s=10, stdout="so far"), State.CRITICAL,
        f"{ENDED.format(10)}; it had printed: so far",
    ),
    "hung for want of a place": (
        PluginOutcome(timed_out=True, duration_s=4, waited_s=6), State.UNKNOWN,
        f"{ENDED.format(4)}; it had waited 6.0 s for its turn",
    ),
    "flooding": (
        PluginOutcome(flooded=True, truncated=True, stdout="y\ny\n"), State.UNKNOWN,
        "the program wrote without end and was ended; y",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("outcome", "state", "output"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_what_an_end_means(outcome: PluginOutcome, state: State, output: str) -> None:
    result = result_of(NagiosOptions(command="/x"), outcome, Findings(ProbeContext(clock=SystemClock())))
    assert (result.state, result.output) == (state, output)
