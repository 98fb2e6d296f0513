"""The `query` probe: an expression over stored metrics, with one state for each label set of its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checks.model import INSTANCE_COUNT_MAX, SEVERITY, Instance, Result, State
from checks.probes import Probe, ProbeContext
from checks.probes.findings import Findings
from checks.probes.options import one_line
from checks.probes.query.comparison import Comparison, parse_comparison
from checks.probes.query.hold import Held, hold
from checks.probes.query.options import QueryOptions
from tsdb.errors import NotReady, RefusedQuery, TsdbError

if TYPE_CHECKING:
    from tsdb.answer import QueryAnswer

LabelSet = tuple[tuple[str, str], ...]
STATES = {state.word: state for state in State}
NAMED_COUNT_MAX = 3  # Instances that the one line of output names.


@dataclass(slots=True)
class Memory:
    """What a check's probe keeps between two runs; a changed question starts anew."""

    question: QueryOptions
    held: dict[LabelSet, Held] = field(default_factory=dict)


class QueryProbe(Probe[QueryOptions]):
    kind = "query"
    title = "Metric"
    summary = "Compares the answer of a PromQL expression with limits"
    options_type = QueryOptions

    def target(self, options: QueryOptions) -> str:
        return ""

    async def run(self, options: QueryOptions, context: ProbeContext) -> Result:
        findings = Findings(context)
        if context.tsdb is None:
            findings.fault(State.UNKNOWN, "this process cannot ask the store")
            return findings.result()
        try:
            answer = await context.tsdb.query_instant(
                options.expression, context.clock.now_ms(), timeout_s=context.timeout_s
            )
            return _judge(options, answer, findings, context)
        except RefusedQuery as error:
            findings.fault(State.UNKNOWN, f"the expression was refused: {one_line(str(error), characters_max=400)}")
        except NotReady as error:
            findings.fault(State.UNKNOWN, f"the store does not answer: {one_line(str(error))}")
        except TsdbError as error:
            findings.fault(State.UNKNOWN, f"the store could not answer: {one_line(str(error))}")
        return findings.result()


def _judge(options: QueryOptions, answer: QueryAnswer, findings: Findings, context: ProbeContext) -> Result:
    samples = _samples(answer)
    if samples is None:
        findings.fault(
            State.UNKNOWN,
            f"the expression gives a {answer.kind}, which has no single value; wrap it, as in max_over_time(…)",
        )
        return findings.result()
    if len(samples) > INSTANCE_COUNT_MAX:
        findings.fault(
            State.UNKNOWN,
            f"the expression gives {len(samples):,} label sets of at most {INSTANCE_COUNT_MAX}; "
            f"narrow it, or aggregate as in max by (host) (…)",
        )
        return findings.result()
    memory = _memory(options, context)
    if not samples:
        memory.held.clear()
        state = STATES[options.no_data]
        if state is State.OK:
            return findings.result("no data, which is well for this check")
        findings.fault(state, "no data: no series has a sample now that the expression could use")
        return findings.result()
    instances = _instances(options, samples, memory, context.clock.monotonic_s())
    return _result(instances, findings)


def _samples(answer: QueryAnswer) -> list[tuple[LabelSet, float]] | None:
    """The values of an instant answer with their labels; None, if it holds no single values."""
    if answer.kind == "scalar":
        return [((), float(answer.value[0]))]
    if answer.kind != "vector":
        return None
    return [
        (tuple(sorted(labels.items())), float(answer.value[answer.offsets[index]]))
        for index, labels in enumerate(answer.labels)
    ]


def _memory(options: QueryOptions, context: ProbeContext) -> Memory:
    memory = context.memory.get(context.check_id) if context.check_id else None
    if not isinstance(memory, Memory) or memory.question != options:
        memory = Memory(options)
        if context.check_id:  # A trial has no check yet, and keeps nothing.
            context.memory[context.check_id] = memory
    return memory


def _instances(
    options: QueryOptions, samples: list[tuple[LabelSet, float]], memory: Memory, now_s: float
) -> list[Instance]:
    """One state for each label set, the worst first; label sets that are gone are forgotten."""
    warning = parse_comparison(options.warning) if options.warning else None
    critical = parse_comparison(options.critical) if options.critical else None
    held: dict[LabelSet, Held] = {}
    instances = []
    for labels, value in samples:
        is_critical = critical is not None and critical.holds(value)
        is_warning = warning is not None and (warning.holds(value) or is_critical)
        state, held[labels] = hold(
            memory.held.get(labels, Held()),
            is_warning=is_warning,
            is_critical=is_critical,
            now_s=now_s,
            for_s=options.for_s,
        )
        broken = critical if is_critical else (warning if is_warning else None)
        output = _output(value, broken, state, held[labels], now_s, options.for_s)
        instances.append(Instance(labels=dict(labels), state=state, output=output, value=value))
    memory.held = held
    return sorted(instances, key=lambda instance: (-SEVERITY[instance.state], sorted(instance.labels.items())))


def _output(value: float, broken: Comparison | None, state: State, held: Held, now_s: float, for_s: float) -> str:
    if broken is None:
        return f"{value:.10g}"
    text = f"{value:.10g} is {broken}"
    if for_s > 0:
        since_s = min(since for since in (held.warning_since_s, held.critical_since_s) if since is not None)
        text += f" for {now_s - since_s:.0f} s" + ("" if state is not State.OK else f" of {for_s:g} s")
    return text


def _result(instances: list[Instance], findings: Findings) -> Result:
    bad = [instance for instance in instances if instance.state is not State.OK]
    if len(instances) == 1 and not instances[0].labels:
        only = instances[0]
        if bad:
            findings.fault(only.state, only.output)
            return findings.result()
        return findings.result(f"value {only.output}" if " is " not in only.output else only.output)
    for instance in bad[:NAMED_COUNT_MAX]:
        findings.fault(instance.state, f"{label_text(instance.labels)} {instance.output}")
    for instance in bad[NAMED_COUNT_MAX:]:
        findings.note(f"{instance.state.name}: {label_text(instance.labels)} {instance.output}")
    if bad:
        more = len(bad) - NAMED_COUNT_MAX
        text = f"and {more} more; " if more > 0 else ""
        text += f"{len(bad)} of {len(instances)} label sets are not well"
    else:
        text = f"all {len(instances)} label sets are well"
        if len(instances) == 1:
            text = f"{label_text(instances[0].labels)} {instances[0].output}"
    return findings.result(text, instances=tuple(instances))


def label_text(labels: dict[str, str]) -> str:
    """A label set as PromQL writes it: `up{host="a"}`."""
    inner = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return one_line(f"{labels.get('__name__', '')}{{{inner}}}" if inner else labels.get("__name__", "{}"))
