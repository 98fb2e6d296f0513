"""The nouns of checking: a check as people write it, and what one run of it found."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any

import msgspec

DEFAULT_TEAM = "default"
INSTANCE_COUNT_MAX = 100  # States of one `query` check: one per label set.
OUTPUT_BYTES_MAX = 8 * 1024  # A result's text; a plugin that floods is cut here.
PERFDATA_COUNT_MAX = 256


class State(IntEnum):
    """The result of a check: the return codes of the Nagios plugin API, in its order, and "pending" before any."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3
    PENDING = 4

    @property
    def word(self) -> str:
        return self.name.lower()


SEVERITY = {State.PENDING: -1, State.OK: 0, State.UNKNOWN: 1, State.WARNING: 2, State.CRITICAL: 3}
"""How bad a state is, for "the worst of several"."""


class Perfdata(msgspec.Struct, frozen=True, kw_only=True):
    """One `'label'=value[UOM];[warn];[crit];[min];[max]`.

    Source: Nagios plugin development guidelines, section "Performance data".
    """

    label: str
    value: float | None  # None: the plugin wrote U, "could not be determined".
    unit: str = ""
    warning: str = ""
    critical: str = ""
    minimum: float | None = None
    maximum: float | None = None


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A series that a probe reports under its own name, as `host` does with node_exporter's names."""

    name: str
    value: float
    labels: dict[str, str] = {}


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one of several things that a single check watches, such as one label set of a `query` check."""

    labels: dict[str, str]
    state: State
    output: str
    value: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a check found.

    Invariant: with instances, state is the worst of them and len(instances) <= INSTANCE_COUNT_MAX.
    """

    state: State
    output: str
    duration_s: float
    at_ms: int  # When the run started.
    perfdata: tuple[Perfdata, ...] = ()
    metrics: tuple[Metric, ...] = ()
    instances: tuple[Instance, ...] = ()
    transcript: tuple[str, ...] = ()  # Evidence for a person: resolved to, connected in, first byte after, …


class Check(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A check as it is written in the API, on the page and in files. Field help is shown beside the form."""

    kind: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120, description="Unique within the team")]
    options: dict[str, Any] = {}
    interval_s: Annotated[float, msgspec.Meta(ge=1, le=86_400, description="Seconds from one run to the next")] = 60
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600, description="A run that takes longer has failed")] = 10
    retry_interval_s: Annotated[
        float, msgspec.Meta(ge=1, le=86_400, description="Seconds to the next run while a failure is not yet confirmed")
    ] = 10
    max_check_attempts: Annotated[
        int, msgspec.Meta(ge=1, le=20, description="Failures in a row that make the state hard and tell people")
    ] = 3
    labels: dict[str, str] = {}
    channels: list[str] = []
    paused: bool = False
    rules: Annotated[str, msgspec.Meta(description="The rule file that the check belongs to; not to be written")] = ""

    @property
    def team(self) -> str:
        return self.labels.get("team", DEFAULT_TEAM)
