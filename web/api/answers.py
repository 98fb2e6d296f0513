"""The shapes of the answers of /api/v1, for its description: what a program may count on, and nothing beside it.

The views build their answers from documents and results; a test asks every one of them and compares. Every field is
always there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from appliance.state.model import MessageStatus
from checks.channels import Channel
from checks.model import Check, Perfdata
from web.auth.roles import Role

StateWord = Literal["ok", "warning", "critical", "unknown", "pending"]
StateTypeWord = Literal["soft", "hard"]


class Answer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The base: no field but those that are named."""


class RefusalWords(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    code: str
    message: str
    field: (
        Annotated[str, msgspec.Meta(description="The part that is wrong, such as options.url")] | msgspec.UnsetType
    ) = msgspec.UNSET


class Error(Answer):
    error: RefusalWords


class Deleted(Answer):
    deleted: Annotated[str, msgspec.Meta(description="The id")]


class RunInstance(Answer):
    labels: dict[str, str]
    state: StateWord
    output: str
    value: float | None


class RunMetric(Answer):
    name: str
    value: float | None
    labels: dict[str, str]


class RunResult(Answer):
    state: StateWord
    output: str
    duration_s: float
    at_ms: int
    perfdata: list[Perfdata]
    metrics: list[RunMetric]
    instances: list[RunInstance]
    transcript: list[str]


class LastResult(Answer):
    at_ms: int
    state: StateWord
    output: str
    duration_s: float
    perfdata: list[Perfdata]
    transcript: list[str]


class CheckInstance(Answer):
    labels: dict[str, str]
    state: StateWord
    state_type: StateTypeWord
    attempt: int
    since_ms: int
    output: str
    value: float | None
    seen_ms: int


class StoredCheck(Check, kw_only=True, forbid_unknown_fields=True):
    """A check as it was written, with its defaults, and how it stands. Secrets are hidden."""

    id: str
    state: StateWord
    state_type: StateTypeWord
    attempt: int
    since_ms: int | None
    late: bool
    is_flapping: bool
    last_ok_ms: int | None
    last_result: LastResult | None
    instances: list[CheckInstance]
    next_run_ms: int | None
    version: int
    created_ms: int
    updated_ms: int
    updated_by: str


class RuleFileSummary(Answer):
    id: str
    name: str
    team: str
    channels: list[str]
    paused: bool
    group_count: int
    rule_count: int
    alert_count: int
    version: int
    created_ms: int
    updated_ms: int
    updated_by: str


class RecordingRule(Answer, tag_field="type", tag="recording"):
    name: str
    expression: str
    labels: dict[str, str]
    line: int
    health: Annotated[
        Literal["ok", "err", "unknown"], msgspec.Meta(description="unknown: not evaluated since it was written")
    ]
    last_error: str
    last_evaluation_ms: int | None
    evaluation_s: float | None


class LiveAlert(Answer):
    labels: dict[str, str]
    annotations: dict[str, str]
    state: Literal["pending", "firing"]
    active_at_ms: int | None
    value: Annotated[str, msgspec.Meta(description="As Prometheus writes it, such as 1e+00")]


class AlertRule(RecordingRule, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="alerting"):
    for_s: float
    keep_firing_for_s: float
    annotations: dict[str, str]
    check_id: str
    state: Literal["inactive", "pending", "firing", "unknown"]
    alerts: list[LiveAlert]


class StoredGroup(Answer):
    name: str
    interval_s: float
    query_offset_s: float
    limit: Annotated[int, msgspec.Meta(description="Series that a rule may give; 0 is any number")]
    labels: dict[str, str]
    last_evaluation_ms: int | None
    evaluation_s: float | None
    trouble: Annotated[
        str, msgspec.Meta(description="Why its rules are late or left out; empty while it keeps its times")
    ]
    rules: list[RecordingRule | AlertRule]


class StoredRuleFile(RuleFileSummary, kw_only=True, forbid_unknown_fields=True):
    text: str
    is_health_known: Annotated[bool, msgspec.Meta(description="Whether the scheduler answered, which evaluates them")]
    groups: list[StoredGroup]


class TriedSeries(Answer):
    labels: dict[str, str]
    value: float | None


class TriedAlert(TriedSeries, kw_only=True, forbid_unknown_fields=True):
    annotations: dict[str, str]
    state: Literal["inactive", "pending", "firing"]


class TriedRecording(Answer, tag_field="type", tag="recording"):
    name: str
    line: int
    error: str
    series_count: int
    series: Annotated[list[TriedSeries], msgspec.Meta(description="The first of them")]


class TriedAlerting(Answer, tag_field="type", tag="alerting"):
    name: str
    line: int
    error: str
    for_s: float
    series_count: int
    series: Annotated[list[TriedAlert], msgspec.Meta(description="The first of them")]


class TriedGroup(Answer):
    name: str
    rules: list[TriedRecording | TriedAlerting]


class RulesTried(Answer):
    groups: list[TriedGroup]


class PastResult(Answer):
    at_ms: int
    state: StateWord
    duration_s: float | None
    output: str | None


class StoredChannel(Channel, kw_only=True, forbid_unknown_fields=True):
    """A channel as it was written, with its defaults. Secrets are hidden."""

    id: str
    version: int
    created_ms: int
    updated_ms: int
    updated_by: str


class Delivered(Answer):
    delivered: bool
    detail: str


class Delivery(Answer):
    id: str
    channel: str
    body: dict[str, Any]
    status: MessageStatus
    due_ms: int
    attempt_count: int
    last_error: str
    created_ms: int
    delivered_ms: int | None


class StoredDowntime(Answer):
    id: str
    check_id: str | None
    matchers: dict[str, str]
    from_ms: int
    until_ms: int
    comment: str
    author: str
    active: bool
    created_ms: int


class StoredIncident(Answer):
    id: str
    check_id: str
    title: str
    state: Literal["open", "resolved"]
    instance: dict[str, str]
    current: StateWord
    worst: StateWord
    output: str
    started_at_ms: int
    resolved_at_ms: int | None
    updated_at_ms: int
    last_ok_ms: int | None
    told: str
    was_quiet: bool
    acknowledged_by: str | None
    check_name: str
    check_kind: str
    team: str


class StoredUser(Answer):
    id: str
    name: str
    role: Role
    created_ms: int
    last_login_ms: int | None


class StoredSession(Answer):
    id: str
    user_id: str
    address: str
    agent: str
    created_ms: int
    seen_ms: int
    is_this: Annotated[bool, msgspec.Meta(description="Whether it is the one that asks")]


class StoredToken(Answer):
    id: str
    name: str
    role: Role
    team: str | None
    begins_with: str
    created_ms: int
    created_by: str


class CreatedToken(StoredToken, kw_only=True, forbid_unknown_fields=True):
    token: Annotated[str, msgspec.Meta(description="Told in this answer and never again")]


class StoredEvent(Answer):
    seq: int
    at_ms: int
    kind: str
    subject: str
    body: dict[str, Any]


class Events(Answer):
    items: list[StoredEvent]
    next: Annotated[str, msgspec.Meta(description="The address of the next piece, further back in time")] | None


class ChangedField(Answer):
    path: str
    before: str
    after: str


class StoredAuditEntry(Answer):
    seq: int
    at_ms: int
    actor: str
    origin: str
    kind: str
    id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    hash: str
    changed: list[ChangedField]


class Audit(Answer):
    items: list[StoredAuditEntry]
    next: Annotated[str, msgspec.Meta(description="The address of the next piece, further back in time")] | None


class ChartSeries(Answer):
    name: str
    labels: dict[str, str]
    values: Annotated[list[float | None], msgspec.Meta(description="One for each of time_s; null is a gap")]


class Chart(Answer):
    start_ms: int
    end_ms: int
    step_ms: int
    time_s: list[float]
    series: list[ChartSeries]
    series_count: Annotated[int, msgspec.Meta(description="Of the whole answer, of which series may be the first part")]


class MetricCount(Answer):
    metric: str
    series_count: int
    new_count: int


class LabelCount(Answer):
    name: str
    series_count: int
    new_count: int
    value_count: int


class ValueCount(Answer):
    name: str
    value: str
    series_count: int
    new_count: int


class TeamCount(Answer):
    team: str
    series_count: int
    new_count: int


class Cardinality(Answer):
    series_count: int
    active_series_count: int
    new_count: int
    new_within_s: int
    metrics: list[MetricCount]
    metrics_by_new: list[MetricCount]
    label_names: list[LabelCount]
    label_names_by_new: list[LabelCount]
    label_values: list[ValueCount]
    label_values_by_new: list[ValueCount]
    teams: list[TeamCount]


class Process(Answer):
    name: str
    pid: int | None
    state: str
    restarts: int
    last_exit: str | None
    last_words: str | None
    rss_bytes: int | None
    started_ms: int | None
    kept_because: str | None  # Why another process could not take its place at the last reload.
    queue: dict[str, Any] | None


class Disk(Answer):
    total_bytes: int
    used_bytes: int
    free_bytes: int
    is_full: bool


class Queries(Answer):
    asked: float
    running: float
    waiting: float
    refused: dict[str, float]


class System(Answer):
    """Where a process is silent, its part is null or empty and `silent` names it."""

    pid: int | None
    version: str | None
    started_ms: int | None
    now_ms: int
    addresses: dict[str, Any]
    processes: list[Process]
    accepted: dict[str, float]
    refused: Annotated[dict[str, dict[str, float]], msgspec.Meta(description="Protocol → reason → samples")]
    dropped: dict[str, float]
    intake: dict[str, Any] | None
    store: dict[str, Any] | None
    scheduler: dict[str, Any] | None
    backup: Annotated[dict[str, Any] | None, msgspec.Meta(description="Scheduled backups: the last one, what fails")]
    queries: Queries
    disk: Disk
    silent: list[str]
