"""The language of Prometheus' evaluation scripts (promql/promqltest): load series, evaluate, compare.

    load <interval>, then indented lines `<series> <points>`: samples at 0, interval, 2 × interval …
    eval instant at <time> <expression> | eval range from <t> to <t> step <d> <expression>, then indented expectations
    clear

Points: a number; `_` no sample; `stale`; `a+bxn`, `a-bxn`: n further points, rising; `axn`; `_xn`; `{{…}}` a native
histogram, which this store does not hold: such series are left out, and their names remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tsdb.sample import METRIC_NAME, STALE_NAN

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
NUMBER = r"[+-]?(?:0x[0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[iI]nf|[nN]a[nN])"
POINTS = re.compile(rf"(?P<start>{NUMBER})(?P<rise>[+-]{NUMBER.removeprefix('[+-]?')})?x(?P<count>\d+)")
LABEL = re.compile(
    r"""\s*(?:(?P<name>[\w.]+|"(?:[^"\\]|\\.)*")\s*=\s*)?(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*,?"""
)
SERIES = re.compile(
    r"\s*(?P<metric>[A-Za-z_:][\w:]*)?\s*(?P<braces>\{(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^}\"'])*\})?(?P<rest>.*)"
)
EVAL = re.compile(
    r"eval(?P<mode>_fail|_warn|_ordered|_info)?\s+"
    r"(?:instant\s+(?:at\s+(?P<at>\S+)|without\s+lookback)|"
    r"range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+))\s+(?P<expression>.+)",
    re.DOTALL,
)


def duration_ms(text: str) -> int:
    """`1h30m`, `10s53ms`, or a number of seconds; either may be negative."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    parts = re.findall(r"(\d+)(ms|[smhdwy])", digits)
    if parts:
        return sign * sum(int(count) * UNITS_MS[unit] for count, unit in parts)
    return sign * round(float(digits) * 1_000)


@dataclass(frozen=True, slots=True)
class Series:
    """A label set and its points in order; None where there is no sample. A bare number has no label set."""

    labels: dict[str, str] | None
    points: tuple[float | None, ...]
    is_native: bool = False  # Some point is a native histogram; points is then empty.
    has_start_times: bool = False  # The line gives start timestamps, not samples.


@dataclass(frozen=True, slots=True)
class Load:
    interval_ms: int
    series: list[Series]
    makes_native: bool  # Classic histograms are loaded as native ones as well.


@dataclass(frozen=True, slots=True)
class Clear:
    pass


@dataclass(frozen=True, slots=True)
class Expectation:
    """Of warnings and infos: `warn`, `info`, `no_warn` or `no_info`; the text, if given exactly or by a pattern."""

    kind: str
    message: str = ""
    pattern: str = ""


@dataclass(slots=True)
class Evaluation:
    """One case. Instant: start_ms == end_ms and no step."""

    line: int
    expression: str
    start_ms: int
    end_ms: int
    step_ms: int | None
    fails: bool = False
    message: str = ""
    message_pattern: str = ""
    is_ordered: bool = False
    annotations: list[Expectation] = field(default_factory=list)
    text: str | None = None
    range_ms: tuple[int, int, int] | None = None  # Of an instant query whose answer is a range vector.
    series: list[Series] = field(default_factory=list)


Command = Load | Clear | Evaluation


def commands(script: str) -> Iterator[Command]:
    """The commands of a script in order. Raises: ValueError, for a line that is none."""
    lines = script.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        if not line or line.startswith("#"):
            continue
        start = at
        while at < len(lines) and lines[at].strip() and lines[at][0] in " \t":
            at += 1
        block = [(number + 1, text.strip()) for number, text in enumerate(lines[start:at], start)]
        block = [(number, text) for number, text in block if not text.startswith("#")]
        yield _command(line, start, block)


def _command(line: str, number: int, block: list[tuple[int, str]]) -> Command:
    if line == "clear":
        return Clear()
    if line.startswith("load"):
        words = line.split()
        series = [parse_series(text) for _, text in block]
        return Load(duration_ms(words[1]), series, "nhcb" in line)
    match = EVAL.fullmatch(line)
    if match is None:
        raise ValueError(f"line {number}: not a command: {line}")
    return _evaluation(match, number, [text for _, text in block])


def _evaluation(match: re.Match[str], number: int, block: list[str]) -> Evaluation:
    if match["start"] is None:
        at_ms = duration_ms(match["at"])
        case = Evaluation(number, match["expression"], at_ms, at_ms, None)
    else:
        times = [duration_ms(match[name]) for name in ("start", "end", "step")]
        case = Evaluation(number, match["expression"], *times)
    mode = (match["mode"] or "").removeprefix("_")
    _expect(case, mode)
    for text in block:
        if text.startswith("expect "):
            _expect(case, text.removeprefix("expect ").strip())
        elif text.startswith("expected_fail_message"):
            case.message = text.partition(" ")[2].strip()
        elif text.startswith("expected_fail_regexp"):
            case.message_pattern = text.partition(" ")[2].strip()
        else:
            case.series.append(parse_series(text))
    return case


def _expect(case: Evaluation, text: str) -> None:
    word, _, rest = text.partition(" ")
    kind, _, wanted = (part.strip() for part in rest.partition(":"))
    message, pattern = wanted if kind == "msg" else "", wanted if kind == "regex" else ""
    if word == "fail":
        case.fails, case.message, case.message_pattern = True, message, pattern
    elif word in ("warn", "info", "no_warn", "no_info"):
        case.annotations.append(Expectation(word, message, pattern))
    elif word == "ordered":
        case.is_ordered = True
    elif word == "string":
        case.text = rest.strip()[1:-1]
    elif word == "range":
        words = rest.split()
        case.range_ms = (duration_ms(words[2]), duration_ms(words[4]), duration_ms(words[6]))


def parse_series(text: str) -> Series:
    """`name{label="value"} points`, or points alone."""
    is_native = "{{" in text
    text = text.partition("{{")[0]
    if re.fullmatch(NUMBER, text.strip()) or not text.strip():
        return Series(None, _points(text), is_native)
    match = SERIES.fullmatch(text)
    assert match is not None, text
    labels = {} if match["metric"] is None else {METRIC_NAME: match["metric"]}
    for pair in LABEL.finditer((match["braces"] or "{}")[1:-1]):
        name = METRIC_NAME if pair["name"] is None else _unquoted(pair["name"])
        labels[name] = _unquoted(pair["value"])
    rest = match["rest"]
    if rest.startswith("@st"):
        return Series(labels, (), has_start_times=True)
    return Series(labels, () if is_native else _points(rest), is_native)


def _unquoted(text: str) -> str:
    if text[0] not in "\"'":
        return text
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text[1:-1])


def _points(text: str) -> tuple[float | None, ...]:
    points: list[float | None] = []
    for word in text.split():
        if word == "_":
            points.append(None)
        elif word.startswith("_x"):
            points.extend([None] * int(word[2:]))
        elif word.startswith("stale"):
            points.extend([float(STALE_NAN)] * (int(word[6:]) + 1 if word[5:] else 1))
        elif match := POINTS.fullmatch(word):
            value, rise = float(match["start"]), float(match["rise"] or 0)
            for _ in range(int(match["count"]) + 1):
                points.append(value)
                value += rise
        else:
            points.append(float(word))
    return tuple(points)
