"""Work on label sets: names dropped, keys for grouping and matching, equal label sets united.

Only here is there one Python step for each series; it is a comprehension without calls of our own.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from tsdb.errors import QueryFailed
from tsdb.query.kernel.groups import Grouping, any_present, reduce_rows
from tsdb.query.kernel.steps import Cells
from tsdb.query.promql.label_rows import CodedRows, coded_grouping, projected
from tsdb.query.promql.values import Vector
from tsdb.sample import METRIC_NAME, Int64s, Labels

# Labels that describe the metric as a whole: whatever drops its name drops them. Source: Prometheus schema/labels.go.
METADATA = frozenset({METRIC_NAME, "__type__", "__unit__"})

SAME_LABELSET = "vector cannot contain metrics with the same labelset"


def without_names(labels: Sequence[Labels]) -> list[Labels]:
    """Label sets without the metric name and what else describes the metric."""
    return projected(labels, lambda name: name not in METADATA)


def without_labels(labels: Sequence[Labels], names: Sequence[str]) -> list[Labels]:
    drop = frozenset(names)
    return projected(labels, lambda name: name not in drop)


def dropping(labels: Sequence[Labels], names: Sequence[str]) -> list[Labels]:
    """Label sets without these labels, and without the metric name."""
    return without_labels(labels, (*names, METRIC_NAME))


def keeping(labels: Sequence[Labels], names: Sequence[str]) -> list[Labels]:
    """Label sets of these labels alone; a label that a series lacks is left out."""
    if not names:
        return [()] * len(labels)
    return projected(labels, frozenset(names).__contains__)


def value_of(labels: Labels, name: str) -> str:
    """The value of a label; "" if there is none."""
    return dict(labels).get(name, "")


def values_of(labels: Sequence[Labels], name: str) -> list[str]:
    """The value of a label in each of the label sets; "" where there is none."""
    if isinstance(labels, CodedRows):
        codes, values = labels.codes(name)
        values.append("")  # For the code -1.
        return [values[code] for code in codes.tolist()]
    return [pairs[0][1] if pairs else "" for pairs in keeping(labels, (name,))]


def numbered_values(labels: Sequence[Labels], name: str) -> tuple[Int64s, list[str]]:
    """The value of a label in each of the label sets, as its number in the list; "" where there is none."""
    if isinstance(labels, CodedRows):
        codes, values = labels.codes(name)
        return np.where(codes < 0, len(values), codes), [*values, ""]
    values = values_of(labels, name)
    numbers, first_index = numbered(values)
    return numbers, [values[i] for i in first_index]


def distinct_values(labels: Sequence[Labels], name: str) -> list[str]:
    """The values that occur, sorted."""
    if isinstance(labels, CodedRows):
        return sorted(labels.codes(name)[1])
    return sorted(set(values_of(labels, name)) - {""})


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """The label set with one label set anew; an empty value removes it."""
    pairs = dict(labels)
    pairs.pop(name, None)
    if value:
        pairs[name] = value
    return tuple(sorted(pairs.items()))


def numbered(keys: Sequence[Hashable]) -> tuple[Int64s, list[int]]:
    """Equal keys get equal numbers, from 0 in order of first sight; with the index of each number's first key."""
    number_by_key: dict[Hashable, int] = {}
    numbers = np.array([number_by_key.setdefault(key, len(number_by_key)) for key in keys], np.int64)
    if len(number_by_key) == len(keys):
        return numbers, list(range(len(keys)))
    _, first_index = np.unique(numbers, return_index=True)
    return numbers, first_index.tolist()


def grouping_of(keys: Sequence[Hashable]) -> tuple[Grouping, list[int]]:
    numbers, first_index = numbered(keys)
    return Grouping(numbers, len(first_index)), first_index


def grouping_by(labels: Sequence[Labels], names: Sequence[str], *, is_without: bool) -> tuple[Grouping, list[Labels]]:
    """Rows grouped as an aggregation says; and the labels of each group."""
    if isinstance(labels, CodedRows):
        found = coded_grouping(labels, (*names, METRIC_NAME) if is_without else names, is_without=is_without)
        if found is not None:
            return found
    keys = dropping(labels, names) if is_without else keeping(labels, names)
    grouping, first_index = grouping_of(keys)
    return grouping, [keys[i] for i in first_index]


def grouping_without(labels: Sequence[Labels], names: Sequence[str]) -> tuple[Grouping, list[Labels], Int64s]:
    """Rows that are equal but for these labels together; the other labels of each group, and its first row."""
    if isinstance(labels, CodedRows) and (found := coded_grouping(labels, names, is_without=True)) is not None:
        grouping, kept = found
        return grouping, kept, np.unique(grouping.group_of_row, return_index=True)[1]
    rows = without_labels(labels, names)
    grouping, first_index = grouping_of(rows)
    return grouping, [rows[i] for i in first_index], np.array(first_index, np.int64)


def united(vector: Vector) -> Vector:
    """Rows with equal labels become one, as long as no step has a value in two of them.

    Raises: QueryFailed, otherwise, as Prometheus does.
    """
    if len(set(vector.labels)) == vector.row_count:
        return vector
    grouping, first_index = grouping_of(vector.labels)
    present = vector.cells.present
    if (reduce_rows(np.add, present.astype(np.float64), grouping) > 1).any():
        raise QueryFailed(SAME_LABELSET)
    value = reduce_rows(np.add, np.where(present, vector.cells.value, 0.0), grouping)
    unnamed = np.zeros(grouping.group_count, np.bool_)
    np.logical_or.at(unnamed, grouping.group_of_row, vector.unnamed)
    return Vector([vector.labels[i] for i in first_index], Cells(value, any_present(present, grouping)), unnamed)


def without_metric_name(vector: Vector, *, late: bool) -> Vector:
    """What functions and operators do to the metric name: dropped, or marked to be dropped from the answer."""
    if late:
        return Vector(vector.labels, vector.cells, np.ones(vector.row_count, np.bool_))
    if isinstance(vector.labels, CodedRows) and (bare := vector.labels.without(METADATA)) is not None:
        return Vector(bare, vector.cells, vector.unnamed)
    return united(Vector(without_names(vector.labels), vector.cells, vector.unnamed))


def finished(vector: Vector) -> Vector:
    """Without the names marked to be dropped, and without rows that have no value."""
    vector = vector.filled_rows()
    if vector.unnamed.any():
        stripped = without_names(vector.labels)
        labels = [
            bare if unnamed else row
            for row, bare, unnamed in zip(vector.labels, stripped, vector.unnamed.tolist(), strict=True)
        ]
        vector = Vector.named(labels, vector.cells)
    return united(vector)


def text_of(labels: Labels) -> str:
    """`{__name__="name", a="b"}`, as Prometheus writes a label set in its errors."""
    return "{" + ", ".join([f"{name}={quoted(value)}" for name, value in labels]) + "}"


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
