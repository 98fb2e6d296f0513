"""The groups' own figures in /metrics, under the names that Prometheus gives its own."""

from __future__ import annotations

from appliance.metrics import Metrics
from scheduler.rules.group import LiveGroup

NAME_CHARACTERS_MAX = 200


class Figures:
    """By group; of more than a thousand groups, the others are counted together (appliance/metrics.py)."""

    def __init__(self, metrics: Metrics) -> None:
        self._duration = metrics.gauge(
            "henge_rule_group_last_duration_seconds", "How long the last evaluation of a group of rules took."
        )
        self._interval = metrics.gauge("henge_rule_group_interval_seconds", "From one evaluation to the next.")
        self._rules = metrics.gauge("henge_rule_group_rules", "Rules of a group.")
        self._evaluations = metrics.counter("henge_rule_evaluations_total", "Evaluations of rules.")
        self._failures = metrics.counter(
            "henge_rule_evaluation_failures_total", "Evaluations of rules that failed or could not be stored."
        )
        self._iterations = metrics.counter("henge_rule_group_iterations_total", "Evaluations of groups of rules.")
        self._missed = metrics.counter(
            "henge_rule_group_iterations_missed_total", "Evaluations of groups that were left out, being late."
        )
        self._over_time = metrics.counter(
            "henge_rule_group_iterations_over_time_total",
            "Evaluations of groups that were ended by their limit of time.",
        )
        self._left_out = metrics.counter(
            "henge_rule_evaluations_left_out_total",
            "Rules whose turn did not come before the time of their group was over.",
        )
        self.missed_count = 0  # Of all groups, since the start.
        self._by_group = (
            self._duration,
            self._interval,
            self._rules,
            self._evaluations,
            self._failures,
            self._iterations,
            self._missed,
            self._over_time,
            self._left_out,
        )

    def missed(self, group: LiveGroup, count: int) -> None:
        self.missed_count += count
        self._missed.inc(count, rule_group=_name(group))

    def evaluated(self, group: LiveGroup) -> None:
        name = _name(group)
        states = group.run.states
        self._duration.set(group.duration_s, rule_group=name)
        self._interval.set(group.interval_ms / 1_000, rule_group=name)
        self._rules.set(len(states), rule_group=name)
        self._iterations.inc(rule_group=name)
        evaluated = [state for state in states if not state.is_left_out]
        self._evaluations.inc(len(evaluated), rule_group=name)
        self._failures.inc(sum(bool(state.error or state.write_error) for state in evaluated), rule_group=name)
        self._over_time.inc(group.is_over_time, rule_group=name)
        self._left_out.inc(len(states) - len(evaluated), rule_group=name)

    def forget(self, group: LiveGroup) -> None:
        """The group is gone, or written anew."""
        for metric in self._by_group:
            metric.remove(rule_group=_name(group))


def _name(group: LiveGroup) -> str:
    return f"{group.file};{group.group.name}"[:NAME_CHARACTERS_MAX]
