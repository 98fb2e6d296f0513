"""What a query gives back, in columns; ground of the room, so that clients need not import the query engine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from tsdb.sample import Float64s, Int64s


class AnswerKind(StrEnum):
    """The four result types of Prometheus' HTTP API."""

    VECTOR = "vector"
    MATRIX = "matrix"
    SCALAR = "scalar"
    STRING = "string"


class PathNode(NamedTuple):
    """A node of the tree of names. A name may be a series itself (a leaf) and lead on to others (a branch)."""

    path: str
    is_leaf: bool
    is_branch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedSeries:
    """One line of an answer of Graphite's render API: values at equal steps, NaN where there is none.

    target: which of the targets it belongs to. end_s is exclusive. options: how it is drawn.
    """

    target: int
    name: str
    start_s: int
    end_s: int
    step_s: int
    values: Float64s
    tags: dict[str, str]
    path: str
    consolidate_by: str
    x_files_factor: float
    options: dict[str, Any]


def _no_offsets() -> Int64s:
    return np.zeros(1, np.int64)


def _no_times() -> Int64s:
    return np.empty(0, np.int64)


def _no_values() -> Float64s:
    return np.empty(0, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAnswer:
    """The result of one expression, CSR-shaped: series i owns the slice offsets[i]:offsets[i + 1] of both columns.

    A vector has one sample a series; a scalar has no series and one value (of a range: one value a step, as a matrix of
    the one series without labels); a string has only `text` and one timestamp.
    """

    kind: AnswerKind
    labels: list[dict[str, str]] = field(default_factory=list)
    offsets: Int64s = field(default_factory=_no_offsets)  # int64[len(labels) + 1], from 0.
    timestamp_ms: Int64s = field(default_factory=_no_times)
    value: Float64s = field(default_factory=_no_values)
    text: str = ""
    warnings: list[str] = field(default_factory=list)  # What the reader should know, in Prometheus' words.
    infos: list[str] = field(default_factory=list)
    figures: dict[str, int | float] = field(default_factory=dict)  # What it cost; see Ledger.figures().

    def __post_init__(self) -> None:
        assert self.offsets.size == len(self.labels) + 1, (self.offsets.size, len(self.labels))
        assert self.timestamp_ms.size == self.value.size or self.kind is AnswerKind.STRING, self.kind

    def first(self, count: int) -> QueryAnswer:
        """The same of the first `count` series only."""
        end = int(self.offsets[count])
        return replace(
            self,
            labels=self.labels[:count],
            offsets=self.offsets[: count + 1],
            timestamp_ms=self.timestamp_ms[:end],
            value=self.value[:end],
        )
